# shellcheck shell=bash
# shellcheck disable=SC2016 # text in single quotes is jq or Nix
# shellcheck disable=SC2034,SC2154 # variables of prepare-image.sh and its other parts
# How the tests ask the builder, and judge its replies.

# ask REQUEST: runs the builder; sets $status; the reply and the log are files.
ask() {
  status=0
  "$builder" <<<"$1" >"$work/reply" 2>"$work/stderr" || status=$?
}

# What an evaluation may do, if it is said.
evaluation=null
readonly restricted='{ "restricted": true, "import_from_derivation": false }'

# request SOURCE PACKAGE…: a request for packages from a source in JSON.
request() {
  local source=$1
  shift
  jq -cn --argjson source "$source" --arg system "$system" --arg roots "$work/roots" \
    --argjson evaluation "$evaluation" '{
      protocol: 1, $source, $system, packages: $ARGS.positional, $roots, $evaluation
    }' --args -- "$@"
}

path_source() { jq -cn --arg path "$1" '{ type: "path", $path }'; }
git_source() { jq -cn --arg url "$1" "{ type: \"git\", \$url } + ${2:-{\}}"; }
channel_source() { jq -cn --arg channel "$1" --arg base_url "$2" '{ type: "channel", $channel, $base_url }'; }

# From the fixture, unless said otherwise.
ask_for() { ask "$(request "$(path_source "$work/set")" "$@")"; }
ask_source() { ask "$(request "$@")"; }

# show_output: instead of judge.sh's.
show_output() {
  head -c 2000 "$work/reply" | sed 's/^/#   reply: /'
  tail -n 5 "$work/stderr" | cut -c 1-300 | sed 's/^/#   log: /'
}

# replies STATUS DESCRIPTION CONDITION: the reply is one document, with this exit
# status, for which a jq condition holds.
replies() {
  local good=0
  if [[ $status == "$1" ]] \
    && jq -es "length == 1 and (.[0] | .protocol == 1 and ($3))" "$work/reply" >/dev/null; then
    good=1
  fi
  result "$good" "$2"
}
# prepares DESCRIPTION [CONDITION]
prepares() { replies 0 "$1" "${2:-true}"; }
# refuses KIND DESCRIPTION [CONDITION]
refuses() { replies 1 "$2" ".error.kind == \"$1\" and (.error.message | type == \"string\" and length > 0) and (${3:-true})"; }
