#!/usr/bin/env bash
# Tests the builder with the Nix that is on PATH: real evaluations and builds of a
# small package set, in a store of its own. Needs git, jq, python3 and no network.
#
# Usage: checks/prepare-image.sh [PART…]
#
# With PART, a file of checks/prepare-image, only those: packages, names, evaluation,
# sources, requests, process.

set -uo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$(dirname "${BASH_SOURCE[0]}")/lib/judge.sh"
. "$(dirname "${BASH_SOURCE[0]}")/prepare-image/asking.sh"
. "$(dirname "${BASH_SOURCE[0]}")/prepare-image/fixture.sh"

parts=(packages names evaluation sources requests process)
for argument; do
  if [[ " ${parts[*]} " != *" $argument "* ]]; then explain "$argument"; fi
done
if (($#)); then parts=("$@"); fi
work_in builder

# A store, state, home and configuration apart from the machine's.
export NIX_STORE_DIR=$work/nix/store NIX_STATE_DIR=$work/nix/var NIX_LOG_DIR=$work/nix/log
export NIX_CONF_DIR=$work/nix/etc NIX_LOCALSTATE_DIR=$work/nix/local NIX_DATA_DIR=$work/nix/share
configure_nix $'sandbox = false\nsubstituters =\nbuild-users-group =\ndownload-attempts = 1\nconnect-timeout = 5'
export HOME=$work/home TMPDIR=$work/tmp
unset XDG_CACHE_HOME XDG_CONFIG_HOME NIX_PATH NIX_REMOTE
mkdir -p "$NIX_CONF_DIR" "$HOME" "$TMPDIR" "$work/roots"

builder=$repository/nix/prepare-image/nixery-prepare-image
system=$(nix-instantiate --eval -E builtins.currentSystem | tr -d '"')
make_set "$work/set"
# A request that has all that one must have.
good=$(request "$(path_source "$work/set")" hello)

for part in "${parts[@]}"; do
  # shellcheck source=/dev/null
  . "$repository/checks/prepare-image/$part.sh"
done
summarize
