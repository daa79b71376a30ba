# The server with all that it needs: the builder and Git on its PATH, and the book.
{
  lib,
  runCommand,
  makeWrapper,
  git,
  openssh,
  nixery-unwrapped,
  nixery-book,
  nixery-prepare-image,
}:
runCommand "nixery-${nixery-unwrapped.version}"
  {
    nativeBuildInputs = [ makeWrapper ];
    inherit (nixery-unwrapped) pname version meta;
    passthru.unwrapped = nixery-unwrapped;
  }
  ''
    # Behind what is on PATH already, so that another builder can be given. The server asks
    # Git repositories itself which commit a branch is at.
    makeWrapper ${lib.getExe nixery-unwrapped} $out/bin/nixery \
      --set-default WEB_DIR ${nixery-book} \
      --suffix PATH : ${
        lib.makeBinPath [
          nixery-prepare-image
          git
          openssh
        ]
      }

    $out/bin/nixery --version | grep -F ${nixery-unwrapped.version}
    NIXERY_CHANNEL=nixos-unstable STATE_DIRECTORY=$TMPDIR NIXERY_CONFIG=/dev/null \
      $out/bin/nixery --check-config | grep -F 'channel = "nixos-unstable"'
  ''
