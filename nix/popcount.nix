# The tool that counts how popular packages are. It is apart from the server, which
# doesn't need it.
{ lib, callPackage }:
callPackage ./crate.nix { } "nixery-popcount" {
  doInstallCheck = true;
  installCheckPhase = ''
    runHook preInstallCheck

    $out/bin/nixery-popcount --version | grep -F ${(lib.importTOML ../Cargo.toml).workspace.package.version}

    runHook postInstallCheck
  '';

  meta = {
    inherit ((lib.importTOML ../rust/popcount/Cargo.toml).package) description;
  };
}
