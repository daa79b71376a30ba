#!/usr/bin/env bash
# Holds the server against the description of its HTTP API: schemathesis makes requests
# of it, well-formed and not, and no answer may be a failure of the server, or something
# that the description doesn't have.
#
# Usage: checks/api.sh
#
# The server is $NIXERY, or built. Packages are those of the server's own tests, made by
# the real builder. What it is made of (api/requirements.txt) is installed once, with pip,
# in ${XDG_CACHE_HOME:-~/.cache}/nixery/api. It takes about half a minute.

set -uo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

no_arguments "$@"
work_in api

# What must hold. That malformed parameters are refused is not among it: a registry
# overlooks those that it doesn't know.
checks=not_a_server_error,status_code_conformance,content_type_conformance
checks+=,response_headers_conformance,response_schema_conformance,unsupported_method

# install_schemathesis: sets $schemathesis to the program, installed if need be.
install_schemathesis() {
  local requirements=$repository/checks/api/requirements.txt key venv new=$cache/api/new.$$
  key=$({ python3 -c 'import sys; print(sys.version, sys.base_prefix)'; cat "$requirements"; } | sha256sum)
  venv=$cache/api/venv-${key:0:16}
  schemathesis=$venv/bin/schemathesis
  if [[ -d $venv ]]; then return; fi
  say "installing schemathesis into $venv"
  mkdir -p "$cache/api"
  if ! { python3 -m venv "$new" \
    && "$new/bin/python" -m pip --disable-pip-version-check --no-input --quiet \
      install --require-hashes --requirement "$requirements" >&2 \
    && mv -T "$new" "$venv"; }; then
    rm -rf "$new"
    die "schemathesis could not be installed: see above"
  fi
  # Its scripts name the directory where it was made.
  sed -i "1s|^#!.*|#!$venv/bin/python|" "$schemathesis"
}

# ask PATH: one answer, for what must be there first.
ask() { curl -fsS --noproxy '*' -o "$work/answer" "http://localhost:$port$1"; }

need git jq curl python3 venv
pin_test_packages
build_server
install_schemathesis

configure_server "$pinned"
export NIXERY_LOG=error
start_server

# An image that is there, and one whose build has failed: the description has examples
# of both.
ask /v2/one/manifests/latest || die "the image of the examples was not made"
layer=$(jq -r '.layers[0].digest' "$work/answer")
ask /v2/nosuchpackage/manifests/latest 2>/dev/null

# The digest of a layer can't be in the description: those of an image here are examples.
description=$work/openapi.json
curl -fsS --noproxy '*' "http://localhost:$port/api/v1/openapi.json" \
  | jq --arg digest "$layer" '
      (.paths[][] | .parameters[]? | select(.name == "digest")).examples
        = { layer: { value: $digest } }' >"$description" || die "the server has no description of its API"

# What a name that was made up stands for is asked of Nix, so there are few of them; the
# same ones each time, so that what fails here fails again.
began=$SECONDS
"$schemathesis" --config-file "$repository/checks/api/schemathesis.toml" run "$description" \
  --url "http://localhost:$port" --checks "$checks" --workers 4 --seed 1 --no-color >"$work/printed" 2>&1
status=$?
if ((status)); then cat "$work/printed"; else sed -n '/SUMMARY/,$p' "$work/printed"; fi
say "schemathesis took $((SECONDS - began)) s"

failed=$((status != 0))
if ! kill -0 "$server" 2>/dev/null; then
  echo "# the server has ended"
  failed=1
fi
echo "$((1 - failed)) passed, $failed failed"
exit "$failed"
