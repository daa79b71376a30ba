# The server, with the builder and Git on its PATH.
{
  lib,
  rustPlatform,
  makeWrapper,
  nixery-prepare-image,
  # The server asks Git repositories itself which commit a branch is at.
  git,
  openssh,
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

  nativeBuildInputs = [ makeWrapper ];

  # Within the sandbox there is neither Nix nor a package to make, nor Python's packages
  # for the emulator of Cloud Storage: what needs them is for checks/test.sh.
  cargoTestFlags = [
    "--package"
    "nixery"
    "--lib"
  ];
  checkFlags = [ "--skip=storage::gcs::tests" ];
  nativeCheckInputs = [ git ];

  postInstall = ''
    # Behind what is on PATH already, so that another builder can be given.
    wrapProgram $out/bin/nixery --suffix PATH : ${
      lib.makeBinPath [
        nixery-prepare-image
        git
        openssh
      ]
    }
  '';

  doInstallCheck = true;
  installCheckPhase = ''
    runHook preInstallCheck

    $out/bin/nixery --version | grep -F ${cargo.version}
    NIXERY_CHANNEL=nixos-unstable STATE_DIRECTORY=$TMPDIR NIXERY_CONFIG=/dev/null \
      $out/bin/nixery --check-config | grep -F 'channel = "nixos-unstable"'

    runHook postInstallCheck
  '';

  meta = {
    inherit (cargo) description;
    homepage = "https://github.com/tazjin/nixery";
    license = lib.licenses.asl20;
    mainProgram = "nixery";
    platforms = lib.platforms.linux;
  };
}
