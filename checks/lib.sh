# shellcheck shell=bash
# What try.sh, test.sh and clients.sh share: installing what is missing, the
# offline package set, and running servers, of Nixery and of containers.
#
# Everything here says what it does on standard error.

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${XDG_CACHE_HOME:-${HOME:?}/.cache}/nixery

# dockerd and runc are where only root's PATH leads.
PATH=$PATH:/usr/sbin:/sbin

# Started with standard input closed, the first file opened would become it.
{ : <&0; } 2>/dev/null || exec </dev/null

say() { echo "${0##*/}: $*" >&2; }
die() {
  say "error: $*"
  exit 1
}
has() { type -P "$1" >/dev/null; }

# usage_of FILE: the comment at the top of a script.
usage_of() { sed -n '2,/^$/s/^# \{0,1\}//p' "$1"; }

# --- Installing -----------------------------------------------------------------

as_root() {
  if ((EUID == 0)); then
    "$@"
  elif [[ -t 0 ]]; then
    sudo "$@"
  else
    sudo -n "$@" # nobody is there to type a password
  fi
}
may_be_root() { ((EUID == 0)) || has sudo; }

# package_of PROGRAM: the Debian package that it is in.
package_of() {
  case $1 in
    nix | nix-store | nix-instantiate) echo nix-bin ;;
    cc) echo gcc libc6-dev ;;
    certificates) echo ca-certificates ;;
    chromedriver) echo chromium-driver ;;
    ctr) echo containerd ;;
    # Since Debian 13 the client has a package of its own.
    docker) if apt-cache show docker-cli >/dev/null 2>&1; then echo docker-cli; else echo docker.io; fi ;;
    dockerd) echo docker.io ;;
    flock | unshare) echo util-linux ;;
    ip) echo iproute2 ;;
    mkfs.ext4) echo e2fsprogs ;;
    perl) echo perl-base ;;
    pgrep) echo procps ;;
    selenium) echo python3-selenium ;;
    venv) echo python3-venv ;;
    *) echo "$1" ;;
  esac
}

packages_of() { for program; do package_of "$program"; done | tr ' ' '\n' | sort -u; }

# lacks PROGRAM: whether it is missing, or here but of no use.
lacks() {
  case $1 in
    certificates) has apt-get && [[ ! -e /etc/ssl/certs/ca-certificates.crt ]] ;;
    cc) ! cc -xc -o /dev/null - <<<$'#include <stdio.h>\nint main(void) { return 0; }' >/dev/null 2>&1 ;;
    selenium) ! "$(python_of_apt)" -c 'import selenium' 2>/dev/null ;;
    venv) ! python3 -c 'import ensurepip, venv' 2>/dev/null ;;
    *) ! has "$1" ;;
  esac
}

# python_of_apt: the Python that has what apt installs: another one may come first.
python_of_apt() { if [[ -x /usr/bin/python3 ]]; then echo /usr/bin/python3; else echo python3; fi; }

