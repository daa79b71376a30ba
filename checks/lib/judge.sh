# shellcheck shell=bash
# shellcheck disable=SC2154 # $work is of the script that uses this file
# How scripts judge: each test is a line of TAP, and what a command printed is shown where
# it failed. It is in $work, a directory.

passed=0 failed=0 status=0

result() { # GOOD DESCRIPTION
  if (($1)); then
    passed=$((passed + 1))
    echo "ok - $2"
  else
    failed=$((failed + 1))
    echo "not ok - $2"
    echo "#   status $status; printed:"
    show_output
  fi
}

# show_output: what the last command printed, for a test that failed.
show_output() { tail -n 15 "$work/output" | cut -c 1-500 | sed 's/^/#   /'; }

run() {
  status=0
  # A function of the script has to know by itself when to end.
  if [[ $(type -t "$1") == function ]]; then
    "$@" >"$work/output" 2>&1 </dev/null || status=$?
  else
    timeout 300 "$@" >"$work/output" 2>&1 </dev/null || status=$?
  fi
}

# check DESCRIPTION COMMAND…: succeeds.
check() {
  run "${@:2}"
  result "$((status == 0))" "$1"
}

# prints DESCRIPTION TEXT COMMAND…: succeeds, and prints the text.
prints() {
  run "${@:3}"
  result "$((status == 0 && $(grep -cF -- "$2" "$work/output")))" "$1"
}

# refused DESCRIPTION TEXT COMMAND…: fails, and says the text.
refused() {
  run "${@:3}"
  result "$((status != 0 && $(grep -cF -- "$2" "$work/output")))" "$1"
}

# holds DESCRIPTION CONDITION FILE: a jq condition, for a JSON document.
holds() {
  cp "$3" "$work/output"
  status=0
  jq -e "$2" "$3" >/dev/null 2>&1 || status=$?
  result "$((status == 0))" "$1"
}

# summarize: prints how many passed and failed; the status says whether all did.
summarize() {
  echo "$passed passed, $failed failed"
  ((failed == 0))
}
