#!/usr/bin/env bash
# Runs the commands that the book shows, of the tutorial and of all other pages, as they
# stand there: with a network, directories and processes of their own, so that port 8080 is
# free and nothing is left behind. Those that can't be run here are listed with the reason in
# checks/book/plan.toml; one that isn't there is run.
#
# Usage: checks/tutorial.sh [PAGE…]
#
# With PAGE, such as tutorial/first-image.md, only those. Needs root, for containers.

set -uo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

if [[ ${1-} == -* ]]; then explain "$@"; fi
need_root "containers are run here"

if [[ -z ${NIXERY_BOOK_WORK-} ]]; then
  need nix git jq curl certificates cc docker dockerd runc skopeo ip python3 venv openssl unshare
  need_mdbook
  need_nginx
  prepare_packages
  pin_packages
  build_server
  build_popcount
  work_in book

  # Has its Python packages installed, which can't be downloaded later.
  "$repository/checks/gcs-emulator/run" --help >/dev/null || die "the emulator of Cloud Storage could not be installed"

  export NIXERY_BOOK_WORK=$work packages pinned nixery popcount
  # Whatever the commands start ends with it.
  attend unshare --net --mount --propagation private --pid --fork --kill-child --mount-proc \
    "${BASH_SOURCE[0]}" "$@" </dev/null
  exit
fi

# --- With a network, mounts and processes of its own -----------------------------------

work=$NIXERY_BOOK_WORK
at_exit end_all

ip link set lo up || die "the network could not be set up"

# What pages write to, and what they read that isn't there.
mkdir -p "$work"/{etc,srv,home,state,bin,target/release}
if ! { cp -a /etc/. "$work/etc" && mount --bind "$work/etc" /etc && mount --bind "$work/srv" /srv; }; then
  die "directories could not be mounted"
fi
mkdir -p /etc/nixery
echo '127.0.0.1 localhost nixery.example.org git.example.org' >/etc/hosts
ln -s "$pinned" /srv/debian
ln -s "$repository/checks/book/nixpkgs" /srv/nixpkgs
ln -s "$nixery" "$work/bin/nixery"
ln -s "$popcount" "$work/bin/nixery-popcount"
ln -s "$nixery" "$work/target/release/nixery"
printf '[user]\nname = You\nemail = you@example.org\n' >"$work/home/.gitconfig"

export XDG_CACHE_HOME=${cache%/nixery} HOME=$work/home STATE_DIRECTORY=$work/state TERM=dumb
export PATH=$work/bin:$repository/nix/prepare-image:$PATH
export NIXERY=$nixery PS1='' repository
unset PORT NIXERY_CHANNEL NIXERY_PKGS_REPO NIXERY_PKGS_PATH NIXERY_CONFIG STORAGE_PATH WEB_DIR NIX_TIMEOUT \
  NIX_POPULARITY_URL XDG_STATE_HOME SSL_CERT_FILE CURL_CA_BUNDLE GIT_SSL_CAINFO
unset {http,https,all,no}_proxy {HTTP,HTTPS,ALL,NO}_PROXY

# In memory, as it is thrown away.
if ! { mkdir "$work/docker" && mount -t tmpfs tmpfs "$work/docker"; }; then die "there is no place for images"; fi
start_dockerd
"$repository/checks/book/commands.py" --run "$work" "$@"
