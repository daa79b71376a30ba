# Derivations out of the index that prepare.sh wrote: one for each unit, that
# is, for each Debian package or group of packages that share a store path.
{ system }:
let
  inherit (builtins)
    currentSystem
    elem
    fromJSON
    mapAttrs
    pathExists
    readFile
    replaceStrings
    ;

  indexFile = ./. + "/index-${system}.json";
  index =
    if pathExists indexFile then
      fromJSON (readFile indexFile)
    else
      throw "the debian-packages set was not prepared for ${system}: run prepare.sh with its --arch";

  fixups = import ./fixups.nix units;

  # What the shell itself is made of can't have its scripts run by the shell.
  belowShell = [
    "bash"
    "libc6"
    "libtinfo6"
  ];

  # Without the epoch, in the characters that a store path may have.
  cleanVersion =
    version:
    replaceStrings [ "~" ] [ "." ] (
      let
        epoch = builtins.match "[0-9]+:(.*)" version;
      in
      if epoch == null then version else builtins.head epoch
    );

  # Fixed by its hash, so that no output depends on the folder of the .debs.
  deb =
    name:
    let
      package = index.packages.${name};
    in
    import <nix/fetchurl.nix> {
      name = "${name}-${cleanVersion package.version}.deb";
      url = "file://${index.debs}/${replaceStrings [ "%" ] [ "%25" ] package.file}";
      inherit (package) sha256;
    };

  build =
    name:
    { packages, deps }:
    let
      pname = name;
      version = cleanVersion index.packages.${name}.version;
    in
    derivation {
      name = "${pname}-${version}";
      inherit pname version;
      # Built where Nix runs, whichever system it is for.
      system = currentSystem;
      builder = "/bin/bash";
      args = [ ./build.sh ];
      PATH = "/usr/bin:/bin";
      outputs = [ "out" ];
      srcs = map deb packages;
      deps = map (dep: units.${dep}) deps;
      inherit (index) multiarch;
      glibc = if name == "libc6" then "" else units.libc6;
      bash = if elem name belowShell then "" else units.bash;
      fixup = fixups.${name} or "";
    };

  units = mapAttrs build index.units;
in
{
  # The unit that has the Debian package `name`, with nixpkgs' metadata.
  package =
    { name, mainProgram }:
    let
      inherit (index.packages.${name}) unit description homepage;
    in
    units.${unit}
    // {
      meta = {
        inherit description;
        license = "see share/doc/${name}/copyright";
      }
      // (if homepage == "" then { } else { inherit homepage; })
      // (if mainProgram == "-" then { } else { inherit mainProgram; });
    };
}
