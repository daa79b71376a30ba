# shellcheck shell=bash
# From derivations to store paths and their closure.
#
# Sourced by nixery-prepare-image. What to realise is in $targets, and the store
# paths that it makes in $paths; packages.sh sets them, or want_paths does.
#
# All of them are store paths: request.jq and checked.jq let nothing else through.
# nix-store takes options anywhere, also after "--".
# The variables that shellcheck misses are the main program's.
# shellcheck disable=SC2034,SC2154

# Sets $targets and $paths for a request that has store paths and no packages.
want_paths() {
  read -ra paths <<<"${request[paths]}"
  targets=("${paths[@]}")
  revision=null
  echo '{ "packages": [] }' >"$work/resolved"
}

# Builds or fetches the targets, each with a garbage collector root.
realise() {
  if ((${#targets[@]} == 0)); then
    return
  fi
  run "$work/realised" nix-store "${nix_options[@]}" --realise \
    --add-root "${request[roots]}/package" "${targets[@]}" || fail_build "$(failed_derivation)"
}

# Asks for the closure of the packages; reply.jq reads the answer.
read_closure() {
  if ((${#paths[@]} == 0)); then
    echo '{}' >"$work/path-info"
  elif ! path_info --json-format 1 -- "${paths[@]}" 2>/dev/null; then
    # Nix that has one format only has no such flag.
    path_info -- "${paths[@]}"
  fi
}

path_info() {
  run "$work/path-info" nix "${nix_options[@]}" path-info --json --recursive "$@"
}
