#!/usr/bin/env bash
# Tries Nixery: installs what is missing, builds the server, and serves until it
# is interrupted.
#
# Usage: checks/try.sh [--gcs]
#        checks/try.sh [--gcs] --pull IMAGE [-- COMMAND…]
#
#   --gcs         keep images in a bucket of Google Cloud Storage, which an emulator
#                 on this machine stands for; clients are sent there by signed URLs
#   --pull IMAGE  serve, pull IMAGE (such as shell/git/jq) with docker, podman or
#                 skopeo, run COMMAND in it, and end with its exit status
#
# Environment:
#   PORT               port to serve on: 8080; with --pull, another one if that
#                      is taken
#   NIXERY_CHANNEL, NIXERY_PKGS_REPO, NIXERY_PKGS_PATH, NIXERY_CONFIG
#                      where packages come from. With none of them, nixpkgs where
#                      it can be reached, otherwise Debian's packages
#   STORAGE_PATH       where images are kept: below ~/.local/state/nixery-try; with
#                      --gcs, only in the emulator's memory
#   WEB_DIR            web pages that are served too: the book, where mdbook is on PATH
#   all other variables of the server
#
# On Debian, apt installs what is missing, as root or by sudo; on other systems
# the script says what that is. Only what COMMAND prints is on standard output.

set -uo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

refuse() {
  say "error: $1; see --help"
  exit 64
}

image='' command=() gcs=0
while (($#)); do
  case $1 in
    --help | -h) usage; exit ;;
    --gcs)
      gcs=1
      shift
      ;;
    --pull)
      [[ -n ${2-} && $2 != -* ]] || refuse "--pull needs the name of an image, such as shell/git"
      image=$2
      shift 2
      ;;
    --)
      [[ -n $image ]] || refuse "a command needs --pull IMAGE"
      shift
      command=("$@")
      break
      ;;
    *) refuse "unknown argument: $1" ;;
  esac
done
[[ -z ${PORT-} || $PORT =~ ^[1-9][0-9]*$ ]] || refuse "PORT is not the number of a port: $PORT"

