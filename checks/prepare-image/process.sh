# shellcheck shell=bash
# shellcheck disable=SC2016 # text in single quotes is jq or Nix
# shellcheck disable=SC2034,SC2154 # variables of prepare-image.sh and its other parts
# The builder as a process: what it is started with, beside others, and signals.

# --- Surroundings ------------------------------------------------------------------------

NIX_PATH=nixpkgs=/absent:garbage=%%% ask_for hello
prepares "garbage in NIX_PATH"
HOME=/proc/absent ask_for hello
prepares "a home that cannot be written"
(unset HOME && ask_for hello && exit "$status")
status=$?
prepares "no home"
CDPATH=/tmp BASH_ENV=/dev/null LC_ALL=tr_TR.UTF-8 ask_for bashinteractive
prepares "another language"
status=0
"$builder" <<<"$(jq -c '.packages = ["loud2"]' <<<"$good")" 2> >(head -n 1 >/dev/null) >"$work/reply" || status=$?
prepares "a reader of the log that leaves"
ln -s "$builder" "$work/link"
status=0
(cd / && "$work/link" <<<"$good" >"$work/reply" 2>"$work/stderr") || status=$?
prepares "the program through a symbolic link"
status=0
PATH=/absent /bin/bash "$builder" <<<"$good" >"$work/reply" 2>"$work/stderr" || status=$?
check "without its tools the program itself fails" test "$status" -gt 1 -a ! -s "$work/reply"
check "--version prints a version" grep -q 'protocol 1' <("$builder" --version)
check "--help prints help" grep -q Usage <("$builder" --help)

ask_slow() {
  mkdir -p "$work/roots-$1"
  jq -c --arg roots "$work/roots-$1" '.packages = ["slow", "hello"] | .roots = $roots' <<<"$good" \
    | "$builder" >"$work/reply-$1" 2>"$work/stderr-$1"
}
ask_slow 1 &
one=$!
ask_slow 2
status=$?
wait "$one" || status=$?
cp "$work/reply-1" "$work/reply"
prepares "two runs at once"
check "… give the same reply" cmp "$work/reply-1" "$work/reply-2"

# --- Signals -----------------------------------------------------------------------------

running() { pgrep -f "sleep $1\$"; }

# ends HOW SECONDS PACKAGE: a build that hangs in `sleep SECONDS` is ended by a
# signal to the program alone (HOW empty) or to its process group ("-").
ends() {
  local how=$1 seconds=$2 pid
  jq -c --arg package "$3" '.packages = [$package]' <<<"$good" >"$work/request"
  setsid "$builder" <"$work/request" >"$work/reply" 2>"$work/stderr" &
  pid=$!
  for _ in {1..100}; do
    running "$seconds" >/dev/null && break
    sleep 0.1
  done
  kill -TERM -- "$how$pid"
  status=0
  wait "$pid" || status=$?
  for _ in {1..20}; do
    running "$seconds" >/dev/null || break
    sleep 0.1
  done
}
ends '' 86411 hanging
check "SIGTERM to the program ends it" test "$status" -eq 143
check "… and the build" test -z "$(running 86411)"
check "… which had begun, and was heard of at once" grep -q started "$work/stderr"
ends - 86412 hangingtoo
check "SIGTERM to the process group ends the program" test "$status" -eq 143
check "… and the build" test -z "$(running 86412)"
jq -c '.packages = ["spins"]' <<<"$good" >"$work/request"
"$builder" <"$work/request" >"$work/reply" 2>"$work/stderr" &
spinning=$!
sleep 1
kill -TERM "$spinning"
status=0
wait "$spinning" || status=$?
check "SIGTERM during an evaluation ends the program" test "$status" -eq 143
check "… and the evaluation" test -z "$(pgrep -f "nix-instantiate.*$work")"
check "nothing temporary is left" test -z "$(find "$TMPDIR" -name 'nixery-prepare-image.*')"
