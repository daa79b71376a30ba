# shellcheck shell=bash
# From derivations to store paths and their closure.
#
# Sourced by nixery-prepare-image, after packages.sh has set $targets and $paths.
# The variables that shellcheck misses are the main program's.
# shellcheck disable=SC2034,SC2154

# Builds or fetches the packages, each with a garbage collector root.
realise_packages() {
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
  elif ! path_info --json-format 1 "${paths[@]}" 2>/dev/null; then
    # Nix that has one format only has no such flag.
    path_info "${paths[@]}"
  fi
}

path_info() {
  run "$work/path-info" nix "${nix_options[@]}" path-info --json --recursive "$@"
}
