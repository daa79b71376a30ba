#!/usr/bin/env bash
# Draws the pictures of the book, in book/src/explanation.
#
# Usage: checks/pictures.sh           graphs from a run of Nix, then the pictures
#        checks/pictures.sh --draw    the pictures, of the graphs that are there
#        checks/pictures.sh --check   whether that gives those that are there
#
# Graphs are in book/src/explanation/data, in the form of the builder's replies, so
# that the pictures can be checked where the packages have other versions by now.
# The counts in popularity.json are those of Debian's index of packages: how many
# others depend on each directly.
#
# Environment:
#   NIXERY                 the program; built where it isn't set
#   NIXERY_TEST_PACKAGES   the offline package set; prepared where it isn't set

set -euo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

explanation=$repository/book/src/explanation
data=$explanation/data
shell=(bashInteractive cacert coreutils iana-etc moreutils nano)

# reply NAME PACKAGE…: has the builder make the packages, and keeps what it says.
reply() {
  local request
  mkdir "$work/$1"
  request=$(jq -n --arg path "$packages" --arg roots "$work/$1" '
    { protocol: 1, source: { type: "path", $path }, system: "x86_64-linux", packages: $ARGS.positional, $roots }' \
    --args "${@:2}")
  "$repository/nix/prepare-image/nixery-prepare-image" <<<"$request" \
    | jq '{ packages: [.packages[] | { attribute, path }], graph }' >"$data/$1.json"
}

# Every name of Debian's index that a path of the graphs begins with, and how many
# packages have it among what they depend on.
popularity() {
  apt-cache dumpavail | awk '
    /^(Pre-)?Depends:/ {
      sub(/^[^:]*: */, "")
      count = split($0, list, / *[,|] */)
      for (i = 1; i <= count; i++) { split(list[i], words, /[ :(]/); seen[words[1]] = 1 }
    }
    /^$/ { for (name in seen) counts[name]++; delete seen }
    END { for (name in counts) print name, counts[name] }' \
    | jq -R 'split(" ") | { name: .[0], count: (.[1] | tonumber) }' \
    | jq -s --slurpfile graphs <(cat "$data"/shell-*.json) '
        (map({ (.name): .count }) | add) as $counts
        | [$graphs[].graph[].path | split("/")[-1][33:] | split("-")
            | [range(1; length) as $n | .[:$n] | join("-") | select($counts[.])][-1] // empty]
        | unique | map({ (.): $counts[.] }) | add' >"$work/popularity.json"
  mv "$work/popularity.json" "$data"
}

# draw FILE ARGUMENTS…: one picture into $target, of the graphs in the data.
draw() { (cd "$data" && "$nixery" --svg --layers "${@:2}") >"$target/$1"; }

draw_all() {
  unset NIX_POPULARITY_URL
  draw layers.svg shell-git-jq.json
  draw common.svg shell-git.json --beside shell-git-jq.json
  draw budget.svg shell-git-jq.json --max-layers 10
  draw budget-common.svg shell-git.json --beside shell-git-jq.json --max-layers 10
  draw unpopular.svg shell-git.json --beside shell-curl.json
  export NIX_POPULARITY_URL=file://$data/popularity.json
  draw popular.svg shell-git.json --beside shell-curl.json
}

action=${1-}
case $action in
  --help | -h) usage; exit ;;
  '' | --draw | --check) ;;
  *)
    say "error: unknown argument: $action; see --help"
    exit 64
    ;;
esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [[ -z ${NIXERY-} ]]; then need cc jq; fi
build_server

if [[ -z $action ]]; then
  need nix nix-store nix-instantiate jq
  build_as_root
  packages=${NIXERY_TEST_PACKAGES-}
  if [[ -z $packages ]]; then prepare_packages; fi
  configure_nix $'sandbox = false\nsubstituters ='
  mkdir -p "$data"
  reply shell-git "${shell[@]}" git
  reply shell-git-jq "${shell[@]}" git jq
  reply shell-curl "${shell[@]}" curl
  popularity
fi
target=$explanation
if [[ $action == --check ]]; then target=$work; fi
draw_all
if [[ $action == --check ]]; then
  bad=0
  for picture in "$explanation"/*.svg; do
    cmp "$picture" "$work/${picture##*/}" >&2 || bad=1
  done
  [[ $(find "$work" -name '*.svg' | wc -l) == $(find "$explanation" -name '*.svg' | wc -l) ]] || bad=1
  ((!bad)) || die "the pictures are not what the program draws: checks/pictures.sh --draw draws them anew"
fi
