# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # variables of lib.sh, and of the scripts
# Building Nixery, and running servers: of Nixery, of Cloud Storage, and of containers.
# They end with the script, as its processes.sh has it.

# --- Nixery ---------------------------------------------------------------------------

# build_server: builds the server and sets $nixery to the program: to $NIXERY if that is
# set. Needs cc and jq.
build_server() {
  nixery=${NIXERY-}
  if [[ -z $nixery ]]; then
    build nixery
    nixery=$built
  fi
}

# build_popcount: the same of nixery-popcount, and sets $popcount: to $NIXERY_POPCOUNT, or
# to what is beside $NIXERY.
build_popcount() {
  popcount=${NIXERY_POPCOUNT-}
  if [[ -z $popcount && -n ${NIXERY-} && -x $(dirname "$NIXERY")/nixery-popcount ]]; then
    popcount=$(dirname "$NIXERY")/nixery-popcount
  fi
  if [[ -z $popcount ]]; then
    build nixery-popcount
    popcount=$built
  fi
}

# build PACKAGE: of the workspace; sets $built to its program.
build() {
  need_rust
  say "building $1"
  (cd "$repository" && cargo build --release --locked --package "$1" >&2) || die "$1 could not be built"
  built=$(cd "$repository" && cargo metadata --locked --no-deps --format-version 1 | jq -r .target_directory)/release/$1
}

# configure_server PACKAGES [PORT]: what servers that are started from now on are told by
# the environment: where packages are, to keep all in $work, and to listen on PORT if
# nobody else does. Sets $port.
configure_server() {
  port=$(free_port "${@:2}")
  export NIXERY_CONFIG=/dev/null NIXERY_ADDRESS=127.0.0.1 PORT=$port
  export NIXERY_PKGS_PATH=$1 NIX_TIMEOUT=300 STATE_DIRECTORY=$work/state
  unset NIXERY_CHANNEL NIXERY_PKGS_REPO NIXERY_STORAGE_BACKEND STORAGE_PATH WEB_DIR
  mkdir -p "$STATE_DIRECTORY"
}

# start_server [LOG [COMMAND…]]: starts the server, whose port is $port, waits until it is
# ready, and sets $server to its pid. What it says is added to the file LOG; COMMAND, such
# as env, is what executes it.
start_server() {
  if (($#)); then run_server "${@:2}" >>"$1" 2>&1 & else run_server >&2 & fi
  server=$!
  started+=("$server")
  wait_until 60 "$server" server_is_ready "$port" \
    || die "the server didn't start: $(if (($#)); then tail -n 3 "$1"; else echo see above; fi)"
}
run_server() { PATH=$repository/nix/prepare-image:$PATH exec "$@" "$nixery" </dev/null; }

server_is_ready() { curl -fsS --noproxy '*' "http://localhost:$1/readyz"; }

# free_port [FIRST]: a port that nobody listens on; FIRST if it is one.
free_port() {
  local port=${1:-$((20000 + RANDOM % 12000))}
  while (: </dev/tcp/127.0.0.1/"$port") 2>/dev/null; do
    port=$((20000 + RANDOM % 12000))
  done
  echo "$port"
}

# --- Cloud Storage -----------------------------------------------------------------------

# start_gcs_emulator DIR: starts an emulator of Cloud Storage whose bucket refuses
# whoever has no credentials or signature, and has servers that are started from now on
# use it, with an account whose key is in DIR.
start_gcs_emulator() {
  local emulator
  need python3 venv
  mkdir -p "$1"
  say "starting the emulator of Cloud Storage, from $repository/checks/gcs-emulator"
  "$repository/checks/gcs-emulator/run" --bucket nixery-try --write-account "$1/account.json" \
    </dev/null >"$1/url" &
  emulator=$!
  started+=("$emulator")
  # The first time, it is installed.
  wait_until 300 "$emulator" grep -q http "$1/url" || die "the emulator of Cloud Storage didn't start: see above"
  export NIXERY_STORAGE_BACKEND=gcs GCS_BUCKET=nixery-try
  export GOOGLE_APPLICATION_CREDENTIALS=$1/account.json
  NIXERY_GCS_ENDPOINT=$(<"$1/url")
  export NIXERY_GCS_ENDPOINT
  unset GCS_SIGNING_KEY GCS_SIGNING_ACCOUNT NIXERY_GCS_ANONYMOUS
}

# --- Containers --------------------------------------------------------------------------

# start_dockerd: starts a Docker daemon of the script's own; sets $dockerd, and DOCKER_HOST.
start_dockerd() {
  try_dockerd "$work/docker" || die "dockerd didn't start: $(tail -n 3 "$work/docker/log")"
}

# try_dockerd DIR: the same where it may not work. The daemon has everything below DIR, and
# leaves the network of the machine alone.
try_dockerd() {
  mkdir -p "$1"
  echo '{}' >"$1/daemon.json"
  # In a session of its own: at Ctrl-C, containers are removed before it ends.
  setsid dockerd --config-file "$1/daemon.json" --data-root "$1/data" --exec-root "$1/exec" --pidfile "$1/pid" \
    --host "unix://$1/socket" --bridge none --iptables=false --ip6tables=false </dev/null >"$1/log" 2>&1 &
  dockerd=$!
  started+=("$dockerd")
  export DOCKER_HOST=unix://$1/socket
  if ! wait_until 30 "$dockerd" docker version; then
    end "$dockerd"
    dockerd=
    unset DOCKER_HOST
    return 1
  fi
}

# podman_below DIR: sets $podman to a command line that has everything below DIR.
podman_below() {
  podman=(podman --root "$1/root" --runroot "$1/run" --tmpdir "$1/tmp")
  # crun, the other runtime, wants cgroups to be of one version.
  if has runc; then podman+=(--runtime runc); fi
}

# The limits that podman sets by itself are higher than some machines allow.
podman_limits=(--ulimit nofile=4096:4096 --ulimit nproc=4096:4096)
