# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # variables of lib.sh, and of the scripts
# What Nix is told, and the packages that servers make images of.

# configure_nix LINES: adds to what Nix is told by the environment.
configure_nix() { export NIX_CONFIG="${NIX_CONFIG:+$NIX_CONFIG
}$1"; }

# build_as_root: as root, Nix insists on users to build as, whom Debian's nix-bin
# doesn't make.
build_as_root() {
  if ((EUID == 0)) && ! getent group nixbld >/dev/null; then configure_nix "build-users-group ="; fi
}

# build_with_host_tools: configures Nix for packages whose builders use the machine's own
# tools, and which no binary cache has.
build_with_host_tools() {
  configure_nix $'sandbox = false\nsubstituters ='
  # Users to build as could not read root's cache.
  if ((EUID == 0)); then configure_nix "build-users-group ="; fi
}

# prepare_packages: sets $packages to a folder with the offline package set for both
# platforms.
prepare_packages() {
  packages=$cache/debian-packages
  has apt-get || die "the offline package set is made of Debian's packages, and there is no apt here to get them with"
  need nix nix-store nix-instantiate patchelf perl flock certificates
  need_store
  build_with_host_tools
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

# pin_test_packages: sets $pinned to the packages of the server's own tests, which take no
# time to build, in the store.
pin_test_packages() {
  need nix nix-store nix-instantiate
  need_store
  build_with_host_tools
  pinned=$(nix-store --add "$repository/rust/nixery/tests/it/packages") \
    || die "the packages of the tests could not be copied to Nix's store"
}
