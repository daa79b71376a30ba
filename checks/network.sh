#!/usr/bin/env bash
# Cuts the cables of clients in the middle of whatever they do, so that no FIN and no RST
# comes, and looks whether the server lets go of each within the time that its settings say,
# keeps nothing of it, and serves others meanwhile.
#
# Usage: checks/network.sh
#
# Needs root, for namespaces of networks: clients are in some, the server is in another, and a
# router is between them. Cables are cut in three ways: the client's interface is down, packets
# are dropped without a word, and the client's machine is gone. Takes about 45 seconds.

set -uo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$(dirname "${BASH_SOURCE[0]}")/lib/judge.sh"

no_arguments "$@"
need_root "namespaces of networks are made here"

prefix=nixery-$$-
servers=() visitor='' spaces=()
declare -A clients
work_in network
# shellcheck disable=SC2317,SC2329 # called at the end
leave() {
  # Clients wait for nothing then.
  touch "$work"/{two,three,go,end}
  # shellcheck disable=SC2086 # there may be none
  for process in "${clients[@]}" $visitor; do kill -KILL "$process" 2>/dev/null; done
  for process in "${servers[@]}"; do end "$process"; done
  for space in "${spaces[@]}"; do ip netns del "$prefix$space" 2>/dev/null; done
  clean_up
}
at_exit leave

need git jq curl cc openssl python3 ip
pin_test_packages
build_server

# --- The network --------------------------------------------------------------------------

# Clients whose cable stays, and those whose cable is cut, by the way in which it is.
readonly cuts=(down dropped gone)
inside() { ip netns exec "$prefix$1" "${@:2}"; }

add_space() {
  ip netns add "$prefix$1" || die "there can be no namespaces of networks here: see above"
  spaces+=("$1")
  ip -n "$prefix$1" link set lo up
}

# attach SPACE NUMBER: to the router, by a cable of its own; it has the address 10.213.NUMBER.2.
attach() {
  add_space "$1"
  ip -n "${prefix}router" link add "to-$1" type veth peer name eth0 netns "$prefix$1" \
    || die "there can be no cables here: see above"
  ip -n "${prefix}router" address add "10.213.$2.1/24" dev "to-$1"
  ip -n "${prefix}router" link set "to-$1" up
  ip -n "$prefix$1" address add "10.213.$2.2/24" dev eth0
  ip -n "$prefix$1" link set eth0 up
  ip -n "$prefix$1" route add default via "10.213.$2.1"
}

add_space router
inside router sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
number=0
for space in server stays "${cuts[@]}"; do attach "$space" "$((number++))"; done
host=10.213.0.2 port=8080 tls_port=8443

# --- The servers ----------------------------------------------------------------------------

# Seconds. Each is another one, so that it can be seen which of them it was.
head=10 idle=12 write=15
# It is looked as often as this whether they are over, and the machine may be busy.
late=$(jq -n "$head / 4 + 2")

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=nixery \
  -addext "subjectAltName=IP:$host" -keyout "$work/key" -out "$work/certificate" 2>"$work/output" \
  || die "there is no certificate: $(<"$work/output")"

