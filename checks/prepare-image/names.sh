# shellcheck shell=bash
# shellcheck disable=SC2016 # text in single quotes is jq or Nix
# shellcheck disable=SC2034,SC2154 # variables of prepare-image.sh and its other parts
# Names of packages: what they are found by, and what is near them; all names of a set.

# finds NAME ATTRIBUTE DESCRIPTION
finds() {
  ask_for "$1"
  prepares "$3 ($1)" ".packages[0].attribute == \"$2\""
}
finds case case "an exact name goes before one in other case"
finds Case Case "an exact name with upper case is found"
finds twoways TwoWays "of two names in other case the first in byte order is taken"
finds 7zz _7zz "a name that starts with a digit means the one after an underscore"
finds 4th 4th "an exact name with a digit goes first"
finds 3dtool _3dTool "an underscore and other case go together"
finds python3packages.requests python3Packages.requests "a set is found in other case"
finds python3Packages.pyyaml python3Packages.pyYAML "a nested name is found in other case"
finds python3packages.2to3 python3Packages._2to3 "a nested digit is found"

ask_for gti hello htpo zzzzzz
refuses not_found "all missing packages are named, with near names" '.error.packages == [
  { name: "gti", near: ["git"] }, { name: "htpo", near: ["htop"] }, { name: "zzzzzz", near: [] }]'
ask_for python3packages.requets pyton3packages.requests hello.nothing
refuses not_found "near names are looked for where the name was missing" '.error.packages | map(.near) == [
  ["python3Packages.requests"], ["python3Packages"], []]'
ask_for gitae
refuses not_found "near names are sorted by distance" '.error.packages[0].near == ["gitea", "git"]'

# The names of a set, for completing them. Nothing is made.
names_request() {
  jq -cn --argjson source "$1" --arg system "$system" --arg names_in "$2" \
    '{ protocol: 1, $source, $system, $names_in }'
}
ask "$(names_request "$(path_source "$work/set")" "")"
prepares "the names of a package set" '.revision == null and has("graph") == false
  and (.names | . == sort and contains(["_7zz", "4th", "Case", "aborts", "hello", "python3Packages"]))'
ask "$(names_request "$(path_source "$work/set")" python3packages)"
prepares "the names of a set in it" '.names == ["_2to3", "pyYAML", "requests"]'
ask "$(names_request "$(path_source "$work/set")" hello)"
prepares "what a package has besides is not listed" '.names == []'
ask "$(names_request "$(path_source "$work/set")" number)"
prepares "what is no set has no names" '.names == []'
ask "$(names_request "$(path_source "$work/set")" renamed)"
refuses evaluation_failed "the names of what throws" '.error.message | test("has been renamed")'
ask "$(names_request "$(path_source "$work/set")" python4packages)"
refuses not_found "the names of no set" '.error.packages == [{ name: "python4packages", near: [] }]'
ask "$(names_request "$(path_source "$work/set")" renamed | jq '.evaluation = { restricted: true }')"
refuses evaluation_failed "… in a restricted evaluation too" '.error.message | test("has been renamed")'
ask "$(names_request "$(path_source "$work/set")" python3packages | jq '.evaluation = { restricted: true }')"
prepares "names in a restricted evaluation" '.names == ["_2to3", "pyYAML", "requests"]'
ask "$(names_request "$(path_source "$work/nowhere")" "")"
refuses source_not_found "the names of no source"

# What names are, so that people are shown which of them can be chosen.
kinds_request() {
  jq -cn --argjson source "$(path_source "$work/set")" --arg system "$system" \
    '{ protocol: 1, $source, $system, kinds_of: $ARGS.positional }' --args -- "$@"
}
ask "$(kinds_request hello 4th python3packages python3packages.requests hello.name text function functor renamed gti)"
prepares "what names are" '.revision == null and has("graph") == false and .kinds == {
  "hello": "package", "4th": "package", "python3packages": "set", "python3packages.requests": "package",
  "hello.name": "other", "text": "other", "function": "other", "functor": "other",
  "renamed": "unknown", "gti": "unknown" }'
ask "$(kinds_request)"
prepares "what no names are" '.kinds == {}'
ask "$(kinds_request hello aborts)"
refuses evaluation_failed "what names are of which one aborts" '.error.message | contains("no way")'
ask "$(kinds_request hello text | jq '.evaluation = { restricted: true }')"
prepares "what names are in a restricted evaluation" '.kinds == { "hello": "package", "text": "other" }'
ask "$(kinds_request '"; builtins.abort ""')"
refuses invalid_request "kinds of what is no name" '.error.message | endswith("is not the name of a package")'
ask "$(kinds_request hello | jq '.roots = "/"')"
refuses invalid_request "roots of kinds" '.error.message == "unknown field \"roots\" in a request for kinds"'

mkdir -p "$work/many"
echo '_: builtins.listToAttrs (map (n: { name = "package${toString (n * 7919)}Name"; value = n; }) (builtins.genList (n: n) 25000))' >"$work/many/default.nix"
started=$(date +%s%N)
ask_source "$(path_source "$work/many")" package791nam
elapsed=$((($(date +%s%N) - started) / 1000000))
refuses not_found "names like one of 25 000 are found" '.error.packages[0].near == ["package7919Name"]'
check "… in less than two seconds, Nix included ($elapsed ms)" test "$elapsed" -lt 2000
