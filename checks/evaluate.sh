#!/usr/bin/env bash
# Evaluates the flake, and the NixOS module without NixOS: which of its assertions
# fail, and what its units come to, which must be as reviewed in checks/units.
#
# Usage: checks/evaluate.sh [--write] [NIXPKGS]
#
#   --write   write checks/units anew instead, to be reviewed
#   NIXPKGS   directory with a flake like that of nixpkgs, instead of the nixpkgs in
#             flake.lock, which is downloaded (about 45 MB)
#
# Environment:
#   NIXERY_TEST_NIXPKGS   the same as NIXPKGS
#
# Nothing is built. Nix has to be as new as that nixpkgs wants: 2.18 or later.

set -uo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

write=0 nixpkgs=${NIXERY_TEST_NIXPKGS-}
for argument; do
  case $argument in
    --write) write=1 ;;
    -*) explain "$argument" ;;
    *) nixpkgs=$argument ;;
  esac
done

need nix nix-instantiate jq git
cd "$repository" || exit
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
flakes=(--extra-experimental-features 'nix-command flakes')

# --- nixpkgs -----------------------------------------------------------------------

# shellcheck disable=SC2016 # the text in single quotes is Nix
locked='with (builtins.fromJSON (builtins.readFile ./flake.lock)).nodes.nixpkgs.locked;
  fetchTarball { url = "https://github.com/${owner}/${repo}/archive/${rev}.tar.gz"; sha256 = narHash; }'
override=()
if [[ -z $nixpkgs ]]; then
  say "nixpkgs is that of flake.lock"
  nixpkgs=$(nix-instantiate --eval --expr "$locked" | jq -r .) || die "it can't be had: see above"
else
  nixpkgs=$(realpath -e -- "$nixpkgs") || die "there is no such directory"
  override=(--override-input nixpkgs "path:$nixpkgs")
fi
lib="(builtins.getFlake \"path:$nixpkgs\").lib"

# --- The module ---------------------------------------------------------------------

# module ATTRIBUTE: a part of module-eval.nix, as JSON.
module() {
  nix-instantiate --option experimental-features 'nix-command flakes' --eval --strict --json \
    checks/module-eval.nix --arg lib "$lib" -A "$1"
}

if ((write)); then
  module units >"$work/units" || die "the units can't be evaluated: see above"
  rm -rf checks/units
  jq -r 'to_entries[] | .key as $case | .value | keys[] | "\($case) \(.)"' "$work/units" \
    | while read -r case file; do
      mkdir -p "checks/units/$case"
      jq -j --arg case "$case" --arg file "$file" '.[$case][$file]' "$work/units" >"checks/units/$case/$file"
    done
  say "checks/units is written; review it with git diff"
  exit
fi

# --- Judging ------------------------------------------------------------------------

failures=0
# judge NAME COMMAND…
judge() {
  if "${@:2}" >"$work/output" 2>&1; then
    echo "ok - $1"
  else
    failures=$((failures + 1))
    echo "not ok - $1"
    tail -n 20 "$work/output" | sed 's/^/#   /'
  fi
}

# shellcheck disable=SC2317 # called by judge
module_is_right() {
  module wrong >"$work/wrong" || return
  jq . "$work/wrong"
  [[ $(jq length "$work/wrong") == 0 ]]
}
judge "the module's assertions fail as they should, and its units are as reviewed" module_is_right

for system in x86_64-linux aarch64-linux; do
  for kind in packages checks devShells; do
    names=$(nix "${flakes[@]}" eval --json "${override[@]}" --no-write-lock-file ".#$kind.$system" \
      --apply builtins.attrNames 2>"$work/output" | jq -r '.[]')
    if [[ -z $names ]]; then
      judge "$kind.$system has outputs" cat "$work/output" /nothing
      continue
    fi
    for name in $names; do
      judge "$kind.$system.$name evaluates" \
        nix "${flakes[@]}" eval --raw "${override[@]}" --no-write-lock-file ".#$kind.$system.$name.drvPath"
    done
  done
done
judge "nix flake show" nix "${flakes[@]}" flake show "${override[@]}" --no-write-lock-file .
judge "nix flake check --no-build" nix "${flakes[@]}" flake check --no-build "${override[@]}" --no-write-lock-file .

((failures == 0))
