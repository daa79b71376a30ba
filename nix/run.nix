# `nix run`: serves nixpkgs, with nothing to be set up, and keeps all of it below the
# user's directory for such things.
{
  writeShellApplication,
  nixery,
}:
writeShellApplication {
  name = "nixery-run";
  runtimeInputs = [ nixery ];
  text = ''
    if [ -z "''${NIXERY_CHANNEL-}''${NIXERY_PKGS_REPO-}''${NIXERY_PKGS_PATH-}''${NIXERY_CONFIG-}" ] &&
      [ ! -e /etc/nixery/nixery.toml ]; then
      export NIXERY_CHANNEL=nixos-unstable
    fi
    # Also for root: what is tried out shall not be where a service keeps its state.
    export STATE_DIRECTORY=''${STATE_DIRECTORY:-''${XDG_DATA_HOME:-$HOME/.local/share}/nixery}
    mkdir -p "$STATE_DIRECTORY"
    exec nixery "$@"
  '';
}
