#!/usr/bin/env bash
# Has the disk of a server's storage fail in every way: full, read-only, with errors when
# it is written, synced, renamed on or read. Nothing wrong may be served after, nothing
# be lost that was acknowledged, and the server has to be back when the disk is, without
# being restarted.
#
# Usage: checks/disk.sh
#
# Needs root, for small file systems of their own: ext4 on loop devices. Errors come from a
# library that is preloaded (checks/disk/faults.c), from strace where that may trace, and
# from a disk that has less behind it than it says. Takes about a minute.

set -uo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$(dirname "${BASH_SOURCE[0]}")/lib/judge.sh"

no_arguments "$@"
need_root "file systems are mounted here"
work_in disk

need git jq curl cc openssl mkfs.ext4 strace
pin_test_packages
build_server
cc -shared -fPIC -O1 -o "$work/faults.so" "$repository/checks/disk/faults.c" -ldl || die "checks/disk/faults.c does not compile"

configure_server "$pinned"
export NIXERY_LOG_FORMAT=text FAULT_DIR=$work/disk FAULT_FILE=$work/fault
disk=$work/disk storage=$work/disk/storage
mkdir "$disk"

# --- The disk ---------------------------------------------------------------------

# new_disk MB [DIRECTORY]: an empty one; DIRECTORY has the file behind it.
new_disk() {
  local file=${2:-$work}/disk.img
  rm -f "$file"
  truncate -s "$1M" "$file"
  # No journal, as it would keep the file system from being written again after an error.
  mkfs.ext4 -q -m 0 -O ^has_journal -E nodiscard "$file" || die "mkfs.ext4 failed"
  mount -o loop,errors=remount-ro "$file" "$disk" || die "a loop device could not be mounted"
}

# leave KB: fills the disk up to so much.
leave() {
  rm -f "$disk/ballast"
  local free
  free=$(df --output=avail -k "$disk" | tail -n 1)
  fallocate -l "$((free - $1))K" "$disk/ballast" 2>/dev/null
}

fault() { echo "$*" >"$FAULT_FILE"; }
no_fault() { rm -f "$FAULT_FILE"; }

# --- The server ----------------------------------------------------------------------

start() { # VARIABLE…
  port=$(free_port)
  rm -rf "$work/state"
  mkdir "$work/state"
  start_server "$work/log" env PORT="$port" STORAGE_PATH="$storage" NIXERY_STORAGE_MIN_FREE=0 "$@" \
    LD_PRELOAD="$work/faults.so"
}

stop() { end "$server"; }

get() { curl -s --noproxy '*' --max-time 60 "$@"; }

# ask IMAGE: its manifest, in $work/manifest; prints the status.
ask() {
  get -o "$work/manifest" -D "$work/head" -w '%{http_code}' "http://127.0.0.1:$port/v2/$1/manifests/latest"
}

# blobs IMAGE MANIFEST: gets all that it names and compares it.
blobs() {
  local digest
  while read -r digest; do
    get -f "http://127.0.0.1:$port/v2/$1/blobs/$digest" | sha256sum | grep -q "^${digest#sha256:} " || {
      echo "$1: $digest is not what is served"
      return 1
    }
  done < <(jq -r '.config.digest, .layers[].digest' "$2")
}

acknowledged=0
# pull IMAGE: has to succeed; is checked again ever after.
pull() {
  local status
  status=$(ask "$1")
  if [[ $status != 200 ]]; then
    echo "$1: $status $(head -c 300 "$work/manifest")"
    return 1
  fi
  mkdir -p "$work/acknowledged"
  cp "$work/manifest" "$work/acknowledged/${1//\//+}"
  acknowledged=$((acknowledged + 1))
  blobs "$1" "$work/manifest"
}

# is_refused STATUS IMAGE: with a registry error. STATUS is a pattern.
is_refused() {
  local status
  status=$(ask "$2")
  echo "$status $(head -c 300 "$work/manifest")"
  # shellcheck disable=SC2053
  [[ $status == $1 ]] && jq -e '.errors[0].code' "$work/manifest" >/dev/null
}

# nothing_unfinished: layers that were packed at the same time stop as soon as they notice.
nothing_unfinished() { [[ -z $(find "$storage" -name '.tmp-*') ]]; }

