# shellcheck shell=bash
# What the scripts share, by job, in lib/: they source this file first, and lib/judge.sh
# where they judge.
#
# Everything here says what it does on standard error.

# shellcheck disable=SC2034 # for the scripts that use this file
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034
cache=${XDG_CACHE_HOME:-${HOME:?}/.cache}/nixery

# dockerd and runc are where only root's PATH leads.
PATH=$PATH:/usr/sbin:/sbin

# Started with standard input closed, the first file opened would become it.
{ : <&0; } 2>/dev/null || exec </dev/null

say() { echo "${0##*/}: $*" >&2; }
die() {
  say "error: $*"
  exit 1
}
has() { type -P "$1" >/dev/null; }

# usage: the comment at the top of the script.
usage() { sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; }

# explain "$@": ends a script with its usage, as --help asks for it or its arguments are wrong.
explain() {
  if [[ $1 == --help || $1 == -h ]]; then
    usage
    exit
  fi
  usage >&2
  exit 64
}

# no_arguments "$@": for a script that takes none but --help.
no_arguments() { if (($#)); then explain "$@"; fi; }

# need_root WHY: for a script that can't use as_root.
need_root() { ((EUID == 0)) || die "$1: root is needed"; }

. "$(dirname "${BASH_SOURCE[0]}")/lib/processes.sh"
. "$(dirname "${BASH_SOURCE[0]}")/lib/install.sh"
. "$(dirname "${BASH_SOURCE[0]}")/lib/packages.sh"
. "$(dirname "${BASH_SOURCE[0]}")/lib/servers.sh"
