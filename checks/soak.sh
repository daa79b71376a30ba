#!/usr/bin/env bash
# Uses the server at length, and prints figures: it is killed at random moments and
# must lose nothing; and it is used for a day of 24 hours that pass in minutes, and
# must not grow.
#
# Usage: checks/soak.sh [KILLS [BUCKET_KILLS [HOURS]]]
#
# Defaults are 100, 10 and 24. NIXERY_TEST_SEED (1) is another choice of images and
# moments. Needs what the suite rust of checks/test.sh needs; the packages are the
# offline set of real ones, or what NIXERY_TEST_PACKAGES names.

set -euo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

for argument; do
  case $argument in
    --help | -h) usage; exit ;;
    *[!0-9]* | '') die "$argument is no number; see --help" ;;
  esac
done

export NIXERY_TEST_SOAK=1 NIXERY_TEST_KILLS=${1:-100} NIXERY_TEST_BUCKET_KILLS=${2:-10}
export NIXERY_TEST_HOURS=${3:-24} NIXERY_TEST_HOUR_MS=5000
cd "$repository"
# One after the other, as each watches the processes that it started.
exec cargo test --package nixery --test it --locked -- soak:: --nocapture --test-threads 1
