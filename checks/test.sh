#!/usr/bin/env bash
# Runs every test, and installs what they need and is missing.
#
# Usage: checks/test.sh [--all] [SUITE…]
#
# Suites:
#   fmt            layout of the Rust files
#   clippy         lints of the Rust files; warnings are errors
#   rust           unit tests, and tests of the server with Nix and real packages
#   scripts        shellcheck of the scripts
#   nix            syntax of the Nix files; layout and lints too, with those of nixfmt,
#                  statix and deadnix that are on PATH
#   builder        nix/prepare-image with the Nix that is here
#   packages       the offline package set, and its programs
#   gcs-emulator   the emulator of Google Cloud Storage that the others use
#   api            the HTTP API against its description, by schemathesis, which is installed
#                  with pip
#   clients        docker, podman, skopeo, buildah and containerd; needs root
#   systemd        the module's units under a real systemd; needs root
#   network        clients whose cable is cut; needs root
#   disk           disks that are full, read-only and have errors; needs root
#   own-image      Nixery's own image in docker, assembled without nixpkgs; needs root
#   browser        the server's pages in Chromium, while docker pulls; needs root, and
#                  axe-core, which is downloaded
#   book           the book: that it is known of each command how it is run or why not,
#                  that mdbook can build it, and that its links lead somewhere
#   tutorial       the commands that the book shows, of the tutorial and of all pages;
#                  needs root
#   soak           the server used at length: killed 100 times, and for a simulated day;
#                  only when named, or with --all
#   nix-versions   the builder with newer versions of Nix, which are downloaded;
#                  only when named, or with --all
#   evaluate       the flake and the module, with nixpkgs, which is downloaded; only
#                  when named, or with --all; wants Nix 2.18 or later
#
# With SUITE, only those are run. On Debian, apt installs what is missing, as root
# or by sudo; on other systems the script says what that is. At the end it names the tests
# that failed; the last line counts those of all suites. The exit status is 0 if none
# failed.

set -uo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

all=(fmt clippy scripts nix builder packages gcs-emulator rust api book clients systemd network disk own-image tutorial browser)
more=(soak nix-versions evaluate)
suites=()
for argument; do
  case $argument in
    --help | -h) usage; exit ;;
    --all) suites+=("${all[@]}" "${more[@]}") ;;
    *)
      if [[ " ${all[*]} ${more[*]} " != *" $argument "* ]]; then
        say "error: there is no suite $argument; see --help"
        exit 64
      fi
      suites+=("$argument")
      ;;
  esac