work='' remove=()
# shellcheck disable=SC2317,SC2329 # called at the exit
leave() {
  if ((${#remove[@]})); then "${remove[@]}" >/dev/null 2>&1; fi
  clean_up
}
at_exit leave

# --- The package source ------------------------------------------------------------

reachable() {
  local url
  for url in https://github.com/NixOS/nixpkgs https://cache.nixos.org/nix-cache-info; do
    if ! curl -fsSL --head --max-time 5 -o /dev/null "$url" 2>/dev/null; then
      url=${url#https://}
      say "${url%%/*} can't be reached"
      return 1
    fi
  done
}

choose_source() {
  local variable version
  for variable in NIXERY_CHANNEL NIXERY_PKGS_REPO NIXERY_PKGS_PATH NIXERY_CONFIG; do
    if [[ -n ${!variable-} ]]; then
      say "packages come from where $variable says: ${!variable}"
      build_as_root
      return
    fi
  done
  if reachable; then
    version=$(nix --version | sed 's/.* //')
    if printf '%s\n' 2.18 "$version" | sort -CV; then
      export NIXERY_CHANNEL=nixos-unstable
      say "packages come from nixpkgs, which can be reached: $NIXERY_CHANNEL"
    else
      # The last one that older versions of Nix can evaluate.
      export NIXERY_CHANNEL=nixos-25.05
      say "packages come from nixpkgs, which can be reached: $NIXERY_CHANNEL, as Nix $version is too old for later ones"
    fi
    build_as_root
  else
    say "packages are Debian's, as nixpkgs can't be reached: those in checks/debian-packages/packages.txt"
    prepare_packages
    pin_packages
    export NIXERY_PKGS_PATH=$pinned
    # They are all made here, the first time.
    export NIX_TIMEOUT=${NIX_TIMEOUT:-300}
  fi
}

# --- Clients ---------------------------------------------------------------------------

# Each pulls $name and runs the command: it sets $status and succeeds, or it
# fails because it can't be used here.

# pull_failed CLIENT: ends if that is the image's fault, and fails if it isn't.
pull_failed() {
  local tag=latest
  if [[ $image == *:* ]]; then tag=${image#*:}; fi
  curl -fs --noproxy '*' -o /dev/null "http://localhost:$port/v2/${image%%:*}/manifests/$tag" \
    || die "$1 could not pull $name"
  say "$1 can't be used here"
  return 1
}

with_docker() {
  if ! docker version >/dev/null 2>&1; then
    if ! has dockerd || ((EUID)); then return 1; fi
    say "starting a Docker daemon"
    if ! try_dockerd "$work/docker"; then
      say "it can't be used here: $(grep -v level=info "$work/docker/log" | tail -n 1)"
      return 1
    fi
  fi
  attend docker pull "$name" >&2 || pull_failed docker || return
  status=0
  remove=(docker rm --force "$container")
  attend docker run --rm --name "$container" "${terminal[@]}" --network host "$name" "${command[@]}" || status=$?
}

with_podman() {
  local podman=(podman)
  # Root gets a storage of its own, that others need not clean up.
  if ((EUID == 0)); then podman_below "$work/podman"; fi
  "${podman[@]}" info >/dev/null 2>&1 || return
  attend "${podman[@]}" pull --tls-verify=false "$name" >&2 || pull_failed podman || return
  remove=("${podman[@]}" rm --force --time 0 "$container")
  "${podman[@]}" create --rm --name "$container" "${terminal[@]}" --network host "${podman_limits[@]}" \
    "$name" "${command[@]}" >/dev/null || return
  # Unlike run, this tells a container that can't be started from a command that fails.
  if ! "${podman[@]}" init "$container" >/dev/null; then
    say "podman can't run containers here"
    return 1
  fi
  status=0
  attend "${podman[@]}" start --attach "${terminal[0]}" "$container" || status=$?
}

# skopeo runs nothing: the image is unpacked, and entered by chroot.
with_skopeo() {
  local directory=$work/image root=$work/root config layer environment enter namespaces=(unshare --mount)
  attend skopeo copy --src-tls-verify=false "docker://$name" "dir:$directory" >&2 || pull_failed skopeo || return
  mkdir "$root"
  while read -r layer; do
    tar -xpzf "$directory/${layer#*:}" -C "$root" || die "a layer of $name could not be unpacked"
  done < <(jq -r '.layers[].digest' "$directory/manifest.json")

  config=$directory/$(jq -r '.config.digest | sub(".*:"; "")' "$directory/manifest.json")
  mapfile -t environment < <(jq -r '.config.Env[]?' "$config")
  if ((${#command[@]} == 0)); then mapfile -t command < <(jq -r '.config.Cmd[]?' "$config"); fi
  ((${#command[@]})) || die "$name has no command of its own: say which one to run"
  enter=(env -i HOME=/root "TERM=${TERM-dumb}" "${environment[@]}" "$(type -P chroot)" "$root" "${command[@]}")

  status=0
  if ((EUID)); then namespaces+=(--map-root-user); fi
  if "${namespaces[@]}" true 2>/dev/null; then
    mkdir -p "$root"/{proc,dev}
    # shellcheck disable=SC2016 # expanded inside
    attend "${namespaces[@]}" bash -c 'mount --rbind /proc "$0/proc"; mount --rbind /dev "$0/dev"; cd /; exec "$@"' \
      "$root" "${enter[@]}" || status=$?
  elif ((EUID == 0)); then
    # Some machines let root change its root, but mount nothing.
    mkdir -p "$root/dev"
    mknod -m 666 "$root/dev/null" c 1 3 && mknod -m 666 "$root/dev/urandom" c 1 9
    cd / && attend "${enter[@]}" || status=$?
  else
    return 1
  fi
}

run_image() {
  local terminal=(-i) container=nixery-try-$$
  if [[ -t 0 && -t 1 ]]; then terminal=(-i -t); fi
  if has docker && with_docker; then return; fi
  if has podman && with_podman; then return; fi
  if has skopeo && with_skopeo; then return; fi
  # podman needs no daemon, and with runc any kind of cgroups; skopeo next to nothing.
  if ! has podman && need podman runc && with_podman; then return; fi
  if ! has skopeo && need skopeo && with_skopeo; then return; fi
  die "neither docker nor podman nor skopeo and chroot can run a container here"
}

# --- All of it ------------------------------------------------------------------------------

need nix nix-store nix-instantiate git jq curl certificates cc
need_store
choose_source
build_server

export STATE_DIRECTORY=${STATE_DIRECTORY:-${XDG_STATE_HOME:-$HOME/.local/state}/nixery-try}
mkdir -p "$STATE_DIRECTORY"
if [[ -n $image && -z ${PORT-} ]]; then
  PORT=$(free_port 8080)
  export PORT
fi
work=$(mktemp -d "${TMPDIR:-/tmp}/nixery-try.XXXXXX")
if ((gcs)); then start_gcs_emulator "$work/gcs"; fi
if [[ -z ${WEB_DIR-} ]] && has mdbook && mdbook build --dest-dir "$work/book" "$repository/book" >"$work/mdbook" 2>&1; then
  export WEB_DIR=$work/book
fi
configuration=$("$nixery" --check-config) || exit
port=$(sed -n 's/^port = //p' <<<"$configuration")
if server_is_ready "$port" >/dev/null 2>&1; then
  die "something serves on port $port already; choose another one: PORT=$(free_port) ${0}"
fi

start_server

if [[ -n $image ]]; then
  name=localhost:$port/$image
  run_image
  exit "$status"
fi

cat >&2 <<END

Nixery serves on port $port. In another terminal, one of:

  docker run --rm -it localhost:$port/shell/git/jq bash
  podman run --rm -it --tls-verify=false localhost:$port/shell/git/jq bash
  skopeo copy --src-tls-verify=false docker://localhost:$port/shell/git/jq oci:image

http://localhost:$port/ composes names, and shows builds as they go on.

Ctrl-C ends it.

END
wait "$server"
exit
