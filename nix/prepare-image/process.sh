# shellcheck shell=bash
# Running programs: their log streamed and its tail kept, and ended with us.
#
# Sourced by nixery-prepare-image; uses its $work directory.
# The variables that shellcheck misses are the main program's.
# shellcheck disable=SC2034,SC2154

# How much of a program's log is kept for error documents. A build may print
# gigabytes, with or without newlines.
readonly log_lines=200 log_bytes=65536 log_width=1000

child=
watcher=

# Passes a signal on to the program that is running, so that Nix ends its builds.
end_with_signal() {
  local number=$1 pids
  trap '' TERM INT HUP
  # The signal may have come before $child was set.
  mapfile -t pids <<<"${child:-$(jobs -p)}"
  kill -TERM "${pids[@]}" 2>/dev/null || :
  # Nix hardly looks for signals while it evaluates.
  for _ in {1..30}; do
    kill -0 "${pids[@]}" 2>/dev/null || break
    sleep 0.1
  done
  # Not waited for: bash 5.2 may wait here for ever, if it was in another wait before.
  kill -KILL "${pids[@]}" 2>/dev/null || :
  exit $((128 + number))
}

# Ends this program, and what it runs, when whoever started it is gone: then nobody
# is there to read the reply, or to say that it takes too long.
watch_parent() {
  local main=$$ parent=$PPID
  [[ -r /proc/$main/status ]] || return 0
  mkfifo "$work/never"
  (
    # A read from what is never written: a second's sleep without a process for it.
    exec {never}<>"$work/never"
    while status=$(<"/proc/$main/status"); do
      if [[ $status =~ PPid:[[:space:]]*([0-9]+) && ${BASH_REMATCH[1]} != "$parent" ]]; then
        kill -TERM "$main"
        IFS= read -r -t 10 -u "$never" _ || :
        kill -KILL "$main"
        exit
      fi
      IFS= read -r -t 1 -u "$never" _ || :
    done
  ) </dev/null >/dev/null 2>&1 &
  watcher=$!
  disown "$watcher"
}

# The tail of standard input, without escape sequences.
keep_tail() {
  fold -b -w "$log_width" | awk -v lines="$log_lines" -v bytes="$log_bytes" '
    {
      gsub(/\033\[[0-9;?]*[A-Za-z]/, "")
      gsub(/[\001-\010\013-\037\177]/, "")
      line[NR % lines] = $0
    }
    END {
      first = NR > lines ? NR - lines + 1 : 1
      for (start = NR + 1; start > first; start--) {
        size += length(line[(start - 1) % lines]) + 1
        if (size > bytes) break
      }
      for (i = start; i <= NR; i++) print line[i % lines]
    }'
}

# run OUTPUT COMMAND…: runs a program with its standard output in a file. Its
# standard error goes to ours as it appears, and the tail of it to $work/log.
# Returns the program's own status.
run() {
  local output=$1 status=0 tail_end tee_pid log log_in log_out tail tail_in tail_out
  shift
  # Opened here, both ends of each: who opened one end of a pipe, when we were killed
  # before somebody opened the other, would wait for that for ever.
  rm -f "$work/log.pipe" "$work/tail.pipe"
  mkfifo "$work/log.pipe" "$work/tail.pipe"
  # shellcheck disable=SC2094 # these are no files
  exec {log}<>"$work/log.pipe" {log_in}<"$work/log.pipe" {log_out}>"$work/log.pipe"
  # shellcheck disable=SC2094
  exec {tail}<>"$work/tail.pipe" {tail_in}<"$work/tail.pipe" {tail_out}>"$work/tail.pipe"
  exec {log}<&- {tail}<&-

  # Nothing is printed on this pipe: when it ends, the log is complete.
  exec {tail_end}< <(
    exec {log_in}<&- {log_out}>&- {tail_out}>&-
    keep_tail <&"$tail_in" >"$work/log"
  )
  # The program must not suffer when nobody reads our standard error any more.
  (
    exec {log_out}>&- {tail_in}<&-
    trap '' PIPE
    exec tee "/dev/fd/$tail_out" <&"$log_in" >&2 2>/dev/null
  ) &
  tee_pid=$!

  # In the background, for bash runs a trap only when no foreground program runs.
  "$@" </dev/null >"$output" 2>&"$log_out" \
    {log_in}<&- {log_out}>&- {tail_in}<&- {tail_out}>&- {tail_end}<&- &
  child=$!
  exec {log_in}<&- {log_out}>&- {tail_in}<&- {tail_out}>&-
  wait "$child" || status=$?
  child=

  # A connection that ssh keeps open for later holds the log open too.
  if ! end_of_file "$tail_end"; then
    kill "$tee_pid" 2>/dev/null || :
    end_of_file "$tail_end" || :
  fi
  exec {tail_end}<&-
  wait "$tee_pid" 2>/dev/null || :
  return "$status"
}

# Waits up to five seconds for the end of a file descriptor.
end_of_file() {
  local status=0
  IFS= read -r -t 5 -u "$1" _ || status=$?
  ((status <= 128))
}
