# A member of the workspace, built with the tests that need neither Nix nor packages,
# which the sandbox doesn't have: those are for checks/test.sh.
{ lib, rustPlatform }:
pname: more:
let
  cargo = (lib.importTOML ../Cargo.toml).workspace.package;
in
rustPlatform.buildRustPackage (
  {
    inherit pname;
    inherit (cargo) version;

    # Nothing else, so that a change of the book or of a script doesn't rebuild it; but all
    # of ../rust, since Cargo wants to see every member.
    src = lib.fileset.toSource {
      root = ../.;
      fileset = lib.fileset.unions [
        ../Cargo.toml
        ../Cargo.lock
        ../clippy.toml
        ../rust
      ];
    };

    cargoLock.lockFile = ../Cargo.lock;
    cargoBuildFlags = [
      "--package"
      pname
    ];
    cargoTestFlags = [
      "--package"
      pname
      "--lib"
    ];
  }
  // more
  // {
    meta = {
      inherit (cargo) description;
      homepage = "https://github.com/tazjin/nixery";
      license = lib.licenses.asl20;
      mainProgram = pname;
      platforms = lib.platforms.linux;
    }
    // more.meta or { };
  }
)
