# The tool that counts how popular packages are. It is apart from the server, which
# doesn't need it.
{
  lib,
  rustPlatform,
}:
let
  root = ../.;
  cargo = (lib.importTOML ../Cargo.toml).workspace.package;
in
rustPlatform.buildRustPackage {
  pname = "nixery-popcount";
  inherit (cargo) version;

  # All of ../rust, since Cargo wants to see every member of the workspace.
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
    "nixery-popcount"
  ];

  # Within the sandbox there are no packages to make a binary cache of: what needs one
  # is for checks/test.sh.
  cargoTestFlags = [
    "--package"
    "nixery-popcount"
    "--lib"
  ];

  doInstallCheck = true;
  installCheckPhase = ''
    runHook preInstallCheck

    $out/bin/nixery-popcount --version | grep -F ${cargo.version}

    runHook postInstallCheck
  '';

  meta = {
    inherit ((lib.importTOML ../rust/popcount/Cargo.toml).package) description;
    homepage = "https://github.com/tazjin/nixery";
    license = lib.licenses.asl20;
    mainProgram = "nixery-popcount";
    platforms = lib.platforms.linux;
  };
}
