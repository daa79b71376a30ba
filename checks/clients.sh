#!/usr/bin/env bash
# Tests the server with real clients over loopback: docker, podman, skopeo,
# buildah and containerd's ctr pull images of real packages, and run them where
# they can. One of the images is layered by a popularity table that nixery-popcount
# counts of these packages.
#
# Usage: checks/clients.sh
#
# Needs root, for containers. Missing clients are installed with apt. Each client
# has its own temporary storage; a Docker daemon and a containerd are started just
# for this.

set -uo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$(dirname "${BASH_SOURCE[0]}")/lib/judge.sh"

no_arguments "$@"
need_root "containers are run here"
work_in clients

# --- Setting up -----------------------------------------------------------------

need nix git jq curl certificates cc docker dockerd podman skopeo buildah containerd ctr runc python3 venv
prepare_packages
pin_packages
build_server
build_popcount
configure_server "$pinned" 25080
registry=localhost:$port
start_server "$work/server.log"
start_dockerd

works='import ssl, sqlite3; print("works")'
works_for_others="import os; os.setgid(1000); os.setuid(1000); open('/tmp/file', 'w'); $works"
# What programs expect of the world, for a user who isn't root.
# shellcheck disable=SC2016 # expanded in the container
sane='
  [[ $(id -u) = 1000 ]] || { id; exit 1; }
  [[ $LANG = C.UTF-8 ]] || { echo "LANG is $LANG"; exit 1; }
  [[ :$PATH: = *:/bin:* ]] || { echo "PATH is $PATH"; exit 1; }
  [[ $(head -n 1 "$SSL_CERT_FILE") = *CERTIFICATE* ]] || { echo "no certificates in $SSL_CERT_FILE"; exit 1; }
  [[ $(</etc/passwd) = root:* && -s /etc/group && -s /etc/nsswitch.conf ]] || { echo "no users"; exit 1; }
  [[ $(stat -c %a /tmp) = 1777 ]] || { stat /tmp; exit 1; }
  touch /tmp/file || exit
  x=ü; [[ ${#x} = 1 ]] || { echo "no UTF-8"; exit 1; }
  echo sane'

# --- docker ---------------------------------------------------------------------------

check "docker pulls shell/python3" docker pull "$registry/shell/python3"
prints "docker runs python3" works docker run --rm --network none "$registry/shell/python3" python3 -c "$works"
prints "… as a user who isn't root" works \
  docker run --rm --network none --user 1000 "$registry/shell/python3" python3 -c "$works"
prints "… with nothing but /tmp to write to" works \
  docker run --rm --network none --read-only --tmpfs /tmp "$registry/shell/python3" python3 -c "$works"

check "docker pulls shell/git/jq" docker pull "$registry/shell/git/jq"
prints "docker runs git" "git version" docker run --rm --network none "$registry/shell/git/jq" git --version
prints "docker runs jq" "jq-" docker run --rm --network none "$registry/shell/git/jq" jq --version
prints "docker's container has what programs expect" sane \
  docker run --rm --network none --user 1000 "$registry/shell/git/jq" sh -c "$sane"
# Not asked of podman, whose older versions put a layer of 0555 on top.
prints "… and a root that all may enter" 755 docker run --rm --network none "$registry/shell/git/jq" stat -c %a /
check "docker runs a shell without being told to" docker run -i --rm --network none "$registry/shell/git/jq"
prints "… that reads its standard input" "2 lines" \
  bash -c "printf 'a=2\necho \$a lines\n' | docker run -i --rm --network none $registry/shell/git/jq"

docker inspect "$registry/shell/git/jq" >"$work/inspect"
holds "docker inspect: created when all reproducible things are" '.[0].Created == "1970-01-01T00:00:01Z"' "$work/inspect"
holds "docker inspect: this machine's architecture" ".[0].Architecture == \"$(dpkg --print-architecture)\"" "$work/inspect"
docker history --quiet "$registry/shell/git/jq" >"$work/history"
holds "docker history: an entry for each layer" "(.[0].RootFS.Layers | length) == $(wc -l <"$work/history")" "$work/inspect"

prints "docker pulls an unchanged image in no time" "Image is up to date" docker pull "$registry/shell/git/jq"

refused "docker says what is missing and what was meant" "Could not find Nix packages: gti (did you mean git?)" \
  docker pull "$registry/shell/gti"
refused "docker says why an unfree package is refused" "has an unfree license" docker pull "$registry/unfree-thing"
refused "docker says why a build failed" "this package never builds" docker pull "$registry/failing-build"
refused "docker is not let push" "" docker push "$registry/shell/git/jq"

# --- podman ------------------------------------------------------------------------------

podman_below "$work/podman"
podman_run=("${podman[@]}" run --rm --network none "${podman_limits[@]}")

check "podman pulls shell/python3" "${podman[@]}" pull --tls-verify=false "$registry/shell/python3"
prints "podman runs python3" works "${podman_run[@]}" "$registry/shell/python3" python3 -c "$works"
prints "… as a user who isn't root" works "${podman_run[@]}" --user 1000 "$registry/shell/python3" python3 -c "$works"
check "podman pulls shell/git/jq" "${podman[@]}" pull --tls-verify=false "$registry/shell/git/jq"
prints "podman's container has what programs expect" sane \
  "${podman_run[@]}" --user 1000 "$registry/shell/git/jq" sh -c "$sane"
refused "podman says what is missing and what was meant" "did you mean git?" \
  "${podman[@]}" pull --tls-verify=false "$registry/shell/gti"

# --- Building on an image ----------------------------------------------------------------

mkdir "$work/context"
printf 'FROM %s/shell/git\nRUN git --version > /out\nRUN cat /out\n' "$registry" >"$work/context/Dockerfile"
prints "docker builds on an image" "git version" \
  env DOCKER_BUILDKIT=0 docker build --network none "$work/context"
prints "podman builds on an image" "git version" \
  "${podman[@]}" build --tls-verify=false --isolation chroot --network host "$work/context"
prints "buildah builds on an image" "git version" \
  buildah --root "$work/buildah/root" --runroot "$work/buildah/run" bud --tls-verify=false --isolation chroot \
  --network host "$work/context"

# --- skopeo ----------------------------------------------------------------------------------

source=docker://$registry/shell/python3
check "skopeo copies to an OCI layout" skopeo copy --src-tls-verify=false "$source" "oci:$work/layout:python3"
check "… which it can read" skopeo inspect "oci:$work/layout:python3"
check "skopeo copies to an archive for docker" \
  skopeo copy --src-tls-verify=false "$source" "docker-archive:$work/archive.tar:python3:archived"
check "… which docker loads" docker load --input "$work/archive.tar"
prints "… and runs" works docker run --rm --network none python3:archived python3 -c "$works"

skopeo inspect --tls-verify=false "$source" >"$work/inspect"
skopeo inspect --tls-verify=false --raw "$source" >"$work/raw"
holds "skopeo inspect: created when all reproducible things are" '.Created == "1970-01-01T00:00:01Z"' "$work/inspect"
holds "skopeo inspect --raw: an OCI manifest" '.mediaType == "application/vnd.oci.image.manifest.v1+json"' "$work/raw"
holds "… with the digest that was told" ".Digest == \"sha256:$(sha256sum <"$work/raw" | cut -d ' ' -f 1)\"" "$work/inspect"

docker_type=application/vnd.docker.distribution.manifest.v2+json
digest=$(curl -fsS --noproxy '*' --head -H "Accept: $docker_type" "http://$registry/v2/shell/python3/manifests/latest" \
  | tr -d '\r' | sed -n 's/^docker-content-digest: //Ip')
skopeo inspect --tls-verify=false --raw "$source@$digest" >"$work/raw-docker"
holds "skopeo inspect --raw, by digest: a Docker manifest" ".mediaType == \"$docker_type\"" "$work/raw-docker"
holds "… of the same layers" "[.layers[].digest] == $(jq -c '[.layers[].digest]' "$work/raw")" "$work/raw-docker"
check "skopeo copies that one too" skopeo copy --src-tls-verify=false "$source@$digest" "dir:$work/dir"

for architecture in arm64 amd64; do
  skopeo inspect --tls-verify=false --config "docker://$registry/$architecture/curl" >"$work/config"
  holds "$architecture/curl is for $architecture" ".architecture == \"$architecture\" and .os == \"linux\"" "$work/config"
done
prints "skopeo lists tags" latest skopeo list-tags --tls-verify=false "$source"
refused "skopeo says what is missing and what was meant" "did you mean git?" \
  skopeo inspect --tls-verify=false "docker://$registry/shell/gti"
refused "skopeo says why an unfree package is refused" "has an unfree license" \
  skopeo inspect --tls-verify=false "docker://$registry/unfree-thing"

# --- containerd ----------------------------------------------------------------------------------

mkdir "$work/containerd"
# Without the configuration of the machine's own.
echo 'version = 2' >"$work/containerd/config.toml"
containerd --config "$work/containerd/config.toml" --root "$work/containerd/root" --state "$work/containerd/state" \
  --address "$work/containerd/socket" </dev/null >"$work/containerd/log" 2>&1 &
containerd=$!
started+=("$containerd")
ctr=(ctr --address "$work/containerd/socket")
wait_until 30 "$containerd" "${ctr[@]}" version || die "containerd didn't start: $(tail -n 3 "$work/containerd/log")"

check "ctr pulls shell/python3" "${ctr[@]}" images pull --plain-http "$registry/shell/python3:latest"
prints "ctr runs python3" works "${ctr[@]}" run --rm "$registry/shell/python3:latest" one python3 -c "$works"
prints "… as a user who isn't root" works \
  "${ctr[@]}" run --rm "$registry/shell/python3:latest" two python3 -c "$works_for_others"
refused "ctr says that there is no such image" "not found" "${ctr[@]}" images pull --plain-http "$registry/shell/gti:latest"
refused "ctr says that an unfree package is refused" "403 Forbidden" \
  "${ctr[@]}" images pull --plain-http "$registry/unfree-thing:latest"

# --- What try.sh says -------------------------------------------------------------------------------

try_port=$(free_port 25090)
PORT=$try_port STORAGE_PATH=$work/try "$repository/checks/try.sh" >"$work/try.log" 2>&1 </dev/null &
try=$!
started+=("$try")
wait_until 300 "$try" grep -q 'Ctrl-C ends it' "$work/try.log" || die "try.sh didn't serve: $(tail -n 3 "$work/try.log")"
grep "localhost:$try_port/" "$work/try.log" >"$work/commands"
for client in docker podman skopeo; do
  prints "try.sh prints a command that begins with $client" "$client" grep -E "^ +$client " "$work/commands"
done
check "the command for skopeo works as it is printed" bash -c "cd '$work' && $(grep skopeo "$work/commands")"
end "$try"

# --- With a popularity table of these packages -------------------------------------------------------

# image FIELD…: of what the server says of shell/git/jq.
image() { curl -fsS --noproxy '*' "http://$registry/api/v1/images/shell/git/jq/latest" | jq -c "$@"; }
# Of layers with one store path each, those that the table says are more worth come first.
# shellcheck disable=SC2016 # jq's own variables
by_rating='
  [.layers[:-1][].store_paths | select(length == 1)[0]
    | (.path | sub(".*/[0-9a-z]{32}-"; "") | sub("-[^A-Za-z].*"; "")) as $name
    | .nar_size * (($table[0][$name] // 1) | log2 | floor + 1)]
  | length > 5 and . == (sort | reverse)'

mapfile -t roots < <(image -r '.packages[].store_path')
image . >"$work/without.json"
check "nixery-popcount counts what the image's packages refer to" \
  "$popcount" --output "$work/popularity.json" --from-store "${roots[@]}"
holds "… and nearly all refer to the C library" '.libc6 > 20 and .libc6 > .zlib1g and .zlib1g > 1' "$work/popularity.json"
check "without the table, layers are in another order" \
  jq -e --slurpfile table "$work/popularity.json" "$by_rating | not" "$work/without.json"
end "$server"
export NIX_POPULARITY_URL=file://$work/popularity.json
start_server "$work/server.log"
check "docker pulls an image that is layered by the table" docker pull "$registry/shell/git/jq"
image . >"$work/with.json"
check "… its layers are in the table's order" \
  jq -e --slurpfile table "$work/popularity.json" "$by_rating" "$work/with.json"
prints "… and it runs" "git version" docker run --rm --network none "$registry/shell/git/jq" git --version
unset NIX_POPULARITY_URL
# --- Where one has to log in -------------------------------------------------------------------------

# Passwords: secret, and for ci the token ci-token.
# shellcheck disable=SC2016 # a hash, by htpasswd -nbB
echo 'ann:$2y$04$DHRNPAmxKk/F0y5E56evvOar7/QB3T.9dwwzjlJBju8rtQb2K2fZm' >"$work/htpasswd"
echo "ci:$(printf ci-token | sha256sum | cut -d ' ' -f 1)" >"$work/tokens"
export NIXERY_ACCESS_HTPASSWD=$work/htpasswd NIXERY_ACCESS_TOKENS=$work/tokens NIXERY_ACCESS_URL=http://$registry
export DOCKER_CONFIG=$work/docker-config
podman_auth=(--authfile "$work/podman-auth" --tls-verify=false)
nobody=(--authfile "$work/nobody" --tls-verify=false)
echo '{}' >"$work/nobody"

# restart RULES: the server, with other rules.
restart() {
  end "$server"
  export NIXERY_ACCESS_RULES=$1
  start_server "$work/server.log"
}

restart 'anonymous may pull; * may build'
not_made="has not been made yet"
refused "without logging in, docker pulls nothing new" "$not_made" docker pull "$registry/jq"
refused "… podman neither" "$not_made" "${podman[@]}" pull "${nobody[@]}" "$registry/htop"
refused "… skopeo neither" "$not_made" skopeo inspect --no-creds --tls-verify=false "docker://$registry/nano"
refused "… ctr neither" "403 Forbidden" "${ctr[@]}" images pull --plain-http "$registry/curl/jq:latest"
check "… but docker pulls what was made before" docker pull "$registry/shell/git"
check "… podman too" "${podman[@]}" pull "${nobody[@]}" "$registry/shell/git"
check "… skopeo too" skopeo inspect --no-creds --tls-verify=false "docker://$registry/shell/git"
check "… ctr too" "${ctr[@]}" images pull --plain-http "$registry/shell/git:latest"

wrong="user name or the password is wrong"
refused "docker can't log in with a wrong password" "$wrong" docker login --username ann --password wrong "$registry"
refused "podman can't either" "invalid username/password" "${podman[@]}" login "${podman_auth[@]}" --username ann --password wrong "$registry"
check "docker logs in with a password" docker login --username ann --password secret "$registry"
check "… and has an image made" docker pull "$registry/jq"
check "podman logs in with a token" "${podman[@]}" login "${podman_auth[@]}" --username ci --password ci-token "$registry"
check "… and has an image made" "${podman[@]}" pull "${podman_auth[@]}" "$registry/htop"
check "skopeo has an image made" skopeo inspect --creds ann:secret --tls-verify=false "docker://$registry/nano"
check "ctr has an image made" "${ctr[@]}" images pull --plain-http --user ci:ci-token "$registry/curl/jq:latest"
check "docker logs out" docker logout "$registry"
docker rmi --force "$registry/jq" >/dev/null 2>&1
check "… and pulls what it had made" docker pull "$registry/jq"

restart '* may build'
docker rmi --force "$registry/jq" >/dev/null 2>&1
refused "where all have to log in, docker pulls nothing without" "no basic auth credentials" docker pull "$registry/jq"
refused "… podman neither" "log in" "${podman[@]}" pull "${nobody[@]}" "$registry/jq"
refused "… skopeo neither" "log in" skopeo inspect --no-creds --tls-verify=false "docker://$registry/jq"
refused "… ctr neither" "401 Unauthorized" "${ctr[@]}" images pull --plain-http "$registry/jq:latest"
refused "docker can't log in with a wrong password" "401 Unauthorized" docker login --username ann --password wrong "$registry"
check "docker logs in with a token" docker login --username ci --password ci-token "$registry"
check "… and pulls" docker pull "$registry/jq"
check "podman pulls" "${podman[@]}" pull "${podman_auth[@]}" "$registry/jq"
check "skopeo pulls" skopeo copy --src-creds ann:secret --src-tls-verify=false "docker://$registry/jq" "dir:$work/jq"
check "ctr pulls" "${ctr[@]}" images pull --plain-http --user ann:secret "$registry/jq:latest"
unset NIXERY_ACCESS_HTPASSWD NIXERY_ACCESS_TOKENS NIXERY_ACCESS_URL NIXERY_ACCESS_RULES DOCKER_CONFIG

# --- With a bucket -----------------------------------------------------------------------------------

end "$server"
start_gcs_emulator "$work/gcs"
bucket=$NIXERY_GCS_ENDPOINT/nixery-try
start_server "$work/server.log"
docker rmi --force "$registry/shell/git/jq" >/dev/null 2>&1

check "skopeo pulls shell/git/jq through signed URLs" \
  skopeo copy --src-tls-verify=false "docker://$registry/shell/git/jq" "dir:$work/from-bucket"
layer=$(jq -r '.layers[0].digest' "$work/from-bucket/manifest.json")
prints "… which blobs are answered by" "307 $bucket/layers/${layer#*:}?" \
  curl -s --noproxy '*' -o /dev/null -w '%{http_code} %{redirect_url}\n' "http://$registry/v2/shell/git/jq/blobs/$layer"
prints "… while the bucket refuses whoever has none" 403 \
  curl -s --noproxy '*' -o /dev/null -w '%{http_code}\n' "$bucket/layers/${layer#*:}"
check "docker pulls shell/git/jq through signed URLs" docker pull "$registry/shell/git/jq"
prints "… and runs it" "git version" docker run --rm --network none "$registry/shell/git/jq" git --version
check "podman pulls shell/git/jq through signed URLs" "${podman[@]}" pull --tls-verify=false "$registry/shell/git/jq"
check "ctr pulls shell/git/jq through signed URLs" \
  "${ctr[@]}" images pull --plain-http "$registry/shell/git/jq:latest"

end "$server"
export NIXERY_GCS_REDIRECT=false
start_server "$work/server.log"
docker rmi --force "$registry/shell/git/jq" >/dev/null 2>&1
prints "without redirects, the server sends blobs itself" 200 \
  curl -s --noproxy '*' -o /dev/null -w '%{http_code}\n' "http://$registry/v2/shell/git/jq/blobs/$layer"
check "… skopeo pulls shell/git/jq" \
  skopeo copy --src-tls-verify=false "docker://$registry/shell/git/jq" "dir:$work/through-server"
check "… and it is the same image" cmp "$work/from-bucket/manifest.json" "$work/through-server/manifest.json"
check "… docker pulls shell/git/jq" docker pull "$registry/shell/git/jq"
prints "… and runs it" "jq-" docker run --rm --network none "$registry/shell/git/jq" jq --version

# ----------------------------------------------------------------------------------------------------

if ((failed)); then
  echo "# the end of the server's log:"
  grep -v ' INFO ' "$work/server.log" | tail -n 20 | cut -c 1-500 | sed 's/^/#   /'
fi
summarize
