# shellcheck shell=bash
# Package sources: from the request's to what load.nix fetches.
#
# Sourced by nixery-prepare-image. Sets $source_json, load.nix' argument, and
# $revision, the JSON of the commit (or null). $source_path is where it is, once known.
# The variables that shellcheck misses are the main program's.
# shellcheck disable=SC2034,SC2154

source_json=
source_path=
revision=null

# Finds out what the source is at, as far as that needs asking.
pin_source() {
  source_json=${request[source]}
  case ${request[type]} in
    channel) pin_channel ;;
    git) pin_git ;;
    path) pin_path ;;
  esac
}

# A branch becomes the commit that it is at. If nobody can be asked, it stays a
# branch: Nix may have a tarball of it still.
pin_channel() {
  local channel=${request[channel]} repository=${request[repository]-}
  if [[ ! $channel =~ ^[0-9a-f]{40}$ && -n $repository ]] && ask_remote "$repository" "$channel"; then
    if [[ -z $remote_commit ]]; then
      fail source_not_found "there is no branch $channel in $repository"
    fi
    channel=$remote_commit
    source_json=$(jq -c --arg url "${request[base_url]%/}/$channel.tar.gz" '.url = $url' <<<"$source_json")
  fi
  # What a commit is never changes, so a tarball of one is never out of date.
  if [[ $channel =~ ^[0-9a-f]{40}$ ]]; then
    revision=\"$channel\"
    nix_options+=(--option tarball-ttl 4294967295)
  fi
}

pin_path() {
  local path=${request[path]}
  if [[ ! -e $path ]]; then
    fail source_not_found "there is no directory or file $path"
  elif [[ -d $path && ! -e $path/default.nix ]]; then
    fail source_not_found "there is no default.nix in $path"
  fi
}

pin_git() {
  local url=${request[url]} reference=${request[reference]-} wanted=${request[revision]-}

  # Who knows both has asked already.
  if [[ -n $wanted && $reference == refs/* ]]; then
    git_source "$url" "$wanted" "$reference"
    return
  fi
  if ! ask_remote "$url" "$reference" && [[ -z $wanted ]]; then
    fail source_unavailable "$(unreachable "$url")"
  fi
  if [[ -n $wanted ]]; then
    # Nix may have it already, so a remote that does not answer is no matter yet.
    # All references of a remote can be very many: the likely one goes first.
    git_source "$url" "$wanted" "$remote_reference"
  elif [[ -n $remote_commit ]]; then
    git_source "$url" "$remote_commit" "$remote_reference"
  elif [[ -n $reference ]]; then
    fail source_not_found "there is no branch or tag $reference in $url"
  else
    fail source_not_found "there is no default branch in $url"
  fi
}

# git_source URL REVISION REFERENCE: an empty reference means any.
git_source() {
  source_json=$(jq -cn --arg url "$1" --arg rev "$2" --arg ref "$3" \
    '{ type: "git", $url, $rev, ref: (if $ref == "" then null else $ref end) }')
  revision=\"$2\"
}

# ask_remote URL NAME: sets $remote_commit and $remote_reference to what a branch
# or tag is at (an annotated tag's commit, not the tag's own object), or leaves
# them empty if there is none. An empty name means the default branch.
ask_remote() {
  local url=$1 name=$2 patterns=(HEAD) found
  remote_commit='' remote_reference=''
  if [[ -n $name ]]; then
    patterns=("refs/heads/$name" "refs/tags/$name^{}" "refs/tags/$name")
  fi
  run "$work/references" git ls-remote --symref -- "$url" "${patterns[@]}" || return
  # Git matches the ends of names: only whole names will do.
  found=$(awk -F '\t' -v name="$name" '
    sub(/^ref: /, "") { target = $1; next }
    { commit[$2] = $1 }
    END {
      branch = "refs/heads/" name; tag = "refs/tags/" name
      if (name == "") { if ("HEAD" in commit) print commit["HEAD"], target != "" ? target : "HEAD" }
      else if (branch in commit) print commit[branch], branch
      else if (tag "^{}" in commit) print commit[tag "^{}"], tag
      else if (tag in commit) print commit[tag], tag
    }' "$work/references")
  read -r remote_commit remote_reference <<<"$found" || :
}

unreachable() {
  echo "the repository $1 could not be asked for its references: $(last_words)"
}

# The last thing that a program other than Nix said.
last_words() {
  awk 'NF { last = $0 } /^(fatal|error):/ { said = $0 } END { print said != "" ? said : last }' "$work/log"
}
