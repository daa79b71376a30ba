# Stands for nixpkgs where the book's examples import it, on a machine that has none: the
# packages of the offline set, overlays, and the functions that the examples call.
{
  system ? builtins.currentSystem,
  overlays ? [ ],
  ...
}:
let
  packages = import /srv/debian { inherit system; };

  build =
    name: arguments: script:
    derivation (
      {
        inherit name system;
        builder = "/bin/sh";
        PATH = "/usr/bin:/bin"; # of the machine, as for the set's own builders
        args = [
          "-euc"
          script
        ];
      }
      // arguments
    )
    // {
      meta.mainProgram = name;
    };

  functions = {
    callPackage =
      file: arguments:
      let
        function = import file;
      in
      function (builtins.intersectAttrs (builtins.functionArgs function) final // arguments);

    writeShellScriptBin =
      name: text:
      build name { inherit text; } ''
        mkdir -p "$out/bin"
        printf '#!%s/bin/bash\n%s\n' ${packages.bash} "$text" >"$out/bin/${name}"
        chmod +x "$out/bin/${name}"
      '';

    symlinkJoin =
      { name, paths }:
      build name { inherit paths; } ''
        mkdir "$out"
        for path in $paths; do cp -rs --no-preserve=mode "$path/." "$out"; done
      '';
  };

  final = builtins.foldl' (set: overlay: set // overlay final set) (packages // functions) overlays;
in
final
