# Nixery's own container image. Nothing has to be set but a package source; it runs as it
# is with docker, on Kubernetes, and on Cloud Run, which says by PORT where to listen.
{
  lib,
  callPackage,
  dockerTools,
  writeTextFile,
  nixery,
  # See image/root.nix.
  preLaunch ? "",
  extraPackages ? [ ],
  # To tell images of the same version from each other.
  tag ? nixery.version,
}:
let
  root = callPackage ./image/root.nix { inherit nixery preLaunch extraPackages; };

  write =
    executable: path: text:
    writeTextFile {
      name = "nixery-image-${baseNameOf path}";
      destination = "/${path}";
      inherit executable text;
    };
in
dockerTools.streamLayeredImage {
  name = "nixery";
  inherit tag;
  inherit (root) config;
  maxLayers = 60;

  contents =
    root.packages
    ++ lib.mapAttrsToList (write false) root.files
    ++ lib.mapAttrsToList (write true) root.programs;

  # Of the contents, and of what they need.
  includeNixDB = true;
  extraCommands = root.commands;
}
