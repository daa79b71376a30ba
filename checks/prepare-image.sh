#!/usr/bin/env bash
# Tests the builder with the Nix that is on PATH: real evaluations and builds of a
# small package set, in a store of its own. Needs git, jq, python3 and no network.
#
# Usage: checks/prepare-image.sh

# Text in single quotes is jq or Nix here.
# shellcheck disable=SC2016

set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
builder=$root/nix/prepare-image/nixery-prepare-image
passed=0 failed=0
temporary=$(mktemp -d "${TMPDIR:-/tmp}/check-prepare-image.XXXXXX")
temporary=$(cd "$temporary" && pwd -P)
server=

clean_up() {
  if [[ -n $server ]]; then kill "$server" 2>/dev/null; fi
  chmod -R u+w "$temporary" 2>/dev/null
  rm -rf "$temporary"
}
trap clean_up EXIT

# A store, state, home and configuration apart from the machine's.
export NIX_STORE_DIR=$temporary/nix/store NIX_STATE_DIR=$temporary/nix/var NIX_LOG_DIR=$temporary/nix/log
export NIX_CONF_DIR=$temporary/nix/etc NIX_LOCALSTATE_DIR=$temporary/nix/local NIX_DATA_DIR=$temporary/nix/share
export NIX_CONFIG="${NIX_CONFIG:+$NIX_CONFIG
}sandbox = false
substituters =
build-users-group =
download-attempts = 1
connect-timeout = 5"
export HOME=$temporary/home TMPDIR=$temporary/tmp
unset XDG_CACHE_HOME XDG_CONFIG_HOME NIX_PATH NIX_REMOTE
mkdir -p "$NIX_CONF_DIR" "$HOME" "$TMPDIR" "$temporary/roots"

system=$(nix-instantiate --eval -E builtins.currentSystem | tr -d '"')

# --- Asking and judging ------------------------------------------------------

# ask REQUEST: runs the builder; sets $status; the reply and the log are files.
ask() {
  status=0
  "$builder" <<<"$1" >"$temporary/reply" 2>"$temporary/stderr" || status=$?
}

# What an evaluation may do, if it is said.
evaluation=null
readonly restricted='{ "restricted": true, "import_from_derivation": false }'

# request SOURCE PACKAGE…: a request for packages from a source in JSON.
request() {
  local source=$1
  shift
  jq -cn --argjson source "$source" --arg system "$system" --arg roots "$temporary/roots" \
    --argjson evaluation "$evaluation" '{
      protocol: 1, $source, $system, packages: $ARGS.positional, $roots, $evaluation
    }' --args -- "$@"
}

path_source() { jq -cn --arg path "$1" '{ type: "path", $path }'; }
git_source() { jq -cn --arg url "$1" "{ type: \"git\", \$url } + ${2:-{\}}"; }
channel_source() { jq -cn --arg channel "$1" --arg base_url "$2" '{ type: "channel", $channel, $base_url }'; }

# From the fixture, unless said otherwise.
ask_for() { ask "$(request "$(path_source "$temporary/set")" "$@")"; }
ask_source() { ask "$(request "$@")"; }

result() {
  local good=$1 what=$2
  if ((good)); then
    passed=$((passed + 1))
    echo "ok - $what"
  else
    failed=$((failed + 1))
    echo "not ok - $what"
    printf '#   status %s\n' "$status"
    head -c 2000 "$temporary/reply" | sed 's/^/#   reply: /'
    tail -n 5 "$temporary/stderr" | cut -c 1-300 | sed 's/^/#   log: /'
  fi
}

# replies STATUS DESCRIPTION CONDITION: the reply is one document, with this exit
# status, for which a jq condition holds.
replies() {
  local good=0
  if [[ $status == "$1" ]] \
    && jq -es "length == 1 and (.[0] | .protocol == 1 and ($3))" "$temporary/reply" >/dev/null; then
    good=1
  fi
  result "$good" "$2"
}
prepares() { replies 0 "$1" "${2:-true}"; }
refuses() { replies 1 "$2" ".error.kind == \"$1\" and (.error.message | type == \"string\" and length > 0) and (${3:-true})"; }

# check DESCRIPTION COMMAND…
check() {
  local what=$1 good=0
  shift
  if "$@" >/dev/null 2>&1; then good=1; fi
  result "$good" "$what"
}

# --- The fixture ---------------------------------------------------------------

tools=$(dirname "$(command -v mkdir)"):$(dirname "$(command -v sleep)"):/bin:/usr/bin

