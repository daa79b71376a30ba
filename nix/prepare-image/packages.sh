# shellcheck shell=bash
# From names to derivations: evaluation, and why it failed.
#
# Sourced by nixery-prepare-image. Leaves the packages in $work/resolved.
# The variables that shellcheck misses are the main program's.
# shellcheck disable=SC2034,SC2154

# What has to be done before anything that others have written is evaluated.
restrict_evaluation() {
  # What is fetched for the operator need not be allowed by URL; and it is fetched before
  # anything of it is evaluated, so that nothing else can be fetched in its name.
  if [[ -v request[restricted] ]]; then
    check_source
  fi
  set_evaluation_options
}

# The options for evaluating what others have written. What Nix's own configuration
# forbids stays forbidden: nothing here allows anything that it doesn't.
evaluation_options=()

set_evaluation_options() {
  local uri allowed uris=()
  if [[ -v request[no_import_from_derivation] ]]; then
    evaluation_options+=(--option allow-import-from-derivation false)
  fi
  if [[ ! -v request[restricted] ]]; then
    return
  fi
  # Only what is on the search path may be read then. The source has been fetched.
  source_path=$(readlink -f -- "$source_path")
  evaluation_options+=(--option restrict-eval true --argstr path "$source_path")
  allow_path "$here"
  allow_path "$source_path"
  read -ra allowed <<<"${request[allowed_uris]-}"
  for uri in "${allowed[@]}"; do
    case $uri in
      /*) allow_path "$uri" ;;
      file:///*) allow_path "${uri#file://}" ;;
    esac
    # Newer Nix calls what is fetched by Git so.
    uris+=("$uri" "git+$uri")
  done
  evaluation_options+=(--option extra-allowed-uris "${uris[*]}")
}

# allow_path PATH: where it leads to comes first, for newer Nix looks there at once.
allow_path() {
  local path
  for path in "$(readlink -m -- "$1")" "$1"; do
    evaluation_options+=(-I "nixery-${#evaluation_options[@]}=$path")
  done
}

# evaluate OUTPUT PACKAGES [ARGUMENT…]: runs resolve.nix on a JSON list of names.
evaluate() {
  local output=$1 packages=$2
  shift 2
  run "$output" nix-instantiate "${nix_options[@]}" --eval --strict --json --read-write-mode \
    "${evaluation_options[@]}" "$here/resolve.nix" \
    --argstr source "$source_json" \
    --argstr system "${request[system]}" \
    --argstr config "${request[config]}" \
    --argstr packages "$packages" \
    "$@"
}

# Finds all packages of the request, or ends with an error document.
resolve_packages() {
  restrict_evaluation
  evaluate "$work/resolved" "${request[packages]}" || resolve_one_by_one
  read_resolved
  if [[ -n $incomplete ]]; then
    report_missing
    report_not_a_package
    report_refused
    report_aborted
  fi
}

# look_for WHAT REQUEST: evaluates what people choose from, or says why that can't be done.
look_for() {
  local status=0
  restrict_evaluation
  evaluate "$work/resolved" '[]' --argstr "$1" "$2" || status=$?
  if ((status)); then
    if [[ ! -v request[restricted] ]]; then
      cp "$work/log" "$work/names-log"
      check_source
      cp "$work/names-log" "$work/log"
    fi
    fail_evaluation "$status" "" "the names of the package set cannot be evaluated"
  fi
}

# Prints what the names of the request are.
tell_kinds() {
  look_for kinds_of "${request[kinds_of]}"
  jq -c --argjson protocol "$protocol" --argjson revision "$revision" \
    '{ $protocol, $revision, kinds }' "$work/resolved"
}

# Prints the names of the set that the request asks for.
list_names() {
  look_for names_in "${request[names_in]}"
  if ! jq -e '.listed | has("names")' "$work/resolved" >/dev/null; then
    fail not_found "there is no set $(jq -r . <<<"${request[names_in]}")" \
      "$(jq -cn --argjson name "${request[names_in]}" '{ packages: [{ $name, near: [] }] }')"
  fi
  jq -c --argjson protocol "$protocol" --argjson revision "$revision" \
    '{ $protocol, $revision, names: .listed.names }' "$work/resolved"
}

# Sets $targets, what to realise, and $paths, the store paths that it makes; and
# $incomplete if there is a package that cannot be had.
read_resolved() {
  local status target path
  targets=() paths=() incomplete=
  jq -c -f "$here/checked.jq" "$work/resolved" >"$work/checked"
  mv "$work/checked" "$work/resolved"
  # The default output only: more would be fetched for nothing.
  jq -r '.packages[] | [.status, if .derivation then "\(.derivation)!\(.output)" else .path end, .path]
    | @tsv' "$work/resolved" | sort -u >"$work/states"
  while IFS=$'\t' read -r status target path; do
    if [[ $status != ok ]]; then
      incomplete=1
    fi
    targets+=("$target")
    paths+=("$path")
  done <"$work/states"
}

# The evaluation as a whole failed: because of the source, of the package set,
# or of a package whose error Nix cannot catch. Evaluates them one after another
# for the answers of all that do not fail so.
resolve_one_by_one() {
  local name status=0
  if [[ ! -v request[restricted] ]]; then
    check_source
  fi
  evaluate "$work/resolved" '[]' || status=$?
  if ((status)); then
    fail_evaluation "$status" "" "the package set cannot be evaluated"
  fi
  while read -r name; do
    status=0
    evaluate "$work/one" "$(jq -cn --arg name "$name" '[$name]')" || status=$?
    if ((status)); then
      cp "$work/log" "$work/aborted-log"
      jq -cn --arg request "$name" --argjson code "$status" \
        '{ packages: [{ status: "aborted", $request, $code }], names: {} }' >"$work/one"
    fi
    jq -cs '.[0] * { packages: (.[0].packages + .[1].packages), names: (.[0].names + .[1].names) }' \
      "$work/resolved" "$work/one" >"$work/merged"
    mv "$work/merged" "$work/resolved"
  done < <(jq -r '.[]' <<<"${request[packages]}")
}

# Fetches the source and sets $source_path, or ends with an error document.
check_source() {
  if run "$work/source" nix-instantiate "${nix_options[@]}" --eval --strict --json \
    --read-write-mode "$here/load.nix" --argstr source "$source_json"; then
    if ! jq -e .has_default "$work/source" >/dev/null; then
      fail source_not_found "there is no default.nix in the package source"
    fi
    source_path=$(jq -r .path "$work/source")
    return
  fi
  case ${request[type]} in
    channel) fail_channel ;;
    git) retry_git ;;
    path) fail source_unavailable "the package source could not be read: $(nix_words 1)" ;;
  esac
}

fail_channel() {
  local channel=${request[channel]}
  # A web server says 404; of a file URL, curl says error 37, and newer Nix in
  # its own words.
  if grep -qE 'HTTP error (404|410)|\(37\)|tarball .* does not exist' "$work/log"; then
    fail source_not_found "there is no channel or commit $channel at ${request[base_url]}"
  fi
  fail source_unavailable "the channel $channel could not be fetched: $(nix_words 1)"
}

# A commit that was asked for may not be on the branch that it was looked for on:
# then it is looked for in all references.
retry_git() {
  local url=${request[url]} wanted=${request[revision]-}
  if [[ -z $wanted ]]; then
    fail source_unavailable "the repository $url could not be fetched: $(nix_words 1)"
  fi
  if [[ $(jq -r '.ref // ""' <<<"$source_json") != "" ]]; then
    git_source "$url" "$wanted" ""
    check_source
    return
  fi
  # The remote answers, so it is the commit that it doesn't have.
  ask_remote "$url" "" || fail source_unavailable "$(unreachable "$url")"
  fail source_not_found "there is no commit $wanted in $url"
}

# Near names are looked for this many missing packages at most: a request is made
# by a client, and searching nixpkgs' names takes a while.
readonly searched=10

# All packages that don't exist, with names like theirs.
report_missing() {
  local count i near
  count=$(jq '[.packages[] | select(.status == "missing")] | length' "$work/resolved")
  if ((count == 0)); then
    return
  fi
  : >"$work/near"
  for ((i = 0; i < count && i < searched; i++)); do
    jq -r --argjson i "$i" '[.packages[] | select(.status == "missing")][$i] as $missing
      | .names[$missing.parent][]' "$work/resolved" >"$work/names"
    near=$(awk -v wanted="$(missing "$i" .component)" -f "$here/near.awk" "$work/names")
    jq -Rcs 'split("\n") | map(select(. != ""))' <<<"$near" >>"$work/near"
  done
  fail not_found "$(missing_sentence)" "$(
    jq -c --slurpfile near "$work/near" '
      { packages: ([.packages[] | select(.status == "missing")] | to_entries | map(
          (if .value.parent == "" then "" else .value.parent + "." end) as $prefix
          | { name: .value.request, near: (($near[.key] // []) | map($prefix + .)) })) }' "$work/resolved"
  )"
}

missing() {
  jq -r --argjson i "$1" "[.packages[] | select(.status == \"missing\")][\$i] | $2" "$work/resolved"
}

missing_sentence() {
  jq -r '[.packages[] | select(.status == "missing") | .request]
    | if length == 1 then "there is no package \(.[0])"
      else "there are no packages \(.[:-1] | join(", ")) and \(.[-1])" end' "$work/resolved"
}

# The first package with a status, as JSON, or nothing.
first_with() {
  jq -c --arg status "$1" 'first(.packages[] | select(.status == $status)) // empty' "$work/resolved"
}

report_not_a_package() {
  local package
  package=$(first_with not_a_package)
  if [[ -n $package ]]; then
    fail not_a_package "$(jq -r '"\(.request) is not a package: \(.reason)"' <<<"$package")" \
      "$(jq -c '{ name: .request, reason }' <<<"$package")"
  fi
}

# A package that throws is evaluated once more, for Nix to say why.
report_refused() {
  local name words status=0
  name=$(first_with refused | jq -r .request)
  if [[ -z $name ]]; then
    return
  fi
  evaluate "$work/one" "$(jq -cn --arg name "$name" '[$name]')" --arg catch false || status=$?
  if ((status == 0)); then
    fail_evaluation 1 "$name" "$name failed once to evaluate, and then did not"
  fi
  words=$(nix_words "$status" | without_remedies)
  fail refused "$words" \
    "$(jq -cn --arg name "$name" --arg reason "$(refusal_reason "$words")" '{ $name, $reason }')"
}

# nixpkgs goes on to say what to set in one's own environment or configuration,
# which is not the client's to set.
without_remedies() {
  awk '/^(a\) )?To (temporarily )?allow/ || /^You can install it anyway/ { exit } { print }'
}

report_aborted() {
  local package name
  package=$(first_with aborted)
  if [[ -n $package ]]; then
    cp "$work/aborted-log" "$work/log"
    name=$(jq -r .request <<<"$package")
    fail_evaluation "$(jq .code <<<"$package")" "$name" "$name cannot be evaluated"
  fi
}

# fail_evaluation STATUS NAME WHAT: an evaluation may also build (import from
# derivation), and then it is the build that failed.
fail_evaluation() {
  local derivation
  derivation=$(failed_derivation)
  if [[ -n $derivation ]]; then
    fail_build "$derivation"
  fi
  fail evaluation_failed "$3: $(nix_words "$1")" \
    "$(jq -cn --arg name "$2" '{ name: (if $name == "" then null else $name end) }')"
}
