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

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

no_arguments "$@"
need_root "docker is run here"
work_in browser

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

configure_server "$source" 25120
# What the set imports is elsewhere.
export NIXERY_NIX_ALLOWED_URIS=$pinned
start_server "$work/server.log"
start_dockerd

# Two more, where one has to log in, and where one may: each with a storage of its own.
user=ann:secret pages=$port
echo "ann:$(echo -n secret | sha256sum | cut -d ' ' -f 1)" >"$work/tokens"
export NIXERY_ACCESS_TOKENS=$work/tokens
begin() {
  port=$(free_port "$2") STATE_DIRECTORY=$work/$1
  mkdir "$STATE_DIRECTORY"
  PORT=$port NIXERY_ACCESS_URL=http://localhost:$port start_server "$work/$1.log"
}
begin closed 25130
closed=$port
export NIXERY_ACCESS_RULES='anonymous may pull; * may build'
begin mixed 25140
mixed=$port

# --- Looking ----------------------------------------------------------------------

screenshots=${NIXERY_SCREENSHOTS:-$work/screenshots}
mkdir -p "$screenshots"

attend "$(python_of_apt)" -B "$repository/checks/browser" --server "localhost:$pages" --gates "$work/gates" --axe "$axe" \
  --closed "localhost:$closed" --mixed "localhost:$mixed" --user "$user" \
  --screenshots "$screenshots" --work "$work" </dev/null
status=$?

if ((status)); then
  echo "# the end of the server's log:"
  grep -v ' INFO ' "$work/server.log" | tail -n 20 | cut -c 1-500 | sed 's/^/#   /'
  if [[ -z ${NIXERY_SCREENSHOTS-} ]]; then
    kept=$(mktemp -d /tmp/nixery-screenshots.XXXXXX)
    cp "$screenshots"/not-ok-* "$kept" 2>/dev/null && echo "# pictures of what failed are in $kept"
  fi
fi
exit "$status"