make_set() {
  mkdir -p "$1"
  cat >"$1/package.nix" <<END
system: name: script: more:
derivation (
  {
    inherit name system;
    builder = "/bin/sh";
    args = [ "-c" script ];
    PATH = "$tools";
  }
  // more
)
END
  cat >"$1/default.nix" <<'END'
{ system, ... }@given:
let
  package = import ./package.nix system;
  file = name: package name "echo ${name} >$out" { };
  throws = text: file "thrown-1" // { drvPath = throw text; outPath = throw text; };
  library = package "library-1.2" "mkdir $out; echo $out >$out/self" { };
in
{
  hello = package "hello-2.12" "echo a line of the build >&2; mkdir $out; echo ${library} >$out/uses" { } // {
    meta = {
      description = "A greeting";
      license = [ { licenseType = "compound"; operator = "OR"; licenses = [ { spdxId = "MIT"; } { fullName = "My own"; } ]; } "bsd" ];
      mainProgram = "hello";
    };
  };
  inherit library;
  bashInteractive = file "bash-5.2";
  plain = file "plain";
  odd = file "odd-1" // { pname = "named"; version = "7"; meta = { license = { spdxId = "GPL-3.0-only"; }; description = throw "no"; mainProgram = 3; }; };
  outputs = package "outputs-1" "mkdir $bin $out" { outputs = [ "bin" "out" ]; };
  stored = { type = "derivation"; name = "stored-1"; outPath = builtins.toFile "stored-1" "text"; };

  Case = file "upper-1";
  case = file "lower-1";
  twoWays = file "second-1";
  TwoWays = file "first-1";
  _7zz = file "7zz-22";
  "4th" = file "fourth-1";
  _4th = file "underscored-1";
  _3dTool = file "3d-1";
  python3Packages = { requests = file "python3-requests-2"; pyYAML = file "python3-yaml-6"; _2to3 = file "python3-2to3-1"; };
  git = file "git-2";
  gitea = file "gitea-1";
  htop = file "htop-3";

  function = x: x;
  functor = { __functor = _: x: x; };
  text = "words";
  nothing = null;
  number = 3;

  unfree = throws "Package ‘a-1’ in /set/a.nix:3 has an unfree license (‘unfree’), refusing to evaluate.\n\na) To temporarily allow it\n   do this";
  unfreeLater = throws "Refusing to evaluate package 'a-1' in /set/a.nix:3 because it has an unfree license (‘unfree’)";
  broken = throws "Package ‘b-1’ in /set/b.nix:3 is marked as broken, refusing to evaluate.";
  brokenLater = throws "Refusing to evaluate package 'b-1' in /set/b.nix:3 because it has problems:\n  - broken: This package is broken.";
  spins = builtins.foldl' (a: b: a + b) 0 (builtins.genList (x: let f = n: if n == 0 then 0 else f (n - 1); in f 1000) 100000000);
  insecure = throws "Package ‘c-1’ in /set/c.nix:3 is marked as insecure, refusing to evaluate.";
  unsupported = throws "Package ‘d-1’ in /set/d.nix:3 is not available on the requested hostPlatform:\n  hostPlatform.system = \"x86_64-linux\"";
  renamed = throw "'renamed' has been renamed to/replaced by 'hello'";
  aborts = abort "no way";
  wrongType = file (1 + "a");

  fails = package "fails-1.0" "i=0; while [ $i -lt 30 ]; do i=$((i+1)); echo line $i; done; exit 3" { };
  coloured = package "coloured-1" "printf '\\033[31mred\\033[0m\\r\\n'; exit 1" { };
  outer = package "outer-1" "echo ${package "inner-1.0" "echo the inner log; exit 1" { }} >$out" { };
  middle = package "middle-1" "echo ${package "outer-2" "echo ${package "innermost-3" "exit 1" { }} >$out" { }} >$out" { };
  foreign = package "foreign-1" "echo >$out" { system = "riscv64-linux"; };
  wrongHash = package "wrong-hash-1" "echo a >$out" { outputHash = "0000000000000000000000000000000000000000000000000000"; outputHashAlgo = "sha256"; };
  silent = package "silent-1" "true" { };
  imported = import (package "imported-1" "echo cannot be made; exit 1" { });
  loud = package "loud-1" "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo 'this is a line of about fifty characters, more' >&2; done; echo >$out" { };
  loud2 = package "loud-2" "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo 'this is a line of about fifty characters, more' >&2; done; echo >$out" { };
  loudFailure = package "loud-failure-1" "head -c 3000000 /dev/zero | tr '\\0' x; echo; echo the end; exit 1" { };
  hanging = package "hanging-1" "echo started >&2; sleep 86411 & wait" { };
  hangingToo = package "hanging-2" "echo started >&2; sleep 86412 & wait" { };
  slow = package "slow-1" "sleep 1; echo >$out" { };
  configured = file "configured-${if given ? config then builtins.toJSON (given.config.mark or "none") else "no"}";
}
END
}

make_set "$temporary/set"

# --- Success -------------------------------------------------------------------

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
check "the log is on standard error" grep -q '^a line of the build$' "$temporary/stderr"
check "every package has a root" test \
  "$(find "$temporary/roots" -type l -exec readlink -f {} + | sort -u)" = "$(jq -r '.packages[].path' "$temporary/reply" | sort)"