checked=0
# all_is_well: nothing is unfinished; every blob is what it is called, on the disk and as
# served; everything that was acknowledged is there, byte by byte.
all_is_well() {
  local file image manifest digest
  wait_until 5 "$server" nothing_unfinished || { find "$storage" -name '.tmp-*' && return 1; }
  for file in "$storage"/layers/*; do
    digest=${file##*/}
    checked=$((checked + 1))
    [[ $(sha256sum <"$file") == "$digest  -" ]] || { echo "$digest is damaged on the disk"; return 1; }
    get -f "http://127.0.0.1:$port/v2/x/blobs/sha256:$digest" | sha256sum | grep -q "^$digest " \
      || { echo "$digest is served otherwise"; return 1; }
  done
  for manifest in "$work"/acknowledged/*; do
    [[ -e $manifest ]] || continue
    image=${manifest##*/} image=${image//+//}
    digest=sha256:$(sha256sum <"$manifest" | cut -d ' ' -f 1)
    get -f "http://127.0.0.1:$port/v2/$image/manifests/$digest" | cmp - "$manifest" || return 1
    blobs "$image" "$manifest" || return 1
  done
}

# --- Full ---------------------------------------------------------------------------

new_disk 80
start
check "an image is pulled" pull one
no_room=0 went_on=0
for kb in 0 4 12 24 48 96 160 240 400 800; do
  leave "$kb"
  case $(ask two/three/four) in
    503) no_room=$((no_room + 1)) ;;
    200) went_on=$((went_on + 1)) ;;
    *) no_room=-100 ;;
  esac
  wait_until 5 "$server" nothing_unfinished || no_room=-100
done
echo "# with 0 to 800 KB free: refused with 503 $no_room times, made $went_on times"
echo "$no_room" >"$work/output"
result "$((no_room > 2 && went_on > 0))" "a disk that fills up is 503, wherever it is reached, and leaves nothing unfinished"
leave 15000
check "in the middle of a layer of 30 MB it is 503" is_refused 503 large
check "an image that is there is served from a full disk" pull one
check "nothing is wrong, and nothing lost" all_is_well
rm "$disk/ballast"
check "with room again, images are made" pull large
check "and the others" pull two/three/four
stop

# --- Room is left free ------------------------------------------------------------------

start NIXERY_STORAGE_MIN_FREE=20
leave 10000
began=$SECONDS
check "below storage.min_free no image is begun" is_refused 503 five
check "while those that are there are served" pull large
rm "$disk/ballast"
check "they are made again when there is room" pull five
echo "# refused and back within $((SECONDS - began)) s"
check "nothing is wrong, and nothing lost" all_is_well

# --- Read-only ----------------------------------------------------------------------------

# As what is marked as used is marked again only after a while.
find "$storage" -type f -exec touch -d '2 days ago' {} +
stop
start
# Marks of all that is asked for from now on are refused, in a new process.
mount -o remount,ro "$disk"
check "images are served from a disk that is read-only" pull large
check "and those that are new are refused" is_refused 500 one/four
sleep 2 # for which the answer of before is remembered
prints "the server says that it is not ready" 503 get -o /dev/null -w '%{http_code}' "http://127.0.0.1:$port/readyz"
mount -o remount,rw "$disk"
check "it goes on when the disk does" pull one/four
sleep 2 # for which the answer is remembered
prints "and is ready" ready get "http://127.0.0.1:$port/readyz"

stop

