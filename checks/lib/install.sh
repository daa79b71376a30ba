# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # variables of lib.sh, and of the scripts
# Installing what is missing: with apt, or into the cache.

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
