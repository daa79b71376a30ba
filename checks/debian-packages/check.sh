#!/usr/bin/env bash
# Checks the package set in DIR (made by prepare.sh): builds every attribute of
# packages.txt for SYSTEM (default: this machine's), looks into every store path
# of their closures, and, on its own system, runs the programs with nothing but
# the closure of the attributes that they are said to need.
#
# Needs Nix, patchelf and unshare; one line per check, then a count; exits 1 if
# one failed.
set -euo pipefail
shopt -s nullglob
export LC_ALL=C

[ $# -ge 1 ] || { echo "usage: check.sh DIR [SYSTEM]" >&2; exit 2; }
dir=$(realpath "$1")
host=$(nix-instantiate --eval -E builtins.currentSystem | tr -d '"')
system=${2:-$host}

# No binary cache has this set, and the builders use the host's own tools.
export NIX_CONFIG="${NIX_CONFIG-}
sandbox = false
substituters ="
unset NIX_PATH

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

report() { # NAME; the errors, if any, on stdin
  local errors
  errors=$(cat)
  if [ -z "$errors" ]; then
    passed=$((passed + 1))
    echo "ok - $1"
  else
    failed=$((failed + 1))
    echo "not ok - $1"
    # Enough to see what is wrong, not to bury the other lines.
    head -n 20 <<<"$errors" | sed 's/^/#   /'
  fi
}

# The ELF machine of the system, as the two bytes at offset 18 of a file.
case $system in
  x86_64-linux) machine=3e00 ;;
  aarch64-linux) machine=b700 ;;
  *) echo "check.sh: unknown system $system" >&2; exit 2 ;;
esac

## Building

declare -A output
build_all() {
  local attributes=() options=() attribute i=0 paths
  mapfile -t attributes < <(awk '!/^#/ && NF && $1 != "-" { print $1 }' "$dir/packages.txt")
  for attribute in "${attributes[@]}"; do options+=(-A "$attribute"); done
  # The links keep a collector that runs meanwhile from taking the paths.
  nix-build "$dir" --argstr system "$system" --out-link "$work/result" "${options[@]}" \
    >"$work/paths" 2>"$work/log" || { tail -n 40 "$work/log" >&2; exit 1; }
  mapfile -t paths <"$work/paths"
  for attribute in "${attributes[@]}"; do
    output[$attribute]=${paths[i]}
    i=$((i + 1))
  done
  echo "built ${#attributes[@]} attributes for $system"
}

## What is in the store paths

