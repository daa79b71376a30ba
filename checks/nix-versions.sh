#!/usr/bin/env bash
# Tests the builder with several versions of Nix: the one on PATH, and those of
# Debian trixie (2.26) and sid (2.34 or later).
#
# Usage: checks/nix-versions.sh [--refresh] [--skip-unavailable]
#
#   --refresh           download the other versions anew
#   --skip-unavailable  go on without a version that cannot be downloaded
#
# The other versions come from the Debian mirror that this machine's apt uses, and
# are unpacked (not installed) into ${XDG_CACHE_HOME:-~/.cache}/nixery-nix-versions.
# Each version gets a store of its own from checks/prepare-image.sh, so that none
# changes the machine's.

set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/nixery-nix-versions
refresh=
skip=
summary=()
bad=0

for argument; do
  case $argument in
    --refresh) refresh=1 ;;
    --skip-unavailable) skip=1 ;;
    *)
      sed -n '2,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
      exit 64
      ;;
  esac
done

# The first mirror of the Debian archive in apt's sources, in either format.
debian_mirror() {
  # shellcheck disable=SC2016 # the text in single quotes is awk
  find /etc/apt/sources.list /etc/apt/sources.list.d -type f \
    \( -name '*.list' -o -name '*.sources' \) -print0 2>/dev/null | sort -z \
    | xargs -0 -r awk '
      $1 == "deb" || $1 == "URIs:" {
        for (i = 2; i <= NF; i++)
          if (!found && $i ~ /^[a-z+]+:\/\/.*\/debian\/?$/) { print $i; found = 1 }
      }'
}

# apt_for DIRECTORY COMMAND…: apt with a state of its own, in which nothing is
# installed, so that all of a package's dependencies are downloaded.
apt_for() {
  local directory=$1
  shift
  apt-get -q \
    -o Dir::Etc::SourceList="$directory/sources.list" -o Dir::Etc::SourceParts=/dev/null \
    -o Dir::State="$directory" -o Dir::State::Lists="$directory/lists" \
    -o Dir::State::Status="$directory/status" \
    -o Dir::Cache="$directory" -o Dir::Cache::Archives="$directory/archives" \
    -o APT::Install-Recommends=false -o APT::Sandbox::User="$(id -un)" \
    -o Debug::NoLocking=true "$@"
}

# download SUITE: unpacks a suite's Nix into $cache/SUITE, all or nothing.
download() {
  local suite=$1 mirror keyring=/usr/share/keyrings/debian-archive-keyring.gpg staging deb
  mirror=$(debian_mirror)
  if [[ -z $mirror ]]; then
    echo "apt's sources name no Debian mirror" >&2
    return 1
  fi
  mkdir -p "$cache"
  staging=$(mktemp -d "$cache/$suite.XXXXXX")
  mkdir -p "$staging"/{lists,archives}/partial "$staging/root"
  : >"$staging/status"
  echo "deb $([[ ! -e $keyring ]] || echo "[signed-by=$keyring]") $mirror $suite main" >"$staging/sources.list"

  if ! { apt_for "$staging" update && apt_for "$staging" -y --download-only install nix-bin; } >"$staging/log" 2>&1; then
    tail -n 5 "$staging/log" >&2
    rm -rf "$staging"
    return 1
  fi
  for deb in "$staging"/archives/*.deb; do
    # Set-user bits and owners are of no use here, and not everybody's to set.
    if ! dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$staging/root" --no-same-owner --no-same-permissions; then
      rm -rf "$staging"
      return 1
    fi
  done
  rm -rf "${cache:?}/$suite"
  mv "$staging/root" "$cache/$suite"
  rm -rf "$staging"
}

# make_programs SUITE: programs in $cache/SUITE/run that run its Nix with its own
# C library, whatever this machine's is.
make_programs() {
  local directory=$cache/$1 loader libraries program
  loader=$(find "$directory/usr" -name 'ld-linux-*.so.*' | sort | head -n 1)
  libraries=$(dirname "$(find "$directory/usr/lib" -name libc.so.6 | head -n 1)")
  mkdir -p "$directory/run"
  for program in nix nix-instantiate nix-store; do
    # Nix starts its build hook by its own path, which is the loader's here.
    cat >"$directory/run/$program" <<END
#!/bin/sh
export NIX_CONFIG="\$NIX_CONFIG
build-hook ="
exec '$loader' --argv0 $program --library-path '$libraries' '$directory/usr/bin/nix' "\$@"
END
    chmod +x "$directory/run/$program"
  done
}

# check_with NAME: runs the tests with the Nix on PATH.
check_with() {
  local version last
  version=$(nix --version)
  echo "# $version ($1)"
  if ! "$here/prepare-image.sh" | tee "$cache/result"; then
    bad=1
  fi
  last=$(tail -n 1 "$cache/result")
  summary+=("$version ($1): $last")
}

mkdir -p "$cache"
if ! type -P nix >/dev/null; then
  echo "there is no nix on PATH" >&2
  exit 1
fi
check_with "on PATH"

for suite in trixie sid; do
  if [[ -n $refresh || ! -d $cache/$suite ]]; then
    if ! download "$suite"; then
      summary+=("Nix of Debian $suite: could not be downloaded")
      if [[ -z $skip ]]; then
        bad=1
      fi
      continue
    fi
  fi
  make_programs "$suite"
  PATH=$cache/$suite/run:$PATH check_with "Debian $suite"
done

echo
printf '%s\n' "${summary[@]}"
exit "$bad"