# need PROGRAM…: installs those that are missing with apt, or says what is.
need() {
  local program missing=() wanted=()
  for program; do
    if lacks "$program"; then missing+=("$program"); fi
  done
  ((${#missing[@]})) || return 0
  has apt-get || die "please install what is missing: ${missing[*]} (there is no apt here to do it with)"
  may_be_root || die "please install what is missing, as root (there is no sudo): apt-get install $(packages_of "${missing[@]}" | xargs)"

  local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300)
  say "missing: ${missing[*]}; reading apt's package lists"
  as_root "${apt[@]}" update >&2 || say "apt-get update failed; trying with the lists that are here"
  mapfile -t wanted < <(packages_of "${missing[@]}")
  say "installing ${wanted[*]}"
  as_root "${apt[@]}" install --no-install-recommends "${wanted[@]}" >&2 \
    || die "apt-get could not install ${wanted[*]}"
  hash -r
  for program in "${missing[@]}"; do
    if lacks "$program"; then die "$program is still missing after installing $(package_of "$program")"; fi
  done
}

rust_is_at_least() {
  local version
  version=$(cd "$repository" && cargo --version 2>/dev/null | cut -d ' ' -f 2)
  [[ -n $version ]] && printf '%s\n' "$1" "$version" | sort -CV
}

# need_rust [COMPONENT…]: cargo of the version that Cargo.toml asks for, from
# PATH or by rustup (Debian's own are too old), with rustfmt or clippy.
need_rust() {
  local wanted cargo_home=${CARGO_HOME:-$HOME/.cargo} url=https://static.rust-lang.org/rustup/rustup-init.sh component
  wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$repository/Cargo.toml")
  if ! rust_is_at_least "$wanted"; then PATH=$cargo_home/bin:$PATH; fi
  if ! rust_is_at_least "$wanted"; then
    if ! has rustup; then
      # What rustup installs doesn't run there.
      [[ ! -e /etc/NIXOS ]] || die "please install what is missing: cargo $wanted or later"
      need curl certificates
      say "installing rustup to $cargo_home, from $url"
      curl --proto '=https' -fsSL "$url" \
        | RUSTUP_INIT_SKIP_PATH_CHECK=yes sh -s -- -y --quiet --default-toolchain none --no-modify-path >&2 \
        || die "Rust $wanted or later is missing and could not be installed; see https://rustup.rs"
    fi
    say "installing Rust $wanted with rustup"
    rustup toolchain install "$wanted" --profile minimal --no-self-update >&2 \
      || die "rustup could not install Rust $wanted"
    export RUSTUP_TOOLCHAIN=$wanted
    rust_is_at_least "$wanted" || die "cargo is older than $wanted even after installing that: $(type -P cargo)"
  fi
  for component; do
    if ! "cargo-${component/rust/}" --version >/dev/null 2>&1; then
      has rustup || die "please install what is missing: $component"
      rustup component add "$component" >&2 || die "rustup could not install $component"
    fi
  done
}

# need_mdbook: from PATH, or built by cargo into the cache: Debian has no package of it.
need_mdbook() {
  local version=0.5.4 root=$cache/mdbook
  if has mdbook; then return; fi
  if ! [[ -x $root/bin/mdbook ]]; then
    need_rust
    need cc
    say "building mdbook $version, into $root"
    # Without the search field and the server, which would take twice as long.
    cargo install --quiet --locked --debug --no-default-features --root "$root" "mdbook@$version" >&2 \
      || die "mdbook is missing and could not be built"
  fi
  PATH=$PATH:$root/bin
}

# need_nginx: from PATH, or unpacked into the cache: installed, it would be started and
# listen on port 80 of the machine.
need_nginx() {
  local root=$cache/nginx
  if has nginx; then return; fi
  if ! [[ -x $root/usr/sbin/nginx ]]; then
    has apt-get || die "please install what is missing: nginx"
    say "unpacking nginx into $root"
    rm -rf "$root"
    mkdir -p "$root"
    (
      cd "$root" || exit
      apt-get -q download nginx >&2 || { as_root apt-get -q update >&2 && apt-get -q download nginx >&2; }
      dpkg -x nginx_*.deb .
    ) || die "nginx is missing and could not be downloaded"
  fi
  PATH=$PATH:$root/usr/sbin
}

# need_store: a Nix store that can be written.
need_store() {
  if [[ -n ${NIX_REMOTE-}${NIX_STORE_DIR-} || -w /nix/store || -S /nix/var/nix/daemon-socket/socket ]]; then return; fi
  if ((EUID == 0)); then return; fi # Nix makes it
  [[ ! -e /nix ]] || die "/nix belongs to another user, and no Nix daemon runs: run this as root, or start the daemon"
  may_be_root || die "there is no /nix yet; please make it, as root: install -d -o $EUID /nix"
  say "making /nix, for user $EUID"
  as_root install -d -m 755 -o "$EUID" /nix
}

# build_server: builds the server and sets $nixery to the program: to $NIXERY if that is
# set. Needs cc and jq.
build_server() { build_programs nixery; }

# build_programs PACKAGE…: the same, and builds other members of the workspace too; they
# are beside the server.
build_programs() {
  local target
  if [[ -n ${NIXERY-} ]]; then
    nixery=$NIXERY
    return
  fi
  need_rust
  say "building the server"
  (cd "$repository" && cargo build --release --locked "${@/#/--package=}" >&2) || die "the server could not be built"
  target=$(cd "$repository" && cargo metadata --locked --no-deps --format-version 1 | jq -r .target_directory)
  nixery=$target/release/nixery
}

# --- The offline package set ---------------------------------------------------------

# configure_nix LINES: adds to what Nix is told by the environment.
configure_nix() { export NIX_CONFIG="${NIX_CONFIG:+$NIX_CONFIG
}$1"; }

# build_as_root: as root, Nix insists on users to build as, whom Debian's nix-bin
# doesn't make.
build_as_root() {
  if ((EUID == 0)) && ! getent group nixbld >/dev/null; then configure_nix "build-users-group ="; fi
}

# prepare_packages: sets $packages to a folder with the offline package set for
# both platforms, and configures Nix for it: the builders use the host's own
# tools, and no binary cache has their results.
prepare_packages() {
  packages=$cache/debian-packages
  has apt-get || die "the offline package set is made of Debian's packages, and there is no apt here to get them with"
  need nix nix-store nix-instantiate patchelf perl flock certificates
  need_store
  configure_nix $'sandbox = false\nsubstituters ='
  # Users to build as could not read root's cache.
  if ((EUID == 0)); then configure_nix "build-users-group ="; fi
  mkdir -p "$cache"
  "$repository/checks/debian-packages/prepare.sh" --arch amd64,arm64 "$packages" \
    || die "the offline package set could not be prepared"
}

# pin_packages: sets $pinned to a copy of the set's Nix files in the store. What a
# store path has never changes, so the server asks Nix once for each image.
pin_packages() {
  local staging
  staging=$(mktemp -d)
  mkdir "$staging/debian-packages"
  cp "$packages"/*.{nix,txt,json,sh} "$staging/debian-packages"
  pinned=$(nix-store --add "$staging/debian-packages") || die "the offline package set could not be copied to Nix's store"
  rm -rf "$staging"
  # Keeps the garbage collector away from it.
  nix-store --add-root "$cache/debian-packages-pinned" --indirect --realise "$pinned" >/dev/null
}

# --- Servers --------------------------------------------------------------------------

# free_port [FIRST]: a port that nobody listens on; FIRST if it is one.
free_port() {
  local port=${1:-$((20000 + RANDOM % 12000))}
  while (: </dev/tcp/127.0.0.1/"$port") 2>/dev/null; do
    port=$((20000 + RANDOM % 12000))
  done
  echo "$port"
}

# end PID: ends a process that this script started, and waits for it.
end() {
  kill -TERM "$1" 2>/dev/null || return 0
  for _ in {1..350}; do
    kill -0 "$1" 2>/dev/null || break
    sleep 0.1
  done
  kill -KILL "$1" 2>/dev/null
  wait "$1" 2>/dev/null
  return 0
}

# shellcheck disable=SC2034 # for the scripts that use this file
# start_server: starts the server in the background and sets $server to its pid.
start_server() {
  PATH=$repository/nix/prepare-image:$PATH "$nixery" </dev/null >&2 &
  server=$!
}

# wait_until SECONDS PID COMMAND…: until it succeeds, as long as the process lives.
wait_until() {
  local deadline=$((SECONDS + $1)) pid=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    if ! kill -0 "$pid" 2>/dev/null || ((SECONDS > deadline)); then return 1; fi
    sleep 0.2
  done
}

# start_gcs_emulator DIR: starts an emulator of Cloud Storage whose bucket refuses
# whoever has no credentials or signature; sets $emulator to its pid, and has servers
# that are started from now on use it, with an account whose key is in DIR.
start_gcs_emulator() {
  need python3 venv
  mkdir -p "$1"
  say "starting the emulator of Cloud Storage, from $repository/checks/gcs-emulator"
  "$repository/checks/gcs-emulator/run" --bucket nixery-try --write-account "$1/account.json" \
    </dev/null >"$1/url" &
  emulator=$!
  # The first time, it is installed.
  wait_until 300 "$emulator" grep -q http "$1/url" || die "the emulator of Cloud Storage didn't start: see above"
  export NIXERY_STORAGE_BACKEND=gcs GCS_BUCKET=nixery-try
  export GOOGLE_APPLICATION_CREDENTIALS=$1/account.json
  NIXERY_GCS_ENDPOINT=$(<"$1/url")
  export NIXERY_GCS_ENDPOINT
  unset GCS_SIGNING_KEY GCS_SIGNING_ACCOUNT NIXERY_GCS_ANONYMOUS
}

server_is_ready() { curl -fsS --noproxy '*' "http://localhost:$1/readyz"; }

# start_dockerd DIR: starts a Docker daemon that has everything below DIR and
# leaves the network of the machine alone; sets $dockerd, and DOCKER_HOST.
start_dockerd() {
  mkdir -p "$1"
  echo '{}' >"$1/daemon.json"
  # In a session of its own: at Ctrl-C, containers are removed before it ends.
  setsid dockerd --config-file "$1/daemon.json" --data-root "$1/data" --exec-root "$1/exec" --pidfile "$1/pid" \
    --host "unix://$1/socket" --bridge none --iptables=false --ip6tables=false </dev/null >"$1/log" 2>&1 &
  dockerd=$!
  export DOCKER_HOST=unix://$1/socket
  if ! wait_until 30 "$dockerd" docker version; then
    end "$dockerd"
    dockerd=
    unset DOCKER_HOST
    return 1
  fi
}

# shellcheck disable=SC2034 # for the scripts that use this file
# podman_below DIR: sets $podman to a command line that has everything below DIR.
podman_below() {
  podman=(podman --root "$1/root" --runroot "$1/run" --tmpdir "$1/tmp")
  # crun, the other runtime, wants cgroups to be of one version.
  if has runc; then podman+=(--runtime runc); fi
}

# shellcheck disable=SC2034 # for the scripts that use this file
# The limits that podman sets by itself are higher than some machines allow.
podman_limits=(--ulimit nofile=4096:4096 --ulimit nproc=4096:4096)

# remove_tree DIR: with what is mounted below it, and what may not be written.
remove_tree() {
  local mount
  while read -r mount; do
    umount "$mount" 2>/dev/null
  done < <(awk -v below="$1/" 'index($5, below) == 1 { print $5 }' /proc/self/mountinfo | sort -r)
  rm -rf "$1" 2>/dev/null && return
  chmod -R u+w "$1" 2>/dev/null
  rm -rf "$1"
}
