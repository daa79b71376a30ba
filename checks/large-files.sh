#!/usr/bin/env bash
# Packs sparse files of 6 and 9 GB, prints how long that takes and in how much memory, and
# has GNU tar read the layer. Takes a few minutes, and needs next to no disk.
#
# Usage: checks/large-files.sh

set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec cargo test --release -p nixery --lib -- --ignored --nocapture --exact \
  archive::layer::tests::sparse_files_of_gigabytes_are_packed_in_little_memory
