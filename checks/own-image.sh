#!/usr/bin/env bash
# Assembles Nixery's own image without nixpkgs (nix/image/root.nix, of Debian's packages
# in store paths) and runs it in docker as on Kubernetes and on Cloud Run: it builds
# packages with its own Nix, and docker pulls them from it.
#
# Usage: checks/own-image.sh [--write FILE]
#
#   --write   write the image's archive, for docker load, and end
#
# Needs root, for containers. The packages that the image has besides those of the
# offline package set are downloaded once (75 MB, with all that they need).

set -uo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$(dirname "${BASH_SOURCE[0]}")/lib/judge.sh"

archive=
if (($# == 2)) && [[ $1 == --write ]]; then
  archive=$2
elif (($#)); then
  explain "$@"
fi
need_root "containers are run here"
work_in image

# --- The image --------------------------------------------------------------------

need git jq curl certificates docker dockerd runc
prepare_packages
build_server

# The offline package set, and what the image has besides. The default set does without,
# as that is downloaded and built by everybody.
set=$cache/own-image
cp -r "$repository/checks/debian-packages" "$work/set"
cat >>"$work/set/packages.txt" <<'END'
catatonit                 catatonit          catatonit
dpkg                      dpkg               dpkg
glibc                     libc6              -
nix                       nix-bin            nix
patchelf                  patchelf           patchelf
xz                        xz-utils           xz
END
"$work/set/prepare.sh" "$set" || die "the packages of the image could not be prepared"

say "building what is in the image"
images=(plain hook failing)
arguments=("$repository/checks/own-image.nix" --argstr set "$set" --argstr server "$(realpath "$nixery")")
for image in "${images[@]}"; do
  nix-build --no-out-link "${arguments[@]}" -A "$image.contents" >"$work/$image.contents" 2>"$work/log" \
    || die "what is in the image could not be built: $(tail -n 5 "$work/log")"
  for part in commands config; do
    nix-instantiate --eval --strict --json "${arguments[@]}" -A "$image.$part" >"$work/$image.$part" \
      || die "nix/image/root.nix can't be evaluated: see above"
  done
  sort -u "$work/$image.contents" | xargs nix-store --query --requisites | sort -u >"$work/$image.closure"
done

# assemble IMAGE: its layer of links, as dockerTools.streamLayeredImage makes it: of what
# is in several packages, the first one's is taken.
assemble() {
  local root=$work/$1 path
  mkdir "$root"
  while read -r path; do
    cp --recursive --symbolic-link --no-clobber "$path/." "$root"
    chmod -R u+w "$root"
  done <"$work/$1.contents"
  find "$root" -type d -exec chmod 755 {} +
  xargs nix-store --dump-db <"$work/$1.closure" | NIX_REMOTE="local?root=$root" nix-store --load-db || return
  mkdir -p "$root/nix/var/nix/gcroots/docker"
  xargs ln -s -t "$root/nix/var/nix/gcroots/docker" <"$work/$1.contents"
  (cd "$root" && bash -euc "$(jq -r . "$work/$1.commands")") || return
  pack "$work/archive/$1.tar" -C "$root" .
}
pack() { tar --create --file "$1" --sort name --numeric-owner --owner 0 --group 0 --mtime @1 "${@:2}"; }

# describe IMAGE: its configuration, and its line of the archive's list.
describe() {
  local layers=(store.tar "$1.tar")
  (cd "$work/archive" && sha256sum "${layers[@]}") | jq -Rn --slurpfile config "$work/$1.config" \
    --arg architecture "$(dpkg --print-architecture)" '{
      os: "linux", $architecture, created: "1970-01-01T00:00:01Z", config: $config[0],
      rootfs: { type: "layers", diff_ids: [inputs | "sha256:" + split(" ")[0]] } }' >"$work/archive/$1.json"
  jq -n --arg image "$1" '{ Config: ($image + ".json"), RepoTags: ["nixery:" + $image], Layers: ["store.tar", $image + ".tar"] }'
}

mkdir "$work/archive"
if [[ -n $archive ]]; then images=(plain); fi
for image in "${images[@]}"; do
  assemble "$image" || die "the layer of links could not be made"
  cat "$work/$image.closure"
done | sort -u | sed 's|^/||' >"$work/paths"
pack "$work/archive/store.tar" -C / --files-from "$work/paths"
for image in "${images[@]}"; do describe "$image"; done | jq -s . >"$work/archive/manifest.json"
if [[ -n $archive ]]; then
  tar --create --file "$archive" -C "$work/archive" . || exit
  say "wrote $archive; docker load makes it nixery:plain"
  exit
fi

start_dockerd
tar --create -C "$work/archive" . | docker load >"$work/log" || die "docker could not load the image: $(tail -n 3 "$work/log")"
rm -r "$work/archive"
echo "# the image has $(docker image inspect --format '{{.Size}}' nixery:plain | numfmt --to=si) in $(wc -l <"$work/plain.closure") store paths"

# --- The package source --------------------------------------------------------------

# The offline package set, and a package that tells who built it, and leaves a process
# behind. It belongs to somebody who isn't root, as a directory that is mounted may.
source=$work/packages
mkdir -p "$source/debian"
cp "$set"/*.{nix,txt,json,sh} "$source/debian"
sed -i 's|"debs": ".*/debs/|"debs": "/debs/|' "$source"/debian/index-*.json
cat >"$source/default.nix" <<'END'
{ system ? builtins.currentSystem }:
import ./debian { inherit system; } // {
  build-user = derivation {
    name = "build-user";
    inherit system;
    builder = "/bin/sh";
    PATH = "/bin";
    args = [ "-euc" ''
      (sleep 600 >/dev/null 2>&1 &)
      mkdir -p $out/bin
      printf '#!/bin/sh\necho built by %s\n' "$(id -un)" > $out/bin/build-user
      chmod +x $out/bin/build-user
      exit 0
    '' ];
  };
}
END
git=(git -c user.name=check -c user.email=check@example.org -C "$source")
if ! { "${git[@]}" init --quiet --initial-branch main && "${git[@]}" add . && "${git[@]}" commit --quiet -m packages; }; then
  die "the package source could not be committed"
fi
commit=$("${git[@]}" rev-parse HEAD)
chown -R 1000:1000 "$source"
chmod 755 "$work"

# With the network of this machine, for docker to pull from the container. No binary
# cache has what is built here.
run_image=(docker run --network host --env "NIX_CONFIG=substituters =" --env NIX_TIMEOUT=300
  --volume "$source:/packages:ro" --volume "$set/debs:/debs:ro")

# All that root in the container may do: be other users, and own their files.
least=(--cap-drop ALL --cap-add CHOWN --cap-add DAC_OVERRIDE --cap-add FOWNER --cap-add KILL --cap-add SETGID --cap-add SETUID
  --security-opt no-new-privileges)
# What has to be writable. Only Docker fills a volume with what the image has there.
writable=(--read-only --volume nix:/nix:nocopy --volume state:/var/lib/nixery --tmpfs /tmp:exec)

# serve NAME ARGUMENT…: starts a container that listens on $port, and waits until it serves.
serve() {
  local name=$1
  shift
  port=$(free_port 25100)
  registry=localhost:$port
  "${run_image[@]}" --detach --name "$name" --env PORT="$port" "$@" >/dev/null || return
  wait_until 60 "$dockerd" server_is_ready "$port" && return
  docker logs "$name" | tail -n 20
  return 1
}
digest() { # NAME
  curl -fsS --noproxy '*' --max-time "${2-300}" --head -H 'Accept: application/vnd.oci.image.manifest.v1+json' \
    "http://$registry/v2/$1/manifests/latest" | tr -d '\r' | sed -n 's/^docker-content-digest: //Ip' | grep .
}
metric() { curl -fsS --noproxy '*' "http://$registry/metrics" | awk -v name="$1" 'index($1, name) == 1 { sum += $2 } END { print sum + 0 }'; }
run_pulled() { docker run --rm --network none "$registry/$1" "${@:2}"; }

# --- What is in it ---------------------------------------------------------------------

# shellcheck disable=SC2016 # expanded in the container
sane='
  is() { [[ $2 == "$3" ]] || { echo "$1: $2 instead of $3"; exit 1; }; }
  is PATH "$PATH" /bin
  is HOME "$HOME" /root
  is PWD "$PWD" /var/lib/nixery
  is /tmp "$(stat -c %a /tmp)" 1777
  is /var/tmp "$(stat -c %a /var/tmp)" 1777
  is /root "$(stat -c %a /root)" 700
  is root "$(id -un)" root
  is nixbld1 "$(stat -c %U /tmp/owned)" nixbld1
  is nixbld "$(stat -c %G /tmp/owned)" nixbld
  for file in "$SSL_CERT_FILE" "$NIX_SSL_CERT_FILE" "$GIT_SSL_CAINFO"; do
    is "$file" "$(head -c 27 "$file")" "-----BEGIN CERTIFICATE-----"
  done
  for program in bash sh git ssh tar gzip xz nix nix-store nixery cat; do type -P "$program" || exit; done
  /usr/bin/env true || exit
  nix-store --verify --check-contents || exit
  is "users to build as" "$(nix show-config | { while read -r line; do [[ $line != build-users-group* ]] || echo "$line"; done; })" \
    "build-users-group = nixbld"
  nix-collect-garbage && nix-store --verify || exit
  [[ -x /launch ]] || { echo "the garbage collector took what is in use"; exit 1; }
  ssh -V || exit
  echo sane'
prints "the container has what programs expect" sane docker run --rm --network none --entrypoint /bin/bash nixery:plain \
  -c "touch /tmp/owned; chown nixbld1:nixbld /tmp/owned; $sane"
prints "it is the server that is run" "nixery " docker run --rm --network none nixery:plain --version

# shellcheck disable=SC2317,SC2329 # called by check
names_what_is_missing() {
  local status=0
  docker run --rm --network none nixery:plain 2>&1 || status=$?
  ((status == 1))
}
prints "without a package source it ends with 1, and says what to set" NIXERY_CHANNEL names_what_is_missing

# --- Serving ------------------------------------------------------------------------------

check "a volume is filled with its store" \
  docker run --rm --network none "${least[@]}" --read-only --volume nix:/volume --entrypoint /bin/cp nixery:plain -a /nix/. /volume
check "with the least that can be given it serves, on PORT" \
  serve least "${least[@]}" "${writable[@]}" --env NIXERY_PKGS_PATH=/packages nixery:plain
if ((status)); then die "the rest would tell nothing: $(docker logs least 2>&1 | tail -n 5)"; fi
check "docker pulls shell/jq from it" docker pull "$registry/shell/jq"
prints "… and runs it" jq- run_pulled shell/jq jq --version
prints "Nix builds as one of its own users" "built by nixbld1" run_pulled shell/build-user build-user
refused "what is missing is named" "Could not find Nix packages" docker pull "$registry/no-such-thing"
refused "why a build failed, too" "this package never builds" docker pull "$registry/failing-build"


# Docker doesn't tell of zombies, which are in no control group.
# shellcheck disable=SC2016 # expanded in the container
processes='for file in /proc/[0-9]*/stat; do
    read -r line <"$file" && [[ $file != "/proc/$$/stat" ]] && echo "${line%%) *})"
  done 2>/dev/null; true'
# shellcheck disable=SC2317,SC2329 # called by check
nothing_else_runs() {
  sleep 1
  docker exec "$1" bash -c "$processes" | tee "$work/processes"
  [[ $(sed 's/.*(\(.*\))/\1/' "$work/processes" | sort | xargs) == ".nixery-wrapped catatonit" ]]
}
check "nothing is left of builds, no zombies either" nothing_else_runs least
# shellcheck disable=SC2317,SC2329 # called by check
is_content() { ! docker logs "$1" 2>&1 | grep -E ' (WARN|ERROR) |warning:'; }
check "it warns of nothing" is_content least

check "a signal gets to the server" docker kill --signal HUP least
check "… which reads the popularity table again" wait_until 5 "$dockerd" bash -c "docker logs least 2>&1 | grep -i popularity"

layers() { docker image inspect --format '{{json .RootFS.Layers}}' "$1"; }
before=$(digest shell/jq)
of_the_directory=$(layers "$registry/shell/jq")
prints "Git looks into the directory, though it is another user's" "\"$commit\"" \
  docker image inspect --format '{{json .Config.Labels}}' "$registry/shell/jq"
# shellcheck disable=SC2317,SC2329 # called by check
stops() {
  local began=$SECONDS
  docker stop --time 30 "$1" || return
  docker inspect --format '{{.State.ExitCode}}' "$1"
  ((SECONDS - began < 20)) && [[ $(docker inspect --format '{{.State.ExitCode}}' "$1") == 0 ]]
}
check "docker stop ends it well" stops least

# The volume of its state, and nothing else of what it was.
docker rm least >/dev/null
check "another container serves from the same state" \
  serve another --volume state:/var/lib/nixery --env NIXERY_PKGS_PATH=/packages nixery:plain
printf '%s\n' "$before" >"$work/output"
after=$(digest shell/jq 10)
printf '%s\n' "$after" >>"$work/output"
result "$([[ -n $before && $after == "$before" ]] && echo 1 || echo 0)" "… the same image"
metric nixery_nix_runs_total >"$work/output"
result "$([[ $(<"$work/output") == 0 ]] && echo 1 || echo 0)" "… without Nix"
check "… and the store of that one can still build" digest shell/hello
# shellcheck disable=SC2317,SC2329 # called by check
hangs() {
  curl -s --noproxy '*' --max-time 60 "http://$registry/v2/hanging-build/manifests/latest" &
  wait_until 30 "$dockerd" bash -c "docker logs another 2>&1 | grep 'waiting for ever'"
}
check "… and builds for ever" hangs
check "docker stop ends that well" stops another

# --- Git -------------------------------------------------------------------------------------

check "with a repository of somebody else it serves" \
  serve git --env NIXERY_PKGS_REPO=/packages --volume state:/var/lib/nixery nixery:plain
check "docker pulls from a branch of it" docker pull "$registry/shell/jq:main"
prints "… the same layers" "$of_the_directory" layers "$registry/shell/jq:main"
check "… and it stops" stops git
# What Nix remembers of fetched sources is in the volume; the sources are not.
check "another one remembers sources that its store doesn't have" \
  serve again --env NIXERY_PKGS_REPO=/packages --volume state:/var/lib/nixery nixery:plain
check "… and makes other images of them" docker pull "$registry/shell/htop:main"

# --- Hooks -------------------------------------------------------------------------------------

port=$(free_port 25110)
# shellcheck disable=SC2317,SC2329 # called by check
serves_with_a_hook() {
  "${run_image[@]}" --detach --name hook --env OTHER_PORT="$port" --env NIXERY_PKGS_PATH=/packages nixery:hook || return
  wait_until 60 "$dockerd" server_is_ready "$port"
}
check "a hook is run before, and what it exports holds" serves_with_a_hook
prints "… and what it writes is there" "a hook was run" docker exec hook cat /tmp/greeting
refused "a hook that fails prevents the start" "this hook fails" \
  "${run_image[@]}" --rm --env NIXERY_PKGS_PATH=/packages nixery:failing
refused "… at once" "" grep "is started" "$work/output"

# ------------------------------------------------------------------------------------------------

if ((failed)); then
  for container in $(docker ps --all --format '{{.Names}}'); do
    echo "# the end of the log of $container:"
    docker logs "$container" 2>&1 | grep -v ' INFO nix:' | tail -n 10 | cut -c 1-300 | sed 's/^/#   /'
  done
fi
summarize
