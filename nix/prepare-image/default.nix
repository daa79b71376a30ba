# The builder, with the programs that it runs. What it needs of Nix is on its PATH
# after the caller's, so that it and the machine's Nix daemon can be of one version.
{
  lib,
  stdenvNoCC,
  makeWrapper,
  bash,
  coreutils,
  gawk,
  git,
  gnugrep,
  gnused,
  gnutar,
  gzip,
  jq,
  nix,
  openssh,
}:
stdenvNoCC.mkDerivation {
  pname = "nixery-prepare-image";
  version = "1";

  src = lib.fileset.toSource {
    root = ./.;
    fileset = lib.fileset.difference ./. ./default.nix;
  };

  nativeBuildInputs = [ makeWrapper ];
  buildInputs = [ bash ];

  # The script finds its other files beside itself, so it stays out of bin.
  installPhase = ''
    runHook preInstall

    mkdir -p $out/libexec/nixery-prepare-image
    cp -r . $out/libexec/nixery-prepare-image
    makeWrapper $out/libexec/nixery-prepare-image/nixery-prepare-image $out/bin/nixery-prepare-image \
      --prefix PATH : ${
        lib.makeBinPath [
          bash
          coreutils
          gawk
          git
          gnugrep
          gnused
          gnutar
          gzip
          jq
          openssh
        ]
      } \
      --suffix PATH : ${lib.makeBinPath [ nix ]}

    runHook postInstall
  '';

  doInstallCheck = true;
  installCheckPhase = ''
    runHook preInstallCheck
    $out/bin/nixery-prepare-image --version
    runHook postInstallCheck
  '';

  meta = {
    description = "Prepares the store paths of an image for Nixery";
    mainProgram = "nixery-prepare-image";
    platforms = lib.platforms.unix;
  };
}
