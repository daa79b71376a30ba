# The offline package set, in the shape of nixpkgs: `import ./. { }` is an
# attribute set of derivations made of Debian's own packages.
#
# prepare.sh copies these files next to the index that they read.
{
  # The system that the packages run on. They are unpacked, not compiled, so
  # that any host can build them for any system.
  system ? builtins.currentSystem,
  ...
}:
let
  inherit (builtins)
    concatMap
    elemAt
    filter
    foldl'
    isString
    match
    readFile
    split
    ;

  debian = import ./packages.nix { inherit system; };

  # [ attribute package mainProgram ] for each line of packages.txt.
  rows = concatMap (
    line:
    let
      row = match "([^# -][^ ]*) +([^ ]+) +([^ ]+)" line;
    in
    if row == null then [ ] else [ row ]
  ) (filter isString (split "\n" (readFile ./packages.txt)));

  add =
    set: row:
    let
      path = filter isString (split "\\." (elemAt row 0));
      first = elemAt path 0;
      package = debian.package {
        name = elemAt row 1;
        mainProgram = elemAt row 2;
      };
      nested = set.${first} or { recurseForDerivations = true; };
    in
    set
    // {
      ${first} = if path == [ first ] then package else nested // { ${elemAt path 1} = package; };
    };
in
import ./faults.nix // { inherit system; } // foldl' add { } rows
