# shellcheck shell=bash
# shellcheck disable=SC2016 # text in single quotes is jq or Nix
# shellcheck disable=SC2034,SC2154 # variables of prepare-image.sh and its other parts
# Where packages come from: directories, Git, channels.

# --- Paths -------------------------------------------------------------------------------

sets=$work/sets
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
ask "$(request "$(path_source "$work/set")" stored | jq -c '.options = { "max-jobs": "0", "cores": "1" }')"
prepares "options may be given"
ask "$(request "$(path_source "$work/set")" imported | jq -c '.options = { "allow-import-from-derivation": "false" }')"
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

# --- Git ---------------------------------------------------------------------------------

# What is fetched is fetched as well where the set may fetch nothing.
evaluation=$restricted

export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=$work/gitconfig
upstream=$work/repository
git config --file "$GIT_CONFIG_GLOBAL" user.name Tester
git config --file "$GIT_CONFIG_GLOBAL" user.email tester@example.org
git config --file "$GIT_CONFIG_GLOBAL" init.defaultBranch trunk

in_repository() { git -C "$upstream" "$@" >/dev/null 2>&1; }
commit() {
  echo "{ it = import ./package.nix builtins.currentSystem \"it-$1\" \"echo >\$out\" { }; }" >"$upstream/default.nix"
  in_repository add . && in_repository commit -m "$1"
  git -C "$upstream" rev-parse HEAD
}
make_set "$upstream"
git init -q "$upstream"
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
url=file://$upstream

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
git_gives "a path as URL" '{ reference: "trunk" }' trunk "$trunk" "$upstream"
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
ask_source "$(git_source "file://$work/absent")" it
refuses source_unavailable "git: no repository"
ask_source "$(git_source "https://127.0.0.1:9/a.git" '{ revision: "0123456789012345678901234567890123456789" }')" it
refuses source_unavailable "git: no server"

# --- Channels ----------------------------------------------------------------------------

channels=$work/channels
mkdir -p "$channels/nixpkgs"
cat >"$channels/nixpkgs/default.nix" <<'END'
{ system, config ? import ~/absent.nix, overlays ? import ~/absent.nix, ... }:
{ it = import ./package.nix system "it-${config.mark or "none"}-${toString (builtins.length overlays)}" "echo >$out" { }; }
END
cp "$work/set/package.nix" "$channels/nixpkgs"
tar -czf "$channels/nixos-unstable.tar.gz" -C "$channels" nixpkgs
cp "$channels/nixos-unstable.tar.gz" "$channels/$first.tar.gz"
PYTHONUNBUFFERED=1 python3 -m http.server --bind 127.0.0.1 --directory "$channels" 0 >"$work/http" 2>/dev/null &
started+=("$!")
for _ in {1..100}; do
  port=$(sed -n 's/.* port \([0-9]*\).*/\1/p' "$work/http")
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
ask_source "$(of_repository nixos-unstable "file://$work/absent")" it
prepares "channel: a repository that can't be asked" '.revision == null'

# A directory may be nixpkgs as well, which has an argument that tells.
mkdir "$work/fork"
sed '1s/^{ /{ crossSystem ? null, /' "$channels/nixpkgs/default.nix" >"$work/fork/default.nix"
cp "$work/set/package.nix" "$work/fork"
ask_source "$(path_source "$work/fork")" it
prepares "nixpkgs in a directory doesn't read the user's configuration" '.packages[0].name == "it-none-0"'
echo 'throw "a broken file"' >"$work/broken.nix"
ask_source "$(path_source "$work/broken.nix")" it
refuses evaluation_failed "a single file that can't be evaluated" '.error.message | contains("a broken file")'
ask_source "$(channel_source nixos-unstable "http://127.0.0.1:9/")" it
refuses source_unavailable "channel: no server"

evaluation=null
ask_source "$(channel_source "$first" "file://$channels")" it
prepares "channel: without restrictions" '.packages[0].name == "it-none-0"'
ask_source "$(git_source "$url" '{ reference: "trunk" }')" it
prepares "git: without restrictions"