nix-store --gc >/dev/null 2>&1
check "rooted packages outlive a garbage collection" test -e "$(jq -r '.packages[0].path' "$temporary/reply")"
cp "$temporary/reply" "$temporary/first"
ask_for hello bashinteractive
check "a second run gives the same reply" cmp "$temporary/first" "$temporary/reply"
find "$temporary/roots" -type l -delete
nix-store --gc >/dev/null 2>&1
check "packages without roots are collected" test ! -e "$(jq -r '.packages[0].path' "$temporary/reply")"

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
check "… and rooted" test "$(find "$temporary/roots" -lname '*-stored-1')"
# Store paths instead of packages, which are there, or can be built again.
paths_request() {
  jq -cn --arg roots "$temporary/roots" '{ protocol: 1, paths: $ARGS.positional, $roots }' --args -- "$@"
}
ask_for hello
cp "$temporary/reply" "$temporary/first"
hello=$(jq -r '.packages[0].path' "$temporary/first")
find "$temporary/roots" -type l -delete
ask "$(paths_request "$hello")"
prepares "a store path is realised" ".packages == [] and .revision == null and ([.graph[].path] | index(\"$hello\"))"
check "… with the graph of its package" test \
  "$(jq -c .graph "$temporary/reply")" = "$(jq -c .graph "$temporary/first")"
check "… and rooted" test "$(find "$temporary/roots" -lname "$hello")"
ask "$(paths_request)"
prepares "no store paths are no error" '.graph == []'
find "$temporary/roots" -type l -delete
nix-store --gc >/dev/null 2>&1
ask "$(paths_request "$hello")"
refuses build_failed "a store path that nobody can make" '.error.message | test("could not be built")'
ask_for
prepares "no packages are no error" '.packages == [] and .graph == []'
ask_for hello hello Hello
refuses not_found "upper case is not looked up as lower case"
ask_for bashinteractive bashInteractive
prepares "one package by two names is one path" '(.packages | length == 2) and (.graph | length == 1)'

# --- Names -----------------------------------------------------------------------

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
ask "$(names_request "$(path_source "$temporary/set")" "")"
prepares "the names of a package set" '.revision == null and has("graph") == false
  and (.names | . == sort and contains(["_7zz", "4th", "Case", "aborts", "hello", "python3Packages"]))'
ask "$(names_request "$(path_source "$temporary/set")" python3packages)"
prepares "the names of a set in it" '.names == ["_2to3", "pyYAML", "requests"]'
ask "$(names_request "$(path_source "$temporary/set")" hello)"
prepares "what a package has besides is not listed" '.names == []'
ask "$(names_request "$(path_source "$temporary/set")" number)"
prepares "what is no set has no names" '.names == []'
ask "$(names_request "$(path_source "$temporary/set")" renamed)"
refuses evaluation_failed "the names of what throws" '.error.message | test("has been renamed")'
ask "$(names_request "$(path_source "$temporary/set")" python4packages)"
refuses not_found "the names of no set" '.error.packages == [{ name: "python4packages", near: [] }]'
ask "$(names_request "$(path_source "$temporary/set")" renamed | jq '.evaluation = { restricted: true }')"
refuses evaluation_failed "… in a restricted evaluation too" '.error.message | test("has been renamed")'
ask "$(names_request "$(path_source "$temporary/set")" python3packages | jq '.evaluation = { restricted: true }')"
prepares "names in a restricted evaluation" '.names == ["_2to3", "pyYAML", "requests"]'
ask "$(names_request "$(path_source "$temporary/nowhere")" "")"
refuses source_not_found "the names of no source"