check_elf() { # FILE
  local file=$1 interpreter rpath needed name folder
  [ "$(od -An -tx1 -j18 -N2 "$file" | tr -d ' ')" = "$machine" ] || echo "$file is not for $system"
  # The loader is started by its path and libc by nobody.
  case ${file##*/} in ld-linux-*.so.* | libc.so.6 | *.o) return ;; esac
  needed=$(patchelf --print-needed "$file" 2>/dev/null) || return 0
  [ -n "$needed" ] || return 0
  if interpreter=$(patchelf --print-interpreter "$file" 2>/dev/null) && [ ! -x "$interpreter" ]; then
    echo "$file has the interpreter $interpreter"
  fi
  rpath=$(patchelf --print-rpath "$file")
  for folder in ${rpath//:/ }; do
    case $folder in "$store"/*) ;; *) echo "$file has the search path $folder" ;; esac
  done
  for name in $needed; do
    for folder in ${rpath//:/ }; do [ ! -e "$folder/$name" ] || continue 2; done
    echo "$file does not find $name"
  done
}

check_unit() { # UNIT
  local unit=$1 file magic line
  local licences=("$unit"/share/doc/*/copyright)
  [ "${#licences[@]}" -gt 0 ] || echo "$unit has no licence"
  while IFS= read -r -d '' file; do
    IFS= read -r -d '' -N 4 magic <"$file" || continue
    case $magic in
      $'\x7fELF') check_elf "$file" ;;
      '#!'*)
        IFS= read -r line <"$file"
        case $file:$line in
          "$unit"/bin/*:'#!'"$store"/*) ;;
          "$unit"/bin/*) echo "$file starts with $line" ;;
        esac
        ;;
    esac
  done < <(find "$unit" -type f -size +1c -print0)
  while IFS= read -r -d '' file; do
    case $(readlink "$file") in
      "$store"/*) [ -e "$file" ] || echo "$file is dangling" ;;
      /*) echo "$file leaves the store" ;;
      *) [ -e "$file" ] || echo "$file is dangling" ;;
    esac
  done < <(find "$unit" -type l -print0)
}

## Programs

# Runs a shell line where only the closure of the attributes exists, and what
# every container has: /proc, a few devices, /tmp and a user. /bin/sh is there
# only with the attribute bash, as in an image.
closed_run() { # ATTRIBUTES LINE
  local attribute path="" paths=() locale_paths shell=""
  for attribute in $1 bash; do
    paths+=("${output[$attribute]}")
    path+=${path:+:}${output[$attribute]}/bin
  done
  mapfile -t paths < <(nix-store --query --requisites "${paths[@]}" | sort -u)
  locale_paths=$(for attribute in "${paths[@]}"; do
    [ ! -d "$attribute/lib/locale/C.utf8" ] || echo "$attribute/lib/locale"
  done)
  case " $1 " in *" bash "*) shell=${output[bash]}/bin/sh ;; esac
  local namespaces=(--mount)
  [ "$(id -u)" = 0 ] || namespaces+=(--map-root-user)
  # shellcheck disable=SC2016 # expanded inside
  timeout 60 unshare "${namespaces[@]}" /bin/bash -euc '
    root=$1 path=$2 locale=$3 cacert=$4 bash=$5 shell=$6 line=$7
    shift 7
    mount -t tmpfs none "$root"
    mkdir -p "$root"/{tmp,proc,dev,etc}
    mount --rbind /proc "$root/proc"
    for device in null urandom; do
      : >"$root/dev/$device"
      mount --bind "/dev/$device" "$root/dev/$device"
    done
    echo "root:x:0:0::/tmp:/bin/sh" >"$root/etc/passwd"
    for unit; do
      mkdir -p "$root$unit"
      mount --bind "$unit" "$root$unit"
      # As root, Python would keep what it compiles in the store.
      mount -o remount,bind,ro "$root$unit"
    done
    [ -z "$shell" ] || { mkdir "$root/bin"; ln -s "$shell" "$root/bin/sh"; }
    chroot=$(command -v chroot || echo /usr/sbin/chroot)
    cd /
    exec env -i HOME=/tmp TERM=xterm PATH="$path" LOCPATH="$locale" LANG=C.UTF-8 \
      SSL_CERT_FILE="$cacert/etc/ssl/certs/ca-bundle.crt" \
      "$chroot" "$root" "$bash/bin/bash" -euc "cd /tmp; $line"
  ' - "$work/root" "$path" "$locale_paths" "${output[cacert]}" "${output[bash]}" "$shell" "$2" "${paths[@]}"
}

# A line passes if it succeeds and what it prints has the text in it.
program() { # NAME ATTRIBUTES TEXT LINE
  local printed status=0
  printed=$(closed_run "$2" "$4" 2>&1) || status=$?
  if [ "$status" = 0 ] && [[ $printed == *"$3"* ]]; then
    printed=
  else
    printed="exit status $status, wanted '$3', printed: $printed"
  fi
  report "$1" <<<"$printed"
}

run_programs() {
  local commit='git init -q r; cd r; git config user.email a@b; git config user.name a; echo 1 >f; git add f; git commit -qm first'
  # shellcheck disable=SC2016 # the lines are expanded inside
  {
    program bash "bash" 'ü is 1' 'x=ü; echo "$x is ${#x}"'
    program sh "bash" 'sh' 'sh -c "echo \$0"'
    program coreutils "coreutils" '3 /tmp/f' 'seq 3 >f; chmod 600 f; sort -r f | tac >g; cat g | sha256sum | cut -c1-9; wc -l /tmp/f; ls -la >/dev/null; date'
    program curl "curl" 'https' 'curl --version'
    program curl-https "curl cacert" 'curl: (7)' 'test -s "$SSL_CERT_FILE"; curl -sS https://127.0.0.1:1/ 2>&1 || test $? = 7'
    program findutils "findutils coreutils" './a b' 'touch "a b"; find . -name "a*" -print0 | xargs -0 ls -d'
    program gawk "gawk" '42' 'awk "BEGIN { print 6 * 7 }"'
    program git "git" 'first' "$commit"'; git bundle create -q ../b HEAD; git clone -q ../b ../c; git -C ../c log --oneline; git gc -q; test -e .git/hooks/pre-commit.sample'
    program git-clone "git bash coreutils" 'hooked' "$commit"'; printf "#!/bin/sh\necho hooked\n" >.git/hooks/post-commit; chmod +x .git/hooks/post-commit; git commit -q --allow-empty -m second 2>&1; git clone -q . ../c; git -C ../c fsck --strict'
    program git-https "git cacert" 'Failed to connect' 'git ls-remote https://127.0.0.1:1/x 2>&1 || true'
    program GeoIP "GeoIP" 'Usage: geoiplookup' 'geoiplookup -h'
    program gnugrep "gnugrep" 'é2' 'printf "a1\né2\n" | grep -P "^.2"'
    program gnused "gnused" 'bcd' 'echo abc | sed -E "s/a(.*)/\1d/"'
    program gnutar "gnutar gzip coreutils" 'x/y' 'mkdir x; echo 1 >x/y; tar -c x | gzip >a.tgz; gzip -d <a.tgz | tar -tv'
    program gnutar-gzip "gnutar gzip bash" 'f' 'echo 1 >f; tar -czf a.tgz f; tar -tzf a.tgz'
    program gzip "gzip" 'hello' 'echo hello | gzip -9 | zcat'
    program hello "hello" 'Hello, world!' 'hello'
    program _1hello "_1hello" 'Hello, world!' 'hello'
    program htop "htop" 'htop 3' 'htop --version'
    program iana-etc "iana-etc gnugrep" '443/tcp' "grep https ${output[iana-etc]}/etc/services"
    program jq "jq" '[3,1]' 'echo "{\"a\":[1,3]}" | jq -c ".a | reverse"'
    program moreutils "moreutils" 'line' 'echo line | ts "%Y-%m-%d"; echo x | sponge f'
    program nano "nano" 'GNU nano' 'nano --version'
    program nano-terminal "nano" 'Standard input is not a terminal' 'nano </dev/null 2>&1 || true'
    program openssh "openssh" 'OpenSSH' 'ssh -V 2>&1'
    program ssh-keygen "openssh coreutils" 'ssh-ed25519' 'ssh-keygen -q -t ed25519 -N "" -f key; cat key.pub'
    program perl "perl" '{"a":3}' 'perl -e "use POSIX; use JSON::PP; use Data::Dumper; use Digest::SHA; use Encode; print JSON::PP->new->encode({a => POSIX::floor(3.5)})"'
    program perlPackages.JSON "perl perlPackages.JSON" '[1]' "PERL5LIB=${output[perlPackages.JSON]}/share/perl5 perl -e 'use JSON; print encode_json([1])'"
    program python3 "python3" 'cafée5 3' 'python3 -c "import ssl, sqlite3, ctypes, lzma, zlib, curses, readline, hashlib, json, decimal, uuid; print(\"cafée5\", ctypes.CDLL(None).abs(-3), ssl.OPENSSL_VERSION)"'
    program python3-threads "python3" 'ended' 'python3 -c "
import threading, time, ctypes
threading.Thread(target=lambda: ctypes.CDLL(None).pthread_exit(None)).start()
time.sleep(0.5)
print(\"ended\", flush=True)
import os
os._exit(0)"'
    program python3-certificates "python3 cacert" 'certificates' 'python3 -c "import ssl; print(len(ssl.create_default_context().get_ca_certs()) > 50 and \"certificates\")"'
    program python3Packages.PyYAML "python3 python3Packages.PyYAML" "{'a': [1]}" "PYTHONPATH=${output[python3Packages.PyYAML]}/lib/python3/dist-packages python3 -c 'import yaml; assert yaml.CSafeLoader; print(yaml.safe_load(\"a: [1]\"))'"
    program python3Packages.requests "python3 python3Packages.requests" 'requests True' "PYTHONPATH=$(module_path lib/python3/dist-packages python3Packages.requests) python3 -c 'import os, requests; print(\"requests\", os.path.exists(requests.certs.where()))'"
    program ripgrep "ripgrep" 'f:1:é1' 'echo é1 >f; rg -nH "\w\d" f'
    program sqlite "sqlite" '42' 'sqlite3 :memory: "select 6 * 7"'
  }
}

## Bad attributes

# The attribute is refused with the text, when it is looked at or built.
fault() { # ATTRIBUTE TEXT
  local printed status=0
  printed=$(nix-build "$dir" --no-out-link -A "$1" 2>&1) || status=$?
  if [ "$status" != 0 ] && [[ $printed == *"$2"* ]]; then
    printed=
  else
    printed="exit status $status, wanted '$2', printed: $printed"
  fi
  report "$1 is refused" <<<"$printed"
}

run_faults() {
  # shellcheck disable=SC1112 # nixpkgs' own quotes
  fault unfree-thing 'has an unfree license (‘unfree’), refusing to evaluate'
  fault broken-thing 'is marked as broken, refusing to evaluate'
  fault insecure-thing 'is marked as insecure, refusing to evaluate'
  fault renamed-thing "has been renamed to/replaced by 'hello'"
  fault failing-build 'this package never builds'
  fault fetchurl ''
  fault some-string ''
  fault no-such-thing 'not found'
}

# The folder in all units of the attribute's closure that have it.
module_path() { # FOLDER ATTRIBUTE
  local unit path=
  for unit in $(nix-store --query --requisites "${output[$2]}"); do
    [ ! -d "$unit/$1" ] || path+=${path:+:}$unit/$1
  done
  echo "$path"
}

store=$(nix-instantiate --eval -E builtins.storeDir | tr -d '"')
mkdir "$work/root"
build_all
for unit in $(nix-store --query --requisites "${output[@]}" | sort -t- -k2); do
  # Not a pipe: report counts, which a subshell would forget.
  report "files of ${unit##*/}" < <(check_unit "$unit")
done
if [ "$system" = "$host" ]; then
  run_programs
  run_faults
else
  echo "programs not run: this machine is $host"
fi

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
