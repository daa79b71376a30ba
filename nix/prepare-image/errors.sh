# shellcheck shell=bash
# Error documents, and reading what Nix says.
#
# Sourced by nixery-prepare-image; uses its $work directory.
# The variables that shellcheck misses are the main program's.
# shellcheck disable=SC2034,SC2154

# fail KIND MESSAGE [FIELDS]: prints an error document and ends. FIELDS is a JSON
# object with the fields that this kind has besides.
fail() {
  jq -cn --arg kind "$1" --arg message "$2" --argjson fields "${3:-{\}}" \
    '{ protocol: 1, error: ({ kind: $kind, message: $message } + $fields) }' \
    || broken "no document could be made of an error: $2"
  exit 1
}

# What Nix said: the text of the last error in $work/log, without the trace, the
# quoted source code and the advice about options of Nix. At most 4000 characters.
nix_words() {
  local status=$1
  awk '
    /^[ \t]*error:/ { count = 0; found = 1; sub(/^[ \t]*error:[ \t]*/, "") }
    !found { next }
    /^[ \t]*at .*:[0-9]+:([0-9]+:)?$/ { next }
    /^[ \t]*at (\/|«).*:$/ { next }
    /^[ \t]*[0-9]+\|/ || /^[ \t]*\|[ \t]*\^/ { next }
    /^\(use .--show-trace/ || /^[ \t]*\(stack trace truncated/ { next }
    /^[ \t]*…/ { next }
    /^[ \t]*$/ { blank = 1; next }
    {
      if (blank && count) line[++count] = ""
      blank = 0
      line[++count] = $0
    }
    END {
      indent = 99
      for (i = 2; i <= count; i++) {
        match(line[i], /^ */)
        if (line[i] != "" && RLENGTH < indent) indent = RLENGTH
      }
      for (i = 1; i <= count; i++) print i == 1 ? line[i] : substr(line[i], indent + 1)
    }' "$work/log" >"$work/words"
  if [[ ! -s $work/words ]]; then
    # No message at all: a crash, such as a stack overflow.
    printf 'Nix ended with status %d and without an error message.\n' "$status" >"$work/words"
  fi
  jq -Rrs '.[:4000] | sub("\\s+\\z"; "")' "$work/words"
}

# Which of nixpkgs' reasons to refuse a package a text gives.
refusal_reason() {
  case $1 in
    *"unfree license"*) echo unfree ;;
    *"marked as broken"* | *"has problems:"*"- broken:"*) echo broken ;;
    *"marked as insecure"* | *"known vulnerabilities"*) echo insecure ;;
    *"not available on the requested hostPlatform"* | *"not supported on"*) echo unsupported ;;
    *) echo other ;;
  esac
}

# The derivation that $work/log says could not be built, if any: the first one
# that did not fail for the sake of another. Older Nix says "builder for '…'
# failed", newer "Cannot build '…'." with the reason on the next line.
failed_derivation() {
  awk -v quote="'" '
    !/^[ \t]*(error|Reason):/ { next }
    # Not a build that failed, but one that is not allowed.
    /cannot build .* during evaluation because/ { next }
    /Reason: .*dependenc(y|ies) failed/ { candidate = ""; next }
    /dependenc(y|ies) of derivation .* failed to build/ || /error: build of .* failed$/ { next }
    candidate != "" { exit }
    {
      n = split($0, part, quote)
      for (i = n; i > 1; i--) if (part[i] ~ /^\/.*\.drv$/) candidate = part[i]
    }
    END { if (candidate != "") print candidate }' "$work/log"
}

# fail_build DERIVATION: ends with the document of a build that failed. Without
# a derivation, or a log of it, what the last program said has to do.
fail_build() {
  local derivation=$1 name message
  name=${derivation##*/}
  name=${name#*-}
  name=${name%.drv}
  if [[ -n $derivation ]] && build_log "$derivation"; then
    message="$name failed to build"
  else
    cp "$work/log" "$work/build-log"
    message="${name:-the packages} could not be built: $(nix_words 1 | tr -s ' \n' ' ' | sed 's| $||')"
  fi
  fail build_failed "$message" "$(
    jq -Rcs --arg derivation "$derivation" --arg name "$name" '
      def given: if . == "" then null else . end;
      {
        derivation: ($derivation | given),
        name: ($name | given),
        log: (split("\n") | if .[-1] == "" then .[:-1] else . end | .[-20:]),
      }' "$work/build-log"
  )"
}

# The end of a derivation's build log, in $work/build-log. Fails if there is none:
# where nothing was built, or it was built elsewhere.
build_log() {
  nix-store "${nix_options[@]}" --read-log "$1" 2>/dev/null </dev/null | keep_tail >"$work/build-log" \
    && [[ -s $work/build-log ]]
}
