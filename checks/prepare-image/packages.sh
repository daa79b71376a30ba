# shellcheck shell=bash
# shellcheck disable=SC2016 # text in single quotes is jq or Nix
# shellcheck disable=SC2034,SC2154 # variables of prepare-image.sh and its other parts
# Packages that are prepared, things that are none, and builds that fail.

# --- Success -----------------------------------------------------------------------------

ask_for hello bashinteractive
prepares "packages are prepared" '.revision == null and [.packages[].attribute] == ["hello", "bashInteractive"]'
prepares "a package is described" '.packages[0] | del(.path) == {
  attribute: "hello", request: "hello", name: "hello-2.12", pname: "hello", version: "2.12",
  license: ["MIT", "My own", "bsd"], description: "A greeting", main_program: "hello" }'
prepares "nothing is invented about a package" '.packages[1] | [.license, .description, .main_program] == [[], null, null]'
prepares "the graph is the sorted closure, without self-references" '
  (.graph | map(.path) | . == sort and length == 3)
  and ([.packages[].path] - [.graph[].path] == [])
  and all(.graph[]; .path as $p | .nar_size > 0 and .references == (.references | sort) and (.references | index($p) == null))
  and ([.graph[] | select(.path | endswith("-hello-2.12")).references[]] | length == 1 and (.[0] | endswith("-library-1.2")))'
check "the log is on standard error" grep -q '^a line of the build$' "$work/stderr"
check "every package has a root" test \
  "$(find "$work/roots" -type l -exec readlink -f {} + | sort -u)" = "$(jq -r '.packages[].path' "$work/reply" | sort)"
nix-store --gc >/dev/null 2>&1
check "rooted packages outlive a garbage collection" test -e "$(jq -r '.packages[0].path' "$work/reply")"
cp "$work/reply" "$work/first"
ask_for hello bashinteractive
check "a second run gives the same reply" cmp "$work/first" "$work/reply"
find "$work/roots" -type l -delete
nix-store --gc >/dev/null 2>&1
check "packages without roots are collected" test ! -e "$(jq -r '.packages[0].path' "$work/reply")"

ask_for library
prepares "a package that refers to itself alone has no references" '.graph | length == 1 and .[0].references == []'
ask_for odd plain
prepares "what a package says of itself is preferred, and faults in it are left out" '
  (.packages[0] | [.pname, .version, .license, .description, .main_program] == ["named", "7", ["GPL-3.0-only"], null, null])
  and (.packages[1] | .pname == "plain" and .version == null)'
ask_for outputs
prepares "the default output is taken" '(.graph | length == 1) and (.packages[0].path | endswith("-outputs-1-bin"))'
ask_for stored
prepares "a store path without a derivation is taken" '.graph | length == 1'
check "… and rooted" test "$(find "$work/roots" -lname '*-stored-1')"
# Store paths instead of packages, which are there, or can be built again.
paths_request() {
  jq -cn --arg roots "$work/roots" '{ protocol: 1, paths: $ARGS.positional, $roots }' --args -- "$@"
}
ask_for hello
cp "$work/reply" "$work/first"
hello=$(jq -r '.packages[0].path' "$work/first")
find "$work/roots" -type l -delete
ask "$(paths_request "$hello")"
prepares "a store path is realised" ".packages == [] and .revision == null and ([.graph[].path] | index(\"$hello\"))"
check "… with the graph of its package" test \
  "$(jq -c .graph "$work/reply")" = "$(jq -c .graph "$work/first")"
check "… and rooted" test "$(find "$work/roots" -lname "$hello")"
ask "$(paths_request)"
prepares "no store paths are no error" '.graph == []'
find "$work/roots" -type l -delete
nix-store --gc >/dev/null 2>&1
ask "$(paths_request "$hello")"
refuses build_failed "a store path that nobody can make" '.error.message | test("could not be built")'
ask_for
prepares "no packages are no error" '.packages == [] and .graph == []'
ask_for hello hello Hello
refuses not_found "upper case is not looked up as lower case"
ask_for bashinteractive bashInteractive
prepares "one package by two names is one path" '(.packages | length == 2) and (.graph | length == 1)'

# --- Things that are no packages, and those that Nix refuses -----------------------------

is_no_package() {
  ask_for hello "$1"
  refuses not_a_package "$1 is not a package" ".error.name == \"$1\" and .error.reason == \"$2\""
}
is_no_package function "it is a function"
is_no_package functor "it is a function"
is_no_package python3packages "it is a set of packages (python3Packages.…)"
is_no_package text "it is a string"
is_no_package nothing "it is null"
is_no_package number "it is a number"
is_no_package hello.name "it is a string"

is_refused() {
  ask_for hello "$1"
  refuses refused "$1 is refused: $2" ".error.name == \"$1\" and .error.reason == \"$2\" and (.error.message | startswith(\"$3\"))"
}
is_refused unfree unfree "Package ‘a-1’"
refuses refused "the reason is there, without what only an operator can do" '.error.message | endswith("refusing to evaluate.")'
is_refused unfreelater unfree "Refusing to evaluate package"
is_refused broken broken "Package ‘b-1’"
is_refused brokenlater broken "Refusing to evaluate package"
is_refused insecure insecure "Package ‘c-1’"
is_refused unsupported unsupported "Package ‘d-1’"
is_refused renamed other "'renamed' has been renamed"

ask_for hello aborts
refuses evaluation_failed "an evaluation that aborts" '.error.name == "aborts" and (.error.message | contains("no way"))'
ask_for wrongtype hello
refuses evaluation_failed "an evaluation with a type error" '.error.name == "wrongtype" and (.error.message | contains("\n") | not)'
ask_for aborts gti unfree
refuses not_found "missing packages are named although another aborts" '[.error.packages[].name] == ["gti"]'

# --- Builds that fail --------------------------------------------------------------------

ask_for hello fails
refuses build_failed "a build that fails" '.error.name == "fails-1.0" and (.error.derivation | endswith("-fails-1.0.drv"))
  and (.error.log | length == 20 and .[0] == "line 11" and .[19] == "line 30")'
ask_for outer
refuses build_failed "a dependency's build that fails" '.error.name == "inner-1.0" and .error.log == ["the inner log"]'
ask_for middle
refuses build_failed "an indirect dependency's build that fails" '.error.name == "innermost-3"'
ask_for coloured
refuses build_failed "escape sequences are removed" '.error.log == ["red"]'
ask_for foreign
refuses build_failed "a package for another machine" '.error.name == "foreign-1" and (.error.message | contains("riscv64-linux"))'
ask_for wronghash
refuses build_failed "a fixed output with another hash" '.error.name == "wrong-hash-1" and (.error.message | contains("hash mismatch"))'
ask_for silent
refuses build_failed "a build without its output" '.error.name == "silent-1"'
ask_for imported
refuses build_failed "a build that evaluation needs" '.error.name == "imported-1" and .error.log == ["cannot be made"]'
ask_for loud
prepares "a build with a megabyte of log"
check "… all of which is passed on" test "$(grep -c '^this is a line' "$work/stderr")" = 20000
ask_for loudfailure
refuses build_failed "a failing build with one line of three megabytes" '(.error.log | length <= 20 and .[-1] == "the end") and (tojson | length < 30000)'