# An image isn't made before there is a file of its name; the builder talks meanwhile.
mkdir "$work/bin"
cat >"$work/bin/nixery-prepare-image" <<OUTER
#!/usr/bin/env bash
real=$repository/nix/prepare-image/nixery-prepare-image
if [[ \$1 == --check ]]; then exec "\$real" "\$@"; fi
request=\$(cat)
answer=\$("\$real" "\$@" <<<"\$request") || { printf '%s\n' "\$answer"; exit 1; }
for image in two three; do
  while [[ \$request == *\"\$image\"* && ! -e $work/\$image ]]; do
    echo "\$image is not released yet" >&2
    sleep 0.3
  done
done
printf '%s\n' "\$answer"
OUTER
chmod +x "$work/bin/nixery-prepare-image"

export NIXERY_PKGS_PATH=$pinned NIXERY_CONFIG=/dev/null NIXERY_ADDRESS=$host NIX_TIMEOUT=300 NIXERY_LOG_FORMAT=json
export NIXERY_LIMITS_HEADER_TIMEOUT=$head NIXERY_LIMITS_IDLE_TIMEOUT=$idle NIXERY_LIMITS_WRITE_TIMEOUT=$write
export NIXERY_STORAGE_MIN_FREE=0

# start NAME PORT VARIABLE…
start() {
  mkdir -p "$work/$1"
  # Not by a function: that would be another process.
  ip netns exec "${prefix}server" env STATE_DIRECTORY="$work/$1" PORT="$2" PATH="$work/bin:$PATH" "${@:3}" "$nixery" \
    </dev/null >"$work/$1/log" 2>&1 &
  servers+=($!)
}
get() { inside stays curl -fsS --noproxy '*' --cacert "$work/certificate" --max-time 20 "$@"; }
urls=("http://$host:$port" "https://$host:$tls_port")
# shellcheck disable=SC2317,SC2329 # called by wait_until
both_are_ready() { for url in "${urls[@]}"; do get "$url/readyz" || return; done; }
start plain "$port"
start tls "$tls_port" NIXERY_TLS_CERTIFICATE="$work/certificate" NIXERY_TLS_KEY="$work/key"
wait_until 30 "${servers[0]}" both_are_ready || die "the servers didn't start: $(tail -n 3 "$work"/*/log)"

# gauges: what servers have at the moment, of the asking connection not: connections,
# downloads, watchers, builds; a line for each server.
gauges() {
  local url
  for url in "${urls[@]}"; do
    get -H 'Connection: close' "$url/metrics" | awk '
      { value[$1] = $2 }
      END {
        print value["nixery_connections"] - 1, value["nixery_downloads"] + 0,
          value["nixery_watchers"] + 0, value["nixery_builds_running"] + 0
      }'
  done
}
# files: how many each of them has open.
files() { for process in "${servers[@]}"; do find "/proc/$process/fd" -type l | wc -l; done; }
# in_kernel: TCP connections with the cables that were cut, those without a process too.
in_kernel() { awk '$3 ~ /^020[234]D50A:/' "/proc/${servers[0]}/net/tcp"; }
# tells TEXT COMMAND: whether it prints that.
# shellcheck disable=SC2317,SC2329 # called by wait_until
tells() { [[ $("$2" | xargs) == "$1" ]]; }
none="0 0 0 0"

for url in "${urls[@]}"; do
  get "$url/v2/large/manifests/latest" -o "$work/manifest" || die "the image can't be had: see above"
done
blob=$(jq -r '.layers | max_by(.size) | .digest' "$work/manifest")
echo "/v2/large/blobs/$blob" >"$work/blob"
wait_until 10 $$ tells "$none $none" gauges || die "there are connections before there are clients"
files_before=$(files | xargs)

# --- The clients -----------------------------------------------------------------------------

# shellcheck disable=SC2317,SC2329 # called by wait_until
are_there() { for space in stays "${cuts[@]}"; do [[ -e $work/$space.$1 ]] || return; done; }
# shellcheck disable=SC2317,SC2329 # called by wait_until
are_held() { for image in two three; do for log in "$work"/{plain,tls}/log; do grep -q "$image is not released" "$log" || return; done; done; }

for space in stays "${cuts[@]}"; do
  ip netns exec "$prefix$space" "$repository/checks/network/clients.py" \
    "$work" "$space" "$host" "$port" "$tls_port" >"$work/$space.got" &
  clients[$space]=$!
done
wait_until 60 "${clients[stays]}" are_there early || die "the first clients are not there: see above"
wait_until 60 "${servers[0]}" are_held || die "the images are not begun: $(tail -n 3 "$work"/*/log)"
touch "$work/go"
wait_until 30 "${clients[stays]}" are_there ready || die "clients are not there: see above"
gauges >"$work/gauges"
"$repository/checks/network/cut.py" "$work" "$prefix" 30 "${servers[@]}" >"$work/let-go" &
cutter=$!

# others: whoever comes meanwhile: a manifest, and a blob of 30 MB that is compared.
others() {
  local began url
  until [[ -e $work/end ]]; do
    for url in "${urls[@]}"; do
      began=${EPOCHREALTIME/./}
      if get "$url/v2/large/manifests/latest" -o /dev/null \
        && get "$url$(<"$work/blob")" | sha256sum | grep -q "^${blob#sha256:} "; then
        echo "$(((${EPOCHREALTIME/./} - began) / 1000))"
      else
        echo failed
      fi
      sleep 0.2
    done
  done >"$work/others"
}
others &
visitor=$!

wait_until 10 "$cutter" test -e "$work/cut" || die "cables can't be cut: see above"
touch "$work/three"
# Of the machine that is gone, nothing is left.
kill -KILL "${clients[gone]}"
wait "${clients[gone]}" 2>/dev/null
unset 'clients[gone]'
ip netns del "${prefix}gone"
wait "$cutter" || die "the cutter failed: see above"

# --- What became of them ------------------------------------------------------------------------

cp "$work/gauges" "$work/output"
# With four cables, a connection of each kind; by TLS there is one kind more.
result "$([[ $(xargs <"$work/gauges") == "32 8 4 2 36 8 4 2" ]] && echo 1 || echo 0)" \
  "before the cut, all clients are connected, send and watch"

# let_go KIND SECONDS WHY: those of all cables, at both servers, within that time.
let_go() {
  local number is_late most
  awk -F '\t' -v kind="$1" '$2 == kind || $2 == kind " by TLS"' "$work/let-go" >"$work/output"
  read -r number is_late most < <(awk -F '\t' -v bound="$2" -v late="$late" '
    $3 == "never" || $3 > bound + late { is_late = 1 }
    { if ($3 == "never" || $3 + 0 > most + 0) most = $3 }
    END { print NR, is_late + 0, most }' "$work/output")
  result "$((number >= 3 && !is_late))" "$1: $number are let go of, the last after $most s, for $3"
}
pings=$(jq -n "$write * 5 / 12")
let_go "in the middle of a head" "$head" "header_timeout of $head s"
let_go "in the middle of a handshake" "$head" "header_timeout of $head s"
let_go "idle" "$idle" "idle_timeout of $idle s"
let_go "in the middle of a blob" "$write" "write_timeout of $write s"
let_go "with a held stream of HTTP/2" "$pings" "pings, $pings s of write_timeout"
let_go "waiting by HTTP/2" "$pings" "pings, $pings s of write_timeout"
let_go "waiting for an image" "$write" "write_timeout of $write s"
let_go "watching a build" "$write" "write_timeout of $write s"
let_go "answered after the cut" "$write" "write_timeout of $write s"

check "nothing is left of them in the kernel" wait_until 20 $$ tells "" in_kernel
in_kernel >>"$work/output"
touch "$work/two"
# shellcheck disable=SC2317,SC2329 # called by wait_until
are_made() { for url in "${urls[@]}"; do get "$url/api/v1/builds/two/latest" | jq -e '.state == "made"' || return; done; }
check "the images are made" wait_until 30 $$ are_made
touch "$work/end"
wait "${clients[stays]}" "$visitor"
clients=() visitor=''
# Without TLS, and with it.
holds "whose cable stays gets the image, all of the log, and as much of the blob as it takes" '
  [to_entries[] | .key |= sub(" by TLS$"; "")] | group_by(.key) | map({ (.[0].key): map(.value) }) | add
  | (."waiting for an image", ."answered after the cut" | . == ["200", "200"])
    and (."waiting by HTTP/2" | length == 2 and all(tostring | test("the last of them")))
    and ."watching a build" == ["end", "end"]
    and (."in the middle of a blob" | length == 2 and all(type == "number" and . > 500000))' "$work/stays.got"
sort -n "$work/others" >"$work/output"
result "$(($(wc -l <"$work/output") > 10 && !$(grep -c failed "$work/output")))" \
  "others are served meanwhile: $(wc -l <"$work/output") times a manifest and a blob of 30 MB, at most in $(tail -n 1 "$work/output") ms"
check "connections, blobs, watchers and builds are counted down to none" wait_until 10 $$ tells "$none $none" gauges
gauges >>"$work/output"
# Of each cable: in the middle of a blob, waiting, watching. Where the kernel is first, its reason
# may be lost to a reader, so that one or two of the nine are not.
# shellcheck disable=SC2317,SC2329 # called by check
are_counted() {
  for url in "${urls[@]}"; do
    get "$url/metrics" | grep -F 'nixery_connections_timed_out_total{wait="write"}'
  done | tee /dev/stderr | awk '$2 >= 6 { right++ } END { exit right != 2 }'
}
check "that they were let go of is counted for most" are_counted
check "there are as many open files as before" wait_until 10 $$ tells "$files_before" files
jq -c 'select(.level != "INFO")' "$work"/{plain,tls}/log >"$work/output"
result "$((!$(wc -l <"$work/output")))" "the logs say nothing of it that anybody should look at"
summarize