# By an error of the file system, while a layer is being written.
umount "$disk"
new_disk 80
rm -rf "$work/acknowledged"
device=$(findmnt -no SOURCE "$disk")
trigger=/sys/fs/ext4/${device#/dev/}/trigger_fs_error
# is_writing: whether a large layer is half there.
is_writing() { [[ -n $(find "$storage" -name '.tmp-*' -size +512k) ]]; }
# breaks_while_writing IMAGE: its status must be 500.
breaks_while_writing() {
  local client
  ask "$1" >"$work/status" &
  client=$!
  until is_writing; do kill -0 "$client" || return; done
  echo 1 >"$trigger"
  wait "$client"
  cat "$work/status"
  [[ $(<"$work/status") == 500 ]]
}
if [[ -w $trigger ]]; then
  start
  pull one >/dev/null
  check "an error of the file system in the middle of a layer is 500" breaks_while_writing large
  check "what is there is served still" pull one
  # Newer kernels want it to be mounted anew.
  umount "$disk" && mount -o "loop,errors=remount-ro" "$work/disk.img" "$disk"
  check "it goes on when the disk is mounted again" pull large
  # The server could not remove it then; it does so at its next start, or within hours.
  find "$storage" -name '.tmp-*' -delete
  check "nothing is wrong, and nothing lost" all_is_well
  stop
else
  echo "# skipped: this kernel has no errors of ext4 to be triggered"
fi

# --- Errors -------------------------------------------------------------------------------

for call in write fsync; do
  umount "$disk"
  new_disk 80
  rm -rf "$work/acknowledged"
  start
  pull one >/dev/null
  fault "$call"
  check "an error of $call fails the image" is_refused 500 two/three
  check "that of a large layer too" is_refused 500 large
  check "what is there is served meanwhile" pull one
  no_fault
  check "nothing is wrong after errors of $call, and nothing lost" all_is_well
  check "and images are made again" pull two/three
  check "large ones too" pull large
  stop
done

start
fault read
large=$(jq -r '.layers | max_by(.size).digest' "$work/acknowledged/large")
prints "a blob that can't be read when it is looked at first is 500" 500 \
  get -o /dev/null -w '%{http_code}' "http://127.0.0.1:$port/v2/large/blobs/$large"
no_fault
check "and is there when it can" blobs large "$work/acknowledged/large"
# Out of memory, so that it comes from the disk.
sync "$storage/layers/${large#*:}"
dd if="$storage/layers/${large#*:}" iflag=nocache count=0 status=none
fault pread 10000000
run get -f -o "$work/blob" "http://127.0.0.1:$port/v2/large/blobs/$large"
echo "curl ended with $status, $(stat -c %s "$work/blob") bytes" >>"$work/output"
# 18: the transfer was closed before all had come.
result "$((status == 18))" "an error in the middle of a blob breaks the connection"
echo "# $(tail -n 1 "$work/output")"
no_fault
check "nothing is wrong after errors of reads, and nothing lost" all_is_well

# For names, calls go around the library. It is known already which ones there will be.
pull four/one >/dev/null
mapfile -t names < <(find "$storage" -type f -newer "$work/blob")
stop
umount "$disk"
new_disk 80
rm -rf "$work/acknowledged"
start
pull one >/dev/null
strace -f -qq -o "$work/strace" -e trace=rename,renameat,renameat2 \
  -e inject=rename,renameat,renameat2:error=EIO "${names[@]/#/-P}" -p "$server" 2>"$work/output" &
tracer=$!
started+=("$tracer")
is_traced() { grep -q '^TracerPid:[[:space:]]*[1-9]' "/proc/$server/status"; }
if wait_until 10 "$tracer" is_traced; then
  check "an error of rename fails the image" is_refused 500 four/one
  echo "# $(grep -c INJECTED "$work/strace") names were refused"
  check "what is there is served meanwhile" pull one
  end "$tracer"
  check "nothing is wrong after errors of rename, and nothing lost" all_is_well
  check "and images are made again" pull four/one
else
  echo "# skipped: strace can't trace here: $(<"$work/output")"
  end "$tracer"
fi
stop
umount "$disk"

# --- A disk with less behind it than it says --------------------------------------------

# What is written is taken, and lost when it is synced.
mkdir "$work/behind"
mount -t tmpfs -o size=24m none "$work/behind"
rm -rf "$work/acknowledged"
new_disk 80 "$work/behind"
start
pull one >/dev/null
check "what is lost when it is synced fails the image" is_refused "50[03]" large
mount -o remount,size=120m "$work/behind"
mount -o remount,rw "$disk" 2>/dev/null
check "nothing is wrong, and nothing lost" all_is_well
check "and images are made when there is more behind the disk" pull large
check "whole" all_is_well
stop
umount "$disk"
# The loop device gives it back a moment later.
for _ in {1..50}; do
  if umount "$work/behind" 2>/dev/null; then break; fi
  sleep 0.1
done

echo "# $acknowledged pulls were acknowledged; $checked blobs compared with their digests"
summarize
