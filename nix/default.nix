# Everything that is packaged here; without flakes: nix-build nix -A nixery.
{
  pkgs ? import <nixpkgs> { },
}:
let
  ours = {
    nixery = pkgs.callPackage ./wrapped.nix {
      nixery-unwrapped = pkgs.callPackage ./package.nix { };
      inherit (ours) nixery-book nixery-prepare-image;
    };
    nixery-prepare-image = pkgs.callPackage ./prepare-image { };
    nixery-popcount = pkgs.callPackage ./popcount.nix { };
    nixery-book = pkgs.callPackage ./book.nix { };
    nixery-image = pkgs.callPackage ./image.nix { inherit (ours) nixery; };
  };
in
ours
