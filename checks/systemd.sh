#!/usr/bin/env bash
# Runs the units of the NixOS module (checks/units) under a real systemd with all
# their confinement: in a container of Debian, whose Nix daemon builds real packages.
#
# Usage: checks/systemd.sh
#
# Needs root, for containers. Debian's systemd and Nix are unpacked by mmdebstrap once
# (330 MB) and kept in ${XDG_CACHE_HOME:-~/.cache}/nixery.

set -uo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$(dirname "${BASH_SOURCE[0]}")/lib/judge.sh"

no_arguments "$@"
need_root "containers are run here"
work_in systemd

# --- The machine ------------------------------------------------------------------

need jq curl certificates cc docker dockerd runc mmdebstrap
prepare_packages
build_server

# shellcheck source=/dev/null
release=$(. /etc/os-release && echo "${VERSION_CODENAME-}")
contents=systemd,nix-bin,nix-setup-systemd,git,jq,curl,patchelf,perl,procps,ca-certificates
root=$cache/systemd-$release-$(sha256sum <<<"$contents" | head -c 8).tar
if [[ ! -e $root ]]; then
  say "unpacking Debian's systemd and Nix, once"
  mmdebstrap --quiet --variant=minbase --include="$contents" --aptopt='APT::Install-Recommends "false"' \
    "$release" "$root.new.tar" >&2 || die "Debian $release could not be unpacked: see above"
  mv "$root.new.tar" "$root"
fi

start_dockerd
docker import "$root" systemd >/dev/null || die "docker could not import $root"

# As the module has it: the builder finds its tools, whatever the unit's PATH is.
builder=$work/nixery-prepare-image
mkdir -p "$builder/bin" "$builder/share" "$work/nixery/bin" "$work/etc" "$work/packages/debs"
install -m 755 "$nixery" "$work/nixery/bin/nixery"
cp -r "$repository/nix/prepare-image/." "$builder/share"
cat >"$builder/bin/nixery-prepare-image" <<'END'
#!/bin/sh
PATH=/usr/bin:/bin exec /opt/nixery-prepare-image/share/nixery-prepare-image "$@"
END
chmod +x "$builder/bin/nixery-prepare-image"
cp "$packages"/*.{nix,txt,json,sh} "$work/packages"
sed -i 's|"debs": ".*/debs/|"debs": "/srv/packages/debs/|' "$work/packages"/index-*.json
printf 'sandbox = false\nsubstituters =\nexperimental-features = nix-command\n' >"$work/nix.conf"
chmod 755 "$work"

# It has the network of this machine, for Docker to pull from it. Without SYS_PTRACE,
# systemd sees nothing of its own processes where ProtectProc= hides those of others.
machine=nixery-systemd-$$
docker run --detach --name "$machine" --network host --cap-add SYS_ADMIN --cap-add SYS_PTRACE --security-opt seccomp=unconfined \
  --security-opt apparmor=unconfined --tmpfs /run --tmpfs /run/lock --tmpfs /tmp \
  --volume /sys/fs/cgroup:/sys/fs/cgroup:rw --env container=docker --hostname machine \
  --volume "$work/nixery:/opt/nixery:ro" --volume "$builder:/opt/nixery-prepare-image:ro" \
  --volume "$work/packages:/srv/packages:ro" --volume "$packages/debs:/srv/packages/debs:ro" \
  --volume "$work/nix.conf:/etc/nix/nix.conf:ro" --volume "$work/etc:/etc/nixery" \
  systemd /lib/systemd/systemd >/dev/null || die "the container of systemd didn't start"

inside() { timeout 120 docker exec "$machine" "$@"; }
# shellcheck disable=SC2317,SC2329 # called by wait_until
is_up() { [[ $(inside systemctl is-system-running) =~ ^(running|degraded)$ ]]; }
wait_until 60 "$dockerd" is_up || die "systemd isn't up after a minute: $(inside systemctl --failed 2>&1)"
# As systemd does itself where it isn't in a container: what it mounts for a service, such as
# its credentials, comes from a namespace beside, and would be seen only there.
inside mount --make-rshared / || die "mounts can't be shared in the container: see above"

# shellcheck disable=SC2317,SC2329 # called by the tests
property() { inside systemctl show --value --property "$1" "${2-nixery.service}"; }
fetch() { curl -fsS --noproxy '*' --max-time 300 "http://localhost:$port$1"; }
manifest() { fetch /v2/shell/jq/manifests/latest; }