# What names are, so that people are shown which of them can be chosen.
kinds_request() {
  jq -cn --argjson source "$(path_source "$temporary/set")" --arg system "$system" \
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

mkdir -p "$temporary/many"
echo '_: builtins.listToAttrs (map (n: { name = "package${toString (n * 7919)}Name"; value = n; }) (builtins.genList (n: n) 25000))' >"$temporary/many/default.nix"
started=$(date +%s%N)
ask_source "$(path_source "$temporary/many")" package791nam
elapsed=$((($(date +%s%N) - started) / 1000000))
refuses not_found "names like one of 25 000 are found" '.error.packages[0].near == ["package7919Name"]'
check "… in less than two seconds, Nix included ($elapsed ms)" test "$elapsed" -lt 2000

# --- Things that are no packages, and those that Nix refuses -----------------------

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

# --- Builds that fail ---------------------------------------------------------------

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
check "… all of which is passed on" test "$(grep -c '^this is a line' "$temporary/stderr")" = 20000
ask_for loudfailure
refuses build_failed "a failing build with one line of three megabytes" '(.error.log | length <= 20 and .[-1] == "the end") and (tojson | length < 30000)'

# --- Path sources -----------------------------------------------------------------

sets=$temporary/sets
mkdir -p "$sets"/{plain,attributes,text,syntax,abort,config,empty}
echo 'system: { it = import ../../set/package.nix system.system "it-1" "echo >$out" { }; }' >"$sets/plain/default.nix"
echo '{ it = import ../../set/package.nix builtins.currentSystem "it-2" "echo >$out" { }; }' >"$sets/attributes/default.nix"
echo '"no set"' >"$sets/text/default.nix"
echo '{ it = ' >"$sets/syntax/default.nix"
echo 'abort "the set is broken"' >"$sets/abort/default.nix"
echo '{ system, config ? { mark = "default"; } }: { it = import ../../set/package.nix system "it-${config.mark}" "echo >$out" { }; }' >"$sets/config/default.nix"

ask_source "$(path_source "$sets/plain")" it
prepares "a set that is a function of anything" '.packages[0].name == "it-1"'
ask_source "$(path_source "$sets/attributes")" it
prepares "a set that is no function" '.packages[0].name == "it-2"'
ask_source "$(path_source "$sets/config")" it
prepares "no configuration is passed unless it is given" '.packages[0].name == "it-default"'
ask "$(request "$(path_source "$sets/config")" it | jq -c '.config = { mark: "given" }')"
prepares "a configuration is passed on" '.packages[0].name == "it-given"'
ask "$(request "$(path_source "$sets/config")" it | jq -c '.system = "riscv64-linux"')"
refuses build_failed "the system is passed on"
ask "$(request "$(path_source "$temporary/set")" stored | jq -c '.options = { "max-jobs": "0", "cores": "1" }')"
prepares "options may be given"
ask "$(request "$(path_source "$temporary/set")" imported | jq -c '.options = { "allow-import-from-derivation": "false" }')"
refuses evaluation_failed "options reach Nix" '.error.message | test("import.from.derivation")'
ask_source "$(path_source "$sets/text")" it
refuses evaluation_failed "a set that is a string" '.error.name == null and (.error.message | contains("a string"))'
ask_source "$(path_source "$sets/syntax")" it
refuses evaluation_failed "a set with a syntax error" '.error.message | contains("syntax error")'
ask_source "$(path_source "$sets/abort")" it
refuses evaluation_failed "a set that aborts" '.error.name == null and (.error.message | contains("the set is broken"))'
ask_source "$(path_source "$sets/empty")" it
refuses source_not_found "a directory without default.nix"
ask_source "$(path_source "$sets/absent")" it
refuses source_not_found "a directory that does not exist"

# --- What an evaluation may do --------------------------------------------------------

mkdir -p "$temporary"/{secrets,real,evil}
echo '"secret"' >"$temporary/secrets/default.nix"
echo '"allowed"' >"$temporary/real/default.nix"
ln -s "$temporary/real" "$temporary/allowed"
ln -s "$temporary/secrets" "$temporary/evil/link"
ln -s "$temporary/evil" "$temporary/evil-link"
cp "$temporary/set/package.nix" "$temporary/evil"
cat >"$temporary/evil/default.nix" <<END
{ system, ... }:
let
  package = name: text: import ./package.nix system name "echo \$text >\$out" { inherit text; };
in
{
  it = package "it-1" "\${./package.nix}";
  read = package "read-1" (builtins.readFile $temporary/secrets/default.nix);
  import = package "import-1" (import $temporary/secrets);
  link = package "link-1" (import ./link);
  up = package "up-1" (import ../secrets);
  copied = package "copied-1" "\${$temporary/secrets}";
  listed = package "listed-1" (toString (builtins.attrNames (builtins.readDir $temporary/secrets)));
  git = package "git-1" (builtins.fetchGit "file://$temporary/repositories/other").outPath;
  url = package "url-1" (builtins.readFile (builtins.fetchurl "file://$temporary/secrets/default.nix"));
  web = package "web-1" (builtins.fetchTarball "http://127.0.0.1:9/a.tar.gz");
  environ = package "environ-1" (builtins.readFile /proc/self/environ);
  variables = package "variables-\${builtins.getEnv "HOME"}" "";
  exists = package "exists-\${if builtins.pathExists $temporary/secrets then "yes" else "no"}" "";
  allowed = package "allowed-1" (import $temporary/allowed);
  built = package "built-1" (builtins.readFile (package "first-1" "first"));
}
END
make_set "$temporary/repositories/other"
git init -q "$temporary/repositories/other"
git -C "$temporary/repositories/other" add . \
  && git -C "$temporary/repositories/other" -c user.name=a -c user.email=a@example.org commit -qm one >/dev/null

ask_evil() { ask_source "$(path_source "$temporary/evil")" "$@"; }
evaluation=$restricted
ask_evil it
prepares "restricted: a set that reads itself"
ask_source "$(path_source "$temporary/evil-link")" it
prepares "… through a link"
for name in read import link up copied listed git url web environ allowed; do
  ask_evil "$name"
  refuses evaluation_failed "restricted: what reads or fetches something else ($name)" \
    '.error.message | contains("restricted mode")'
done
ask_evil built
refuses evaluation_failed "no import from derivation" '.error.message | contains("import")'
ask_evil variables exists
prepares "restricted: no environment variables, nor what there is" \
  '[.packages[].name] == ["variables-", "exists-no"]'
evaluation=$(jq -c --arg path "$temporary" \
  '.allowed_uris = [$path + "/allowed", "file://" + $path + "/repositories/"]' <<<"$restricted")
ask_evil it allowed git
prepares "what is allowed can be read and fetched"
ask_evil allowed read
refuses evaluation_failed "… and nothing else" '.error.name == "read"'
evaluation='{ "import_from_derivation": false }'
ask_evil read up git
prepares "it is the restriction that forbids it"
ask_evil built
refuses evaluation_failed "import from derivation is forbidden apart from that"
evaluation=null
ask_evil built
prepares "… and allowed if nothing is said"
NIX_CONFIG="$NIX_CONFIG
restrict-eval = true" ask_evil read
refuses source_unavailable "what Nix's configuration forbids stays forbidden"
NIX_CONFIG="$NIX_CONFIG
allow-import-from-derivation = false"
evaluation='{ "import_from_derivation": true }'
ask_evil built
refuses evaluation_failed "… also where it would be allowed"
NIX_CONFIG=${NIX_CONFIG%$'\n'*}

# What a set says of its packages' places would be arguments of the Nix commands: they
# once made Nix evaluate, without any restriction, what runs this command.
mkdir -p "$temporary/liar"
cp "$temporary/set/package.nix" "$temporary/liar"
cat >"$temporary/liar/default.nix" <<END
{ system, ... }:
let
  package = import ./package.nix system;
  real = package "real-1" "for it in \$a \$b \$c \$d \$e \$f; do echo \$it >\$it; done" { outputs = [ "a" "b" "c" "d" "e" "f" ]; };
  said = outputName: outPath: { type = "derivation"; name = "liar-1"; inherit (real) drvPath; inherit outputName outPath; };
  inherit (builtins) storeDir stringLength substring;
  ofReal = text: storeDir + "/" + text;
  base = substring (stringLength storeDir + 1) 500 real.outPath;
  letters = n: if n == 0 then "" else "a" + letters (n - 1);
in
{
  inherit real;
  a = said "a" "--option";
  b = said "b" "allow-unsafe-native-code-during-evaluation";
  c = said "c" "true";
  d = said "d" "--impure";
  e = said "e" "--expr";
  f = said "f" "builtins.exec [ \"/bin/sh\" \"-c\" \"echo >$temporary/was-run; echo {}\" ]";
  none = { type = "derivation"; name = "liar-1"; outPath = "--version"; };
  outside = said "a" "$temporary/\${base}";
  above = said "a" (ofReal "../\${base}");
  below = said "a" (real.outPath + "/bin");
  store = said "a" storeDir;
  several = said "a" "\${real.outPath}\n--expr";
  output = said "a" "\${real.outPath}!out";
  digits = said "a" (ofReal "\${letters 31}e-liar");
  long = said "a" (ofReal "\${letters 32}-\${letters 212}");
  number = said "a" 3;
  drvOption = said "a" real.outPath // { drvPath = "--version"; };
  drvOutput = said "a" real.outPath // { drvPath = real.outPath; };
  drvOutside = said "a" real.outPath // { drvPath = "$temporary/\${letters 32}-liar.drv"; };
  drvSpace = said "a" real.outPath // { drvPath = ofReal "\${letters 32}-a liar.drv"; };
  outputOption = said "a --version" real.outPath;
  outputEmpty = said "" real.outPath;
  outputLine = said "a\n" real.outPath;
  outputAll = said "*" real.outPath;
  outputNumber = said 3 real.outPath;
}
END
ask_liar() { ask_source "$(path_source "$temporary/liar")" "$@"; }
for evaluation in null "$restricted"; do
  ask_liar real
  prepares "a package says where it is ($evaluation)" '.graph | length == 1'
  ask_liar a b c d e f
  refuses not_a_package "options in the place of store paths" '.error.name == "a" and (.error.reason | test("outPath"))'
  check "… and nothing is run" test ! -e "$temporary/was-run"
  for name in none outside above below store several output digits long number; do
    ask_liar real "$name"
    refuses not_a_package "what is no store path ($name)" ".error.name == \"$name\" and (.error.reason | test(\"outPath\"))"
  done
  for name in drvOption drvOutput drvOutside drvSpace; do
    ask_liar "$name"
    refuses not_a_package "what is no derivation ($name)" '.error.reason | test("drvPath")'
  done
  for name in outputOption outputEmpty outputLine outputAll outputNumber; do
    ask_liar "$name"
    refuses not_a_package "what is no output ($name)" '.error.reason | test("outputName")'
  done
done

# What is fetched is fetched as well where the set may fetch nothing.
evaluation=$restricted

# --- Git sources --------------------------------------------------------------------

export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=$temporary/gitconfig
repository=$temporary/repository
git config --file "$GIT_CONFIG_GLOBAL" user.name Tester
git config --file "$GIT_CONFIG_GLOBAL" user.email tester@example.org
git config --file "$GIT_CONFIG_GLOBAL" init.defaultBranch trunk

in_repository() { git -C "$repository" "$@" >/dev/null 2>&1; }
commit() {
  echo "{ it = import ./package.nix builtins.currentSystem \"it-$1\" \"echo >\$out\" { }; }" >"$repository/default.nix"
  in_repository add . && in_repository commit -m "$1"
  git -C "$repository" rev-parse HEAD
}
make_set "$repository"
git init -q "$repository"
first=$(commit first)
in_repository tag -a annotated -m tagged
trunk=$(commit trunk)
in_repository checkout -b feature/x
feature=$(commit feature)
in_repository tag light
in_repository branch both
in_repository tag both "$first"
in_repository checkout -b lost
lost=$(commit lost)
in_repository update-ref refs/pull/1/head HEAD
in_repository checkout trunk
in_repository branch -D lost
in_repository checkout --orphan bare
in_repository rm -rf .
in_repository commit --allow-empty -m nothing
in_repository checkout trunk
url=file://$repository

# git_gives DESCRIPTION FIELDS NAME REVISION
git_gives() {
  ask_source "$(git_source "${5:-$url}" "$2")" it
  prepares "git: $1" ".packages[0].name == \"it-$3\" and .revision == \"$4\""
}
git_gives "the default branch" '{}' trunk "$trunk"
git_gives "null is the default branch" '{ reference: null, revision: null }' trunk "$trunk"
git_gives "a branch with a slash" '{ reference: "feature/x" }' feature "$feature"
git_gives "an annotated tag" '{ reference: "annotated" }' first "$first"
git_gives "a tag" '{ reference: "light" }' feature "$feature"
git_gives "a branch goes before a tag" '{ reference: "both" }' feature "$feature"
git_gives "a commit" "{ revision: \"$first\" }" first "$first"
git_gives "a commit of no branch" "{ revision: \"$lost\" }" lost "$lost"
git_gives "an older commit of a branch" "{ reference: \"trunk\", revision: \"$first\" }" first "$first"
git_gives "a commit that has left its branch" "{ reference: \"trunk\", revision: \"$lost\" }" lost "$lost"
git_gives "a commit of a branch that is gone" "{ reference: \"gone\", revision: \"$feature\" }" feature "$feature"
git_gives "a commit of a reference in full" "{ reference: \"refs/heads/trunk\", revision: \"$trunk\" }" trunk "$trunk"
git_gives "a commit that has left a reference in full" "{ reference: \"refs/heads/trunk\", revision: \"$lost\" }" lost "$lost"
git_gives "a commit of a reference in full that is gone" "{ reference: \"refs/heads/gone\", revision: \"$feature\" }" feature "$feature"
git_gives "a path as URL" '{ reference: "trunk" }' trunk "$trunk" "$repository"
new=$(commit new)
git_gives "a branch that has moved" '{ reference: "trunk" }' new "$new"
ask_source "$(git_source "$url" '{ reference: "absent" }')" it
refuses source_not_found "git: an unknown branch"
ask_source "$(git_source "$url" '{ reference: "x" }')" it
refuses source_not_found "git: the end of a branch's name"
ask_source "$(git_source "$url" '{ revision: "0123456789012345678901234567890123456789" }')" it
refuses source_not_found "git: an unknown commit"
ask_source "$(git_source "$url" '{ reference: "bare" }')" it
refuses source_not_found "git: no default.nix"
ask_source "$(git_source "file://$temporary/absent")" it
refuses source_unavailable "git: no repository"
ask_source "$(git_source "https://127.0.0.1:9/a.git" '{ revision: "0123456789012345678901234567890123456789" }')" it
refuses source_unavailable "git: no server"

# --- Channels ------------------------------------------------------------------------

channels=$temporary/channels
mkdir -p "$channels/nixpkgs"
cat >"$channels/nixpkgs/default.nix" <<'END'
{ system, config ? import ~/absent.nix, overlays ? import ~/absent.nix, ... }:
{ it = import ./package.nix system "it-${config.mark or "none"}-${toString (builtins.length overlays)}" "echo >$out" { }; }
END
cp "$temporary/set/package.nix" "$channels/nixpkgs"
tar -czf "$channels/nixos-unstable.tar.gz" -C "$channels" nixpkgs
cp "$channels/nixos-unstable.tar.gz" "$channels/$first.tar.gz"
PYTHONUNBUFFERED=1 python3 -m http.server --bind 127.0.0.1 --directory "$channels" 0 >"$temporary/http" 2>/dev/null &
server=$!
for _ in {1..100}; do
  port=$(sed -n 's/.* port \([0-9]*\).*/\1/p' "$temporary/http")
  [[ -n $port ]] && break
  sleep 0.1
done

for base in "file://$channels" "http://127.0.0.1:$port/"; do
  ask_source "$(channel_source nixos-unstable "$base")" it
  prepares "channel: a branch (${base%%:*})" '.packages[0].name == "it-none-0" and .revision == null'
  ask_source "$(channel_source "$first" "$base")" it
  prepares "channel: a commit (${base%%:*})" ".revision == \"$first\""
  ask_source "$(channel_source nixos-99.99 "$base")" it
  refuses source_not_found "channel: an unknown branch (${base%%:*})"
done
ask "$(request "$(channel_source nixos-unstable "file://$channels")" it | jq -c '.config = { mark: "given" }')"
prepares "channel: a configuration" '.packages[0].name == "it-given-0"'
# The branch is asked for first, so the tarball is that of a commit.
cp "$channels/nixos-unstable.tar.gz" "$channels/$feature.tar.gz"
of_repository() { channel_source "$1" "file://$channels" | jq -c --arg repository "$2" '.repository = $repository'; }
ask_source "$(of_repository light "$url")" it
prepares "channel: a branch at its commit" ".revision == \"$feature\""
ask_source "$(of_repository absent "$url")" it
refuses source_not_found "channel: a branch that the repository doesn't have"
ask_source "$(of_repository nixos-unstable "file://$temporary/absent")" it
prepares "channel: a repository that can't be asked" '.revision == null'

# A directory may be nixpkgs as well, which has an argument that tells.
mkdir "$temporary/fork"
sed '1s/^{ /{ crossSystem ? null, /' "$channels/nixpkgs/default.nix" >"$temporary/fork/default.nix"
cp "$temporary/set/package.nix" "$temporary/fork"
ask_source "$(path_source "$temporary/fork")" it
prepares "nixpkgs in a directory doesn't read the user's configuration" '.packages[0].name == "it-none-0"'
echo 'throw "a broken file"' >"$temporary/broken.nix"
ask_source "$(path_source "$temporary/broken.nix")" it
refuses evaluation_failed "a single file that can't be evaluated" '.error.message | contains("a broken file")'
ask_source "$(channel_source nixos-unstable "http://127.0.0.1:9/")" it
refuses source_unavailable "channel: no server"

evaluation=null
ask_source "$(channel_source "$first" "file://$channels")" it
prepares "channel: without restrictions" '.packages[0].name == "it-none-0"'
ask_source "$(git_source "$url" '{ reference: "trunk" }')" it
prepares "git: without restrictions"

# --- Requests that are refused ----------------------------------------------------------

good=$(request "$(path_source "$temporary/set")" hello)
while IFS=$'\t' read -r what change; do
  ask "$(jq -c "$change" <<<"$good")"
  refuses invalid_request "request: $what"
done <<'END'
no protocol	del(.protocol)
another protocol	.protocol = 2
an unknown field	.sources = 1
an evaluation that is no object	.evaluation = true
an unknown field in the evaluation	.evaluation.pure = true
a restriction that is no truth value	.evaluation.restricted = "yes"
an allowed URI that is relative	.evaluation.allowed_uris = ["github.com"]
an allowed URI with a blank	.evaluation.allowed_uris = ["https://a b"]
no source	del(.source)
another type of source	.source.type = "flake"
an unknown field in the source	.source.extra = 1
a relative path	.source.path = "set"
a path with a newline	.source.path += "\n"
no system	del(.system)
a system with a quote	.system = "x86_64-linux\""
packages that are no list	.packages = "hello"
a package that is no string	.packages = [1]
relative roots	.roots = "roots"
absent roots	.roots = "/absent/roots"
no roots	del(.roots)
a configuration that is no object	.config = []
an option with a space	.options = { "a b": "c" }
an option with a leading dash	.options = { "-a": "c" }
an option that is no string	.options = { "a": true }
a reference with a leading dash	.source = { type: "git", url: "/a", reference: "--upload-pack=x" }
a reference with two dots	.source = { type: "git", url: "/a", reference: "a..b" }
a reference with a star	.source = { type: "git", url: "/a", reference: "*" }
a short revision	.source = { type: "git", url: "/a", revision: "abc" }
a URL with a leading dash	.source = { type: "git", url: "-u" }
a channel with a slash	.source = { type: "channel", channel: "../../evil" }
paths and packages	.paths = []
paths that are no list	{ protocol, roots, paths: "x" }
a path that is no store path	{ protocol, roots, paths: ["/etc/passwd"] }
a path that leads elsewhere	{ protocol, roots, paths: ["/nix/store/../00000000000000000000000000000000-x"] }
a path that is an option	{ protocol, roots, paths: ["--help"] }
a base URL that is a path	.source = { type: "channel", channel: "a", base_url: "/tmp" }
an array	[.]
END

while IFS= read -r name; do
  ask "$(jq -c --argjson name "$name" '.packages += [$name]' <<<"$good")"
  refuses invalid_request "name: $name"
done <<END
""
"."
"a..b"
".hello"
"hello."
"-hello"
"--help"
"a.-b"
"hello\n"
"hello\nhello"
"hello\""
"\${builtins.abort}"
"hello;touch $temporary/injected"
"\$(touch $temporary/injected)"
"\`touch $temporary/injected\`"
"''\${x}"
"../etc"
"a/b"
"a b"
"hello^out"
"hello!out"
"\u0000"
"é"
END
check "no name was executed" test ! -e "$temporary/injected"

for text in '' 'hello' '{' '{}{}' '[]' 'null' '"x"'; do
  ask "$text"
  refuses invalid_request "standard input: ${text:-empty}"
done

# --- Surroundings -------------------------------------------------------------------------

NIX_PATH=nixpkgs=/absent:garbage=%%% ask_for hello
prepares "garbage in NIX_PATH"
HOME=/proc/absent ask_for hello
prepares "a home that cannot be written"
(unset HOME && ask_for hello && exit "$status")
status=$?
prepares "no home"
CDPATH=/tmp BASH_ENV=/dev/null LC_ALL=tr_TR.UTF-8 ask_for bashinteractive
prepares "another language"
status=0
"$builder" <<<"$(jq -c '.packages = ["loud2"]' <<<"$good")" 2> >(head -n 1 >/dev/null) >"$temporary/reply" || status=$?
prepares "a reader of the log that leaves"
ln -s "$builder" "$temporary/link"
status=0
(cd / && "$temporary/link" <<<"$good" >"$temporary/reply" 2>"$temporary/stderr") || status=$?
prepares "the program through a symbolic link"
status=0
PATH=/absent /bin/bash "$builder" <<<"$good" >"$temporary/reply" 2>"$temporary/stderr" || status=$?
check "without its tools the program itself fails" test "$status" -gt 1 -a ! -s "$temporary/reply"
check "--version prints a version" grep -q 'protocol 1' <("$builder" --version)
check "--help prints help" grep -q Usage <("$builder" --help)

ask_slow() {
  mkdir -p "$temporary/roots-$1"
  jq -c --arg roots "$temporary/roots-$1" '.packages = ["slow", "hello"] | .roots = $roots' <<<"$good" \
    | "$builder" >"$temporary/reply-$1" 2>"$temporary/stderr-$1"
}
ask_slow 1 &
one=$!
ask_slow 2
status=$?
wait "$one" || status=$?
cp "$temporary/reply-1" "$temporary/reply"
prepares "two runs at once"
check "… give the same reply" cmp "$temporary/reply-1" "$temporary/reply-2"

# --- Signals ---------------------------------------------------------------------------------

running() { pgrep -f "sleep $1\$"; }

# ends HOW SECONDS PACKAGE: a build that hangs in `sleep SECONDS` is ended by a
# signal to the program alone (HOW empty) or to its process group ("-").
ends() {
  local how=$1 seconds=$2 pid
  jq -c --arg package "$3" '.packages = [$package]' <<<"$good" >"$temporary/request"
  setsid "$builder" <"$temporary/request" >"$temporary/reply" 2>"$temporary/stderr" &
  pid=$!
  for _ in {1..100}; do
    running "$seconds" >/dev/null && break
    sleep 0.1
  done
  kill -TERM -- "$how$pid"
  status=0
  wait "$pid" || status=$?
  for _ in {1..20}; do
    running "$seconds" >/dev/null || break
    sleep 0.1
  done
}
ends '' 86411 hanging
check "SIGTERM to the program ends it" test "$status" -eq 143
check "… and the build" test -z "$(running 86411)"
check "… which had begun, and was heard of at once" grep -q started "$temporary/stderr"
ends - 86412 hangingtoo
check "SIGTERM to the process group ends the program" test "$status" -eq 143
check "… and the build" test -z "$(running 86412)"
jq -c '.packages = ["spins"]' <<<"$good" >"$temporary/request"
"$builder" <"$temporary/request" >"$temporary/reply" 2>"$temporary/stderr" &
spinning=$!
sleep 1
kill -TERM "$spinning"
status=0
wait "$spinning" || status=$?
check "SIGTERM during an evaluation ends the program" test "$status" -eq 143
check "… and the evaluation" test -z "$(pgrep -f "nix-instantiate.*$temporary")"
check "nothing temporary is left" test -z "$(find "$TMPDIR" -name 'nixery-prepare-image.*')"

echo "$passed passed, $failed failed"
((failed == 0))
