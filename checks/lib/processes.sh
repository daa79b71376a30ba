# shellcheck shell=bash
# A script's own directory and processes, of which nothing is left when it ends.

started=() # the ids of processes that end with the script, the last one first

# at_exit COMMAND: is run when the script ends, by a signal too.
at_exit() {
  # shellcheck disable=SC2064 # expanded now
  trap "trap '' INT TERM HUP; $1" EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
}

# work_in NAME: makes a directory and sets $work to it. It is removed when the script ends,
# and what the script has started is ended.
work_in() {
  # Short, as the paths of sockets may have 107 characters only.
  work=$(cd "$(mktemp -d "/tmp/nixery-$1.XXXXXX")" && pwd -P) || exit
  at_exit clean_up
}

clean_up() {
  end_all
  if [[ -n ${work-} ]]; then remove_tree "$work"; fi
}

# end_all: what the script has started, and the containers of its Docker daemon.
end_all() {
  if [[ -n ${dockerd-} ]]; then
    docker ps --all --quiet 2>/dev/null | xargs --no-run-if-empty docker rm --force >/dev/null 2>&1
  fi
  while ((${#started[@]})); do end "${started[-1]}"; done
}

# end PID: ends a process that this script started, and waits for it.
end() {
  forget "$1"
  kill -TERM "$1" 2>/dev/null || return 0
  for _ in {1..350}; do
    kill -0 "$1" 2>/dev/null || break
    sleep 0.1
  done
  kill -KILL "$1" 2>/dev/null
  wait "$1" 2>/dev/null
  return 0
}

# forget PID: a process that has ended, whose id may be that of another one soon.
forget() {
  local pid others=()
  for pid in "${started[@]}"; do
    if [[ $pid != "$1" ]]; then others+=("$pid"); fi
  done
  started=("${others[@]}")
}

# attend COMMAND…: runs it, and heeds signals at once rather than when it ends.
attend() {
  local status=0 pid
  "$@" <&0 &
  pid=$!
  started+=("$pid")
  wait "$pid" || status=$?
  forget "$pid"
  return "$status"
}

# wait_until SECONDS PID COMMAND…: until it succeeds, as long as the process lives.
wait_until() {
  local deadline=$((SECONDS + $1)) pid=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    if ! kill -0 "$pid" 2>/dev/null || ((SECONDS > deadline)); then return 1; fi
    sleep 0.2
  done
}

# remove_tree DIR: with what is mounted below it, and what may not be written.
remove_tree() {
  local mount
  while read -r mount; do
    umount "$mount" 2>/dev/null
  done < <(awk -v below="$1/" 'index($5, below) == 1 { print $5 }' /proc/self/mountinfo | sort -r)
  rm -rf "$1" 2>/dev/null && return
  chmod -R u+w "$1" 2>/dev/null
  rm -rf "$1"
}