# override NAME LINE…: settings of the service, until other units are installed.
override() {
  local file=/etc/systemd/system/nixery.service.d/$1.conf
  shift
  # shellcheck disable=SC2016 # expanded in the container
  { echo "[Service]" && printf '%s\n' "$@"; } | timeout 60 docker exec --interactive "$machine" \
    sh -c 'mkdir -p "${0%/*}" && cat >"$0" && systemctl daemon-reload' "$file"
}

# install_units CASE: in place of the ones that are there; they are not started.
install_units() {
  inside systemctl stop nixery.socket nixery.service 2>/dev/null
  rm -f "$work"/etc/*
  cp "$repository/checks/units/$1"/*.toml "$work/etc"
  inside sh -c 'rm -rf /etc/systemd/system/nixery*; systemctl reset-failed'
  for unit in "$repository/checks/units/$1"/nixery*.{service,socket,timer}; do
    [[ -e $unit ]] || continue
    docker cp "$unit" "$machine:/etc/systemd/system/" >/dev/null 2>&1 || die "there is no $unit"
  done
  # On NixOS everybody may use the daemon; on Debian, this group.
  override group SupplementaryGroups=nix-users
}
# journal CONDITION: whether a message of the unit fulfils it, in jq's words.
journal() {
  inside journalctl --unit nixery.service --output json --all >"$work/journal"
  jq -e -n "[inputs | select($1)] | length > 0" "$work/journal"
}

# --- The unit -----------------------------------------------------------------------

install_units plain
port=$(free_port 8080)
override port "Environment=PORT=$port"
# Otherwise the test of the watchdog takes minutes.
override sooner WatchdogSec=4
check "the units are right" inside sh -c 'systemd-analyze verify /etc/systemd/system/nixery*.service'
inside systemd-analyze security --no-pager nixery.service >"$work/security"
tail -n 1 "$work/security" | sed 's/^[^O]*/# /'
exposed=$(sed -n 's/.*Overall exposure level for .*: \([0-9.]*\) .*/\1/p' "$work/security")
cp "$work/security" "$work/output"
result "$((${exposed/./} <= 20))" "systemd-analyze security finds little exposed: ${exposed:-nothing} of 10"

check "systemctl start waits until it serves" inside systemctl start nixery.service
check "… and it serves then" fetch /readyz
if ((failed)); then
  inside journalctl --no-pager --unit nixery.service | tail -n 20 >&2
  die "the rest would tell nothing"
fi
check "docker pulls shell/jq, which Nix builds" docker pull "localhost:$port/shell/jq"
prints "docker runs it" jq- docker run --rm --network none "localhost:$port/shell/jq" jq --version
check "the builds were the daemon's" inside sh -c 'stat -c "%U %n" /nix/store/*-jq-* | grep ^root'

# unprivileged: what the process may do.
# shellcheck disable=SC2317,SC2329 # called by check
is_confined() {
  local pid
  pid=$(property MainPID)
  inside cat "/proc/$pid/status"
  inside grep -q '^CapEff:	0000000000000000' "/proc/$pid/status" || return
  inside grep -q '^NoNewPrivs:	1' "/proc/$pid/status" || return
  inside grep -q '^Seccomp:	2' "/proc/$pid/status" || return
  ! inside grep -q '^Uid:	0' "/proc/$pid/status" || return
  # What the file system is like for it: nothing but its own directories may be written.
  [[ $(inside nsenter --mount --target "$pid" findmnt -n -o OPTIONS / 2>&1) == ro* ]] || return
  inside nsenter --mount --target "$pid" sh -c '! ls /root/* 2>/dev/null | grep .'
}
check "it runs as a user of its own, without capabilities, in a file system that it can't write" is_confined
check "what it keeps is in its state directory" inside sh -c 'ls /var/lib/private/nixery/storage/layers/* | grep -q .'
check "and not readable for others" inside sh -c 'stat -c %a /var/lib/private/nixery | grep -x 750'
check "the journal has its messages, with fields" journal \
  '(.TARGET | tostring | startswith("nixery")) and .PRIORITY != null and .NIXERY_ADDRESS != null'

before=$(property MainPID)
check "systemctl reload" inside systemctl reload nixery.service
check "… has it read the popularity table again" journal '.MESSAGE | tostring | test("popularity"; "i")'
status=0
[[ $(property MainPID) == "$before" ]] || status=1
result "$((status == 0))" "… in the same process"

first=$(manifest | sha256sum)
check "systemctl restart" inside systemctl restart nixery.service
second=$(manifest | sha256sum)
printf '%s\n%s\n' "$first" "$second" >"$work/output"
result "$([[ $first == "$second" && $(property MainPID) != "$before" ]] && echo 1 || echo 0)" \
  "… keeps what was made, in another process"

main=$(property MainPID)
inside systemctl kill --kill-who=main --signal=STOP nixery.service
# shellcheck disable=SC2317,SC2329 # called by wait_until
is_another() { [[ $(property MainPID) != "$main" && $(property ActiveState) == active ]]; }
wait_until 60 "$dockerd" is_another
check "the watchdog restarts a server that hangs" is_another
check "… which systemd says" journal '.MESSAGE | tostring | test("Watchdog timeout")'
check "… and that serves" manifest

main=$(property MainPID)
inside systemctl kill --kill-who=main --signal=KILL nixery.service
wait_until 60 "$dockerd" is_another
check "one that was killed is started again" manifest

check "systemctl stop" inside systemctl stop nixery.service
inside systemctl show nixery.service >"$work/output"
result "$([[ $(property Result) == success && $(property ActiveState) == inactive ]] && echo 1 || echo 0)" "… ends it well"

# A server that can't write where it keeps images isn't started.
override wrong Environment=STORAGE_PATH=/srv/images Restart=no
refused "one that can't use its storage isn't ready" "" inside systemctl start nixery.service
check "… and the journal says why" journal '.MESSAGE | tostring | test("/srv/images")'

# --- The socket -----------------------------------------------------------------------

install_units socket
# Set to be elsewhere than in the unit's own directories.
inside install -d -m 1777 /srv/nixery-cache
port=$(free_port 5001)
inside sed -i "s/:5001/:$port/" /etc/systemd/system/nixery.socket
inside systemctl daemon-reload
echo NIXERY_LOG_FORMAT=json >"$work/etc/environment"
check "the units of socket activation are right" \
  inside sh -c 'systemd-analyze verify /etc/systemd/system/nixery*.*[a-ce-z]'
inside systemctl start nixery.socket
result "$([[ $(property ActiveState) == inactive ]] && echo 1 || echo 0)" "systemd listens, without a server"
check "the first connection starts it" fetch /readyz
result "$([[ $(property ActiveState) == active ]] && echo 1 || echo 0)" "… by systemd"
check "its environment file holds" journal '.MESSAGE | tostring | test("^{.*\"message\":\"serving\"")'
check "what was kept is served" manifest
check "a directory elsewhere is used" inside sh -c 'ls /srv/nixery-cache | grep -q .'

# restarts: three times, while four clients connect as fast as they can.
# shellcheck disable=SC2317,SC2329 # called by check
restarts() {
  local client clients=()
  rm -f "$work/stop"
  for client in 1 2 3 4; do
    while [[ ! -e $work/stop ]]; do
      if fetch /v2/ >/dev/null 2>>"$work/refused"; then echo >>"$work/answered.$client"; else echo failed >>"$work/refused"; fi
    done &
    clients+=($!)
  done
  for _ in 1 2 3; do
    inside systemctl restart nixery.service || echo "not restarted" >>"$work/refused"
    sleep 1
  done
  touch "$work/stop"
  wait "${clients[@]}"
  echo "$(cat "$work"/answered.* | wc -l) answers"
  cat "$work/refused"
  [[ ! -s $work/refused && $(cat "$work"/answered.* | wc -l) -gt 50 ]]
}
check "no connection is refused while it is restarted" restarts
sed 's/^/# /' "$work/output" | head -n 1

check "garbage is collected by the timer's service" inside systemctl start nixery-gc.service
check "… and the timer waits" inside systemctl start nixery-gc.timer
check "what is in use stays" manifest

. "$(dirname "${BASH_SOURCE[0]}")/systemd/tls-and-unix.sh"

if ((failed)); then
  echo "# the end of the journal:"
  inside journalctl --no-pager --lines 40 | cut -c 1-300 | sed 's/^/#   /'
fi
summarize
