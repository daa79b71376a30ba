#!/usr/bin/env bash
# Looks at the server's pages with Chromium, while docker pulls what they show.
#
# Usage: checks/browser.sh
#
# Environment:
#   NIXERY_SCREENSHOTS   directory for pictures of all that was seen; without, only those
#                        of failed tests are kept, in /tmp
#
# Needs root, for docker, and what is missing is installed with apt: Chromium, its
# driver and Selenium. As root, Chromium runs without its own sandbox. What finds out
# whether pages are accessible, axe-core, is downloaded from npm's registry the first
# time (700 kB), and kept.

set -uo pipefail

# shellcheck source-path=SCRIPTDIR
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

if (($#)); then
  usage_of "${BASH_SOURCE[0]}" >&2
  exit 64
fi
((EUID == 0)) || die "docker is run here: root is needed"

# Short, as the paths of sockets may have 107 characters only.
work=$(mktemp -d /tmp/nixery-browser.XXXXXX)
server='' closed='' mixed='' dockerd='' tests=''

# shellcheck disable=SC2317,SC2329 # called by the trap
clean_up() {
  trap '' INT TERM HUP
  for process in $tests $dockerd $server $closed $mixed; do end "$process"; done
  remove_tree "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# --- Setting up -----------------------------------------------------------------

axe_version=4.14.1
axe_sha512=1477dafa598d8d065f273d6af302aa203c02e83131707b7fa648cd41bd3d6b734f8c22a0dab86ee6a6f64b8afbe804b214d36db85a2826965edfb3a0b9d546b5

# fetch_axe: sets $axe to the script that is run in pages.
fetch_axe() {
  local url=https://registry.npmjs.org/axe-core/-/axe-core-$axe_version.tgz
  axe=$cache/axe-core-$axe_version.js
  [[ ! -s $axe ]] || return 0
  say "fetching axe-core $axe_version from $url"
  curl -fsSL --max-time 120 --retry 2 -o "$work/axe.tgz" "$url" \
    || die "axe-core is missing and could not be fetched"
  sha512sum --check --status <<<"$axe_sha512  $work/axe.tgz" \
    || die "$url is not what it was: its SHA-512 is $(sha512sum <"$work/axe.tgz" | cut -d ' ' -f 1)"
  tar -xzf "$work/axe.tgz" -C "$work" package/axe.min.js || die "axe-core can't be unpacked"
  mv "$work/package/axe.min.js" "$axe.new.$$" && mv "$axe.new.$$" "$axe"
}

need nix git jq curl certificates cc docker dockerd runc chromium chromedriver selenium
prepare_packages
pin_packages
fetch_axe
build_server

# The offline package set, and packages whose builds wait at gates. In the store, so
# that the server asks Nix once for each image.
mkdir "$work/packages" "$work/gates"
chmod 755 "$work"
cp "$repository/checks/browser/packages.nix" "$work/packages/default.nix"
echo "{ gates = \"$work/gates\"; set = $pinned; }" >"$work/packages/here.nix"
source=$(nix-store --add "$work/packages") || die "the packages could not be copied to Nix's store"

port=$(free_port 25120)
export NIXERY_ADDRESS=127.0.0.1 PORT=$port NIXERY_PKGS_PATH=$source STATE_DIRECTORY=$work/state NIX_TIMEOUT=300
# What the set imports is elsewhere.
export NIXERY_NIX_ALLOWED_URIS=$pinned
unset NIXERY_CHANNEL NIXERY_PKGS_REPO NIXERY_CONFIG STORAGE_PATH WEB_DIR
mkdir "$STATE_DIRECTORY"

# begin NAME: sets $NAME to the pid of a server, once it is there.
begin() {
  start_server 2>"$work/$1.log"
  [[ $1 == server ]] || declare -g "$1=$server"
  wait_until 60 "$server" server_is_ready "$PORT" || die "the server didn't start: $(tail -n 3 "$work/$1.log")"
}

# Two more, where one has to log in, and where one may: each with a storage of its own.
user=ann:secret
echo "ann:$(echo -n secret | sha256sum | cut -d ' ' -f 1)" >"$work/tokens"
export NIXERY_ACCESS_TOKENS=$work/tokens
PORT=$(free_port 25130) STATE_DIRECTORY=$work/closed
mkdir "$STATE_DIRECTORY"
closed_port=$PORT
begin closed
PORT=$(free_port 25140) STATE_DIRECTORY=$work/mixed
mkdir "$STATE_DIRECTORY"
mixed_port=$PORT
NIXERY_ACCESS_RULES='anonymous may pull; * may build' NIXERY_ACCESS_URL=http://localhost:$mixed_port begin mixed
unset NIXERY_ACCESS_TOKENS
PORT=$port STATE_DIRECTORY=$work/state
begin server
start_dockerd "$work/docker" || die "dockerd didn't start: $(tail -n 3 "$work/docker/log")"

# --- Looking ----------------------------------------------------------------------

screenshots=${NIXERY_SCREENSHOTS:-$work/screenshots}
mkdir -p "$screenshots"

"$(python_of_apt)" -B "$repository/checks/browser" --server "localhost:$port" --gates "$work/gates" --axe "$axe" \
  --closed "localhost:$closed_port" --mixed "localhost:$mixed_port" --user "$user" \
  --screenshots "$screenshots" --work "$work" </dev/null &
tests=$!
wait "$tests"
status=$?
tests=''

if ((status)); then
  echo "# the end of the server's log:"
  grep -v ' INFO ' "$work/server.log" | tail -n 20 | cut -c 1-500 | sed 's/^/#   /'
  if [[ -z ${NIXERY_SCREENSHOTS-} ]]; then
    kept=$(mktemp -d /tmp/nixery-screenshots.XXXXXX)
    cp "$screenshots"/not-ok-* "$kept" 2>/dev/null && echo "# pictures of what failed are in $kept"
  fi
fi
exit "$status"
