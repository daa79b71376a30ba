#!/usr/bin/env bash
# Makes DIR a package set that Nix can build without a network: the Nix files
# of this folder, the .debs of every package in packages.txt with all their
# dependencies, and an index of them per system.
#
# Needs apt-get, dpkg-deb and perl (perl-base is enough) here, and patchelf
# where the set is built. Does not need root, Nix or Python, and leaves the
# host's own apt state alone.
#
# A second run does nothing while neither this folder nor the Debian release
# has changed. An interrupted run can simply be repeated: what was downloaded
# is kept, and DIR counts as ready only once its stamp is written.
set -euo pipefail

usage() {
  cat >&2 <<'END'
usage: prepare.sh [--arch ARCH[,ARCH]] [--sources FILE] DIR

  --arch     Debian architectures: amd64, arm64 (default: the host's own)
  --sources  apt's .list or .sources file (default: the host's Debian sources)
  DIR        the folder to fill; made if it does not exist
END
  exit 2
}

say() { printf 'debian-packages: %s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
set_files=(default.nix packages.nix fixups.nix faults.nix build.sh packages.txt)

arches='' sources='' dir=''
while [ $# -gt 0 ]; do
  case $1 in
    --arch) arches=${2:-}; shift 2 || usage ;;
    --sources) sources=${2:-}; shift 2 || usage ;;
    -*) usage ;;
    *) [ -z "$dir" ] || usage; dir=$1; shift ;;
  esac
done
[ -n "$dir" ] || usage

for tool in apt-get dpkg dpkg-deb patchelf perl flock; do
  command -v "$tool" >/dev/null ||
    die "$tool not found: on Debian, install apt, dpkg, patchelf, perl-base and util-linux"
done

arches=${arches:-$(dpkg --print-architecture)}

# Only Debian's own sources, so that a third party's package can't slip in and
# its unreachable server can't get in the way.
if [ -z "$sources" ]; then
  for sources in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list ''; do
    [ -s "$sources" ] && break
  done
fi
[ -r "$sources" ] || die "no apt sources${sources:+ in $sources}: name a file with --sources"
sources=$(realpath "$sources")

# What the result is made of. The folder's own name counts because the index
# holds it: Nix may later read the set from a copy elsewhere.
fingerprint() { # ARCH
  {
    echo "$1 $dir"
    cat "$sources" /etc/debian_version
    cd "$here" && cat prepare.sh index.pl "${set_files[@]}"
  } | sha256sum | cut -d ' ' -f 1
}

# An empty status file makes apt resolve the whole dependency closure; hooks of
# the host (such as docker-clean's) would touch the host's own cache.
apt_configuration() { # ARCH STATE DEBS
  local arch=$1 state=$2 debs=$3
  cat <<END
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Install-Pkgs;
#clear DPkg::Post-Invoke;
#clear APT::Architectures;
APT::Architecture "$arch";
APT::Architectures { "$arch"; };
APT::Get::Assume-Yes "true";
APT::Install-Recommends "false";
APT::Install-Suggests "false";
APT::Keep-Downloaded-Packages "true";
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::Retries "3";
Debug::NoLocking "true";
Dir::State "$state";
Dir::State::status "$state/status";
Dir::Cache "$state/cache";
Dir::Cache::archives "$debs";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "$state/empty";
Dir::Etc::sourceparts "$state/empty";
Dir::Etc::sourcelist "$sources";
END
}

# The .debs that apt would install on an empty system, as file names.
planned_files() {
  apt-get "${apt[@]}" --simulate install "${wanted[@]}" |
    perl -ne 'if (/^Inst (\S+) \((\S+) .*\[(\w+)\]\)/) { ($n, $v, $a) = ($1, $2, $3); $v =~ s/:/%3a/g; print "${n}_${v}_$a.deb\n" }' |
    LC_ALL=C sort
}

# What index.pl reads: the control fields of each .deb, its name and its hash.
stanzas() { # DEBS FILE...
  local debs=$1 file fields
  shift
  for file; do
    fields=$(dpkg-deb -f "$debs/$file" Package Version Depends Pre-Depends Provides Homepage Description) ||
      die "$debs/$file is damaged: remove it and run this again"
    printf '%s\nFile: %s\nSHA256: %s\n\n' "$fields" "$file" "$(sha256sum <"$debs/$file" | cut -d ' ' -f 1)"
  done
}

# Downloads the .debs for ARCH, then puts the set in place and stamps it.
prepare() { # ARCH
  local arch=$1 system multiarch fingerprint
  case $arch in
    amd64) system=x86_64-linux multiarch=x86_64-linux-gnu ;;
    arm64) system=aarch64-linux multiarch=aarch64-linux-gnu ;;
    *) die "unknown architecture '$arch': amd64 and arm64 are supported" ;;
  esac
  local index=$dir/index-$system.json stamp=$dir/.stamp-$arch
  fingerprint=$(fingerprint "$arch")
  if [ -e "$index" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$fingerprint" ]; then
    say "$dir is up to date for $system"
    return
  fi
  rm -f "$stamp"

  local debs=$dir/debs/$arch state=$work/apt-$arch
  mkdir -p "$debs/partial" "$state/lists/partial" "$state/cache" "$state/empty"
  : >"$state/status"
  apt_configuration "$arch" "$state" "$debs" >"$state/apt.conf"
  local apt=(-q -c "$state/apt.conf") wanted files file
  mapfile -t wanted < <(awk '!/^#/ && NF { print $2 }' "$here/packages.txt" | LC_ALL=C sort -u)

  say "$system: reading the package lists"
  apt-get "${apt[@]}" update >&2 ||
    die "apt-get update failed for $arch with the sources in $sources"
  mapfile -t files < <(planned_files)
  [ "${#files[@]}" -gt 0 ] || die "apt found no way to install ${wanted[*]} for $arch"
  say "$system: downloading what is missing of ${#files[@]} packages to $debs"
  apt-get "${apt[@]}" --download-only install "${wanted[@]}" >&2 ||
    die "the download of the $arch packages failed; run it again to go on where it stopped"

  say "$system: writing the index"
  stanzas "$debs" "${files[@]}" >"$work/control"
  perl "$here/index.pl" "$arch" "$multiarch" "$debs" "${wanted[@]}" <"$work/control" >"$work/index.json"

  for file in "${set_files[@]}"; do
    cp "$here/$file" "$work/$file"
    mv "$work/$file" "$dir/$file"
  done
  mv "$work/index.json" "$index"

  # Packages of an earlier release.
  for file in "$debs"/*.deb; do
    [[ " ${files[*]} " == *" ${file##*/} "* ]] || rm -f "$file"
  done
  rm -rf "$debs/partial" "$debs/lock"

  echo "$fingerprint" >"$work/stamp"
  mv "$work/stamp" "$stamp"
  say "$system: ready in $dir ($(du -sh "$debs" | cut -f 1) of packages)"
}

if [ -d "$dir" ] && [ -n "$(ls -A "$dir")" ] && [ ! -e "$dir/.lock" ]; then
  die "$dir has other files in it: name a new or an empty folder"
fi
mkdir -p "$dir"
dir=$(realpath "$dir")

# Two test runs may prepare the same folder at the same time.
exec 9>"$dir/.lock"
flock 9
rm -rf "$dir"/.prepare.* # of a run that was killed

work=$(mktemp -d "$dir/.prepare.XXXXXX")
trap 'rm -rf "$work"' EXIT
for arch in ${arches//,/ }; do
  prepare "$arch"
done