done
((${#suites[@]})) || suites=("${all[@]}")

wants() { [[ " ${suites[*]} " == *" $1 "* ]]; }

# --- Suites ---------------------------------------------------------------------------

suite_fmt() { cargo fmt --all --check; }
suite_clippy() { cargo clippy --workspace --all-targets --locked -- -D warnings; }
# Most tests wait for Nix, or for a time to pass.
suite_rust() { RUST_TEST_THREADS=${RUST_TEST_THREADS:-$(($(nproc) * 2))} cargo test --workspace --locked --no-fail-fast; }
suite_builder() { checks/prepare-image.sh; }
suite_packages() { checks/debian-packages/check.sh "$packages"; }
suite_soak() { checks/soak.sh; }
suite_nix-versions() { checks/nix-versions.sh; }
suite_gcs-emulator() { judge "the emulator behaves like the service" checks/gcs-emulator/test.py; }
suite_api() { checks/api.sh; }
suite_clients() { checks/clients.sh; }
suite_systemd() { checks/systemd.sh; }
suite_network() { checks/network.sh; }
suite_disk() { checks/disk.sh; }
suite_own-image() { checks/own-image.sh; }
suite_browser() { checks/browser.sh; }
suite_tutorial() { checks/tutorial.sh; }
suite_evaluate() { checks/evaluate.sh; }

# files PATTERN…: the files of the repository, as git knows them.
files() { git ls-files --cached --others --exclude-standard -- "$@" | sort; }

suite_scripts() {
  local file bad=0
  while IFS= read -r file; do
    if [[ $file == *.sh || $(head -c 64 "$file" | head -n 1) =~ ^#!.*(ba)?sh ]]; then
      judge "$file" shellcheck -x "$file" || bad=1
    fi
  done < <(files checks nix .ci)
  return "$bad"
}

suite_nix() {
  local file bad=0 nix_files
  mapfile -t nix_files < <(files '*.nix')
  for file in "${nix_files[@]}"; do
    judge "$file" nix-instantiate --parse "$file" || bad=1
  done
  lint nixfmt --check "${nix_files[@]}" || bad=1
  lint statix check . || bad=1
  lint deadnix --fail . || bad=1
  return "$bad"
}

suite_book() {
  local bad=0
  judge "the tests of what finds and compares commands" checks/book/test.py || bad=1
  judge "of each command it is known how it is run, or why not" checks/book/commands.py --check || bad=1
  judge "mdbook build" mdbook build --dest-dir "$work/book" book || bad=1
  judge "all that the built pages refer to is there" checks/book/links.py "$work/book" || bad=1
  return "$bad"
}

# lint COMMAND…: where there is such a program; Debian has none of them.
lint() {
  if has "$1"; then
    judge "$1" "$@"
  else
    echo "# skipped: $1 is not on PATH"
  fi
}

# judge NAME COMMAND…: one test of a suite that has no script of its own.
judge() {
  local printed
  if printed=$("${@:2}" 2>&1); then
    echo "ok - $1"
  else
    echo "not ok - $1"
    printf '%s\n' "$printed" | sed 's/^/#   /'
    return 1
  fi
}

# --- Running them ------------------------------------------------------------------------

# count FILE: passed, failed and skipped tests, from what a suite printed: lines
# of TAP, of `cargo test`, or the last words of the other scripts.
count() {
  awk '
    /^[0-9]+ passed, [0-9]+ failed$/ { passed += $1; failed += $3; counted = 1 }
    /^test result: / { gsub(/[^0-9 ]/, ""); passed += $1; failed += $2; skipped += $3; counted = 1 }
    /^ok - / { oks++ }
    /^not ok - / { bads++ }
    END {
      if (!counted) { passed = oks; failed = bads }
      print passed + 0, failed + 0, skipped + 0
    }' "$1"
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
summary=() failures=() passed=0 failed=0 skipped=0

# name_failures SUITE: the tests of it that failed, a line each, from what it has printed:
# TAP, or as `cargo test` does.
name_failures() { # SUITE
  local names
  names=$(sed -n 's/^not ok - //p; s/^test \(.*\) \.\.\. FAILED$/\1/p' "$work/output" | sed "s/^/$1: /")
  printf '%s\n' "${names:-$1: it broke off, or is one test}"
}

run_suite() { # NAME
  local status=0 began=$SECONDS good bad left
  echo "=== $1"
  (cd "$repository" && "suite_$1") </dev/null 2>&1 | tee "$work/output" || status=$?
  read -r good bad left < <(count "$work/output")
  case $1 in
    fmt | clippy) good=$((status == 0)) ;; # are one test
  esac
  # One that broke off before it could count, or tested nothing, has failed.
  if ((bad == 0 && (status != 0 || good == 0))); then bad=1; fi
  if ((bad)); then mapfile -t -O "${#failures[@]}" failures < <(name_failures "$1"); fi
  passed=$((passed + good)) failed=$((failed + bad)) skipped=$((skipped + left))
  summary+=("$(printf '%-14s%5d passed %5d failed %5d s' "$1" "$good" "$bad" "$((SECONDS - began))")")
}

began=$SECONDS
programs=(git jq curl certificates)
if wants clippy || wants rust || wants soak || wants api || wants clients || wants systemd || wants network || wants disk || wants own-image || wants tutorial || wants browser; then programs+=(cc); fi
if wants rust || wants soak || wants api || wants nix || wants builder || wants packages || wants nix-versions; then programs+=(nix nix-store nix-instantiate); fi
if wants scripts; then programs+=(shellcheck); fi
if wants builder || wants nix-versions; then programs+=(python3 pgrep); fi
if wants book; then programs+=(python3 cc); fi
if wants gcs-emulator || wants rust || wants soak; then programs+=(python3 venv openssl); fi
if wants api; then programs+=(python3 venv); fi
need "${programs[@]}"
if wants fmt || wants clippy || wants rust || wants soak; then need_rust rustfmt clippy; fi
if wants rust || wants soak || wants packages; then
  prepare_packages
  export NIXERY_TEST_PACKAGES=$packages
fi
if wants book || wants tutorial; then need_mdbook; fi
if [[ -z ${NIXERY-} ]] && { wants api || wants clients || wants systemd || wants network || wants disk || wants own-image || wants tutorial || wants browser; }; then
  # Not optimised, as the suite rust has it: compiling it takes longer than it saves.
  need_rust
  target=$(cd "$repository" && cargo build --workspace --locked >&2 \
    && cargo metadata --locked --no-deps --format-version 1 | jq -r .target_directory) \
    || die "the server could not be built"
  export NIXERY=$target/debug/nixery
fi
PATH=$repository/nix/prepare-image:$PATH
summary+=("$(printf '%-40s%5d s' 'getting ready' "$((SECONDS - began))")")

for suite in "${suites[@]}"; do
  run_suite "$suite"
done

echo
printf '%s\n' "${summary[@]}"
printf '%-40s%5d s\n' together "$((SECONDS - began))"
echo
if ((failed)); then
  printf 'failed: %s\n' "${failures[@]}"
  echo
fi
if ((skipped)); then
  echo "$passed passed, $failed failed, $skipped skipped"
else
  echo "$passed passed, $failed failed"
fi
((failed == 0))
