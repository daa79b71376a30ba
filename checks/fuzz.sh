#!/usr/bin/env bash
# Fuzzes every parser of what comes from outside, at length.
#
# Usage: checks/fuzz.sh [CASES [FILTER]]
#
#   CASES    for each parser: 1000000
#   FILTER   only tests whose names have this in them, such as config::
#
# It prints a table: the parser, the cases, how many of a hundred were accepted, the time,
# the most memory that one case took and the length of its input, and the panics. The
# tests are those that `cargo test` runs with few cases, compiled with optimisation, and
# still with checks for overflow. What goes wrong is shown with the shortest input that
# does it. All of it takes some ten minutes of two cores, after compiling.

set -uo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

if [[ ${1-} == -* ]]; then explain "$@"; fi
cases=${1:-1000000} filter=${2:-fuzzed}
if [[ ! $cases =~ ^[1-9][0-9]*$ ]]; then
  say "error: not a number of cases: $cases"
  exit 64
fi

need cc
need_rust
cd "$repository" || exit
log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "| parser | cases | accepted | time | most memory | panics |"
echo "| --- | --- | --- | --- | --- | --- |"
# Debug assertions stay. Dependencies are optimised already, and are not compiled again.
NIXERY_FUZZ_CASES=$cases CARGO_PROFILE_DEV_OPT_LEVEL=2 RUST_BACKTRACE=0 \
  cargo test --quiet --workspace --locked --no-fail-fast --lib -- "$filter" --nocapture 2>"$log" \
  | grep --line-buffered --only-matching '| .* |$' # dots may stand before it
status=${PIPESTATUS[0]}
if ((status)); then
  # The last words are those of the shortest inputs.
  grep -v '^error: ' "$log" | tail -n 20 | cut -c 1-2000 >&2
  say "error: not all went well: see above"
fi
exit "$status"
