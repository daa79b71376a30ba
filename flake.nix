{
  description = "Nixery: an ad-hoc container registry that makes its images of Nix packages";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;
      linux = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      darwin = [
        "x86_64-darwin"
        "aarch64-darwin"
      ];
      forEach = systems: outputs: lib.genAttrs systems (system: outputs nixpkgs.legacyPackages.${system});
      ours = pkgs: import ./nix { inherit pkgs; };
    in
    {
      overlays.default = final: _prev: import ./nix { pkgs = final; };

      packages = forEach linux (pkgs: ours pkgs // { default = (ours pkgs).nixery; });

      apps = forEach linux (pkgs: {
        default = {
          type = "app";
          program = lib.getExe (pkgs.callPackage ./nix/run.nix { inherit (ours pkgs) nixery; });
          meta.description = "Serves nixpkgs on port 8080";
        };
      });

      nixosModules.nixery = import ./modules/nixery.nix;
      nixosModules.default = self.nixosModules.nixery;

      devShells = forEach (linux ++ darwin) (pkgs: {
        default = pkgs.callPackage ./nix/shell.nix { };
      });

      checks = forEach linux (
        pkgs:
        import ./checks {
          inherit pkgs;
          ours = ours pkgs;
          module = self.nixosModules.nixery;
        }
      );

      formatter = forEach (linux ++ darwin) (pkgs: pkgs.nixfmt-tree);
    };
}
