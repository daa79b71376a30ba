# The server alone, so that it isn't compiled again for a change of the book or of the
# builder.
{
  lib,
  rustPlatform,
  # For the tests that run in the build.
  cacert,
  git,
}:
let
  root = ../.;
  cargo = (lib.importTOML ../Cargo.toml).workspace.package;
in
rustPlatform.buildRustPackage {
  pname = "nixery";
  inherit (cargo) version;

  # Nothing else, so that a change of the book or of a script doesn't rebuild it.
  src = lib.fileset.toSource {
    inherit root;
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
    "nixery"
  ];

  # Within the sandbox there is neither Nix nor a package to make, nor Python's packages
  # for the emulator of Cloud Storage: what needs them is for checks/test.sh.
  cargoTestFlags = [
    "--package"
    "nixery"
    "--lib"
  ];
  checkFlags = [ "--skip=storage::gcs::tests" ];
  # HTTP clients can't be made without any authority, even where there is no TLS.
  nativeCheckInputs = [
    cacert
    git
  ];

  meta = {
    inherit (cargo) description;
    homepage = "https://github.com/tazjin/nixery";
    license = lib.licenses.asl20;
    mainProgram = "nixery";
    platforms = lib.platforms.linux;
  };
}
