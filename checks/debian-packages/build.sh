#!/usr/bin/env bash
# Builds one unit: unpacks the .debs in $srcs into $out, with /usr and the
# sbin folders merged into the root of it, and points ELF files, scripts and
# links at the store. From the derivation:
#
#   srcs       .debs
#   deps       store paths of the units that this one depends on
#   glibc      store path of the C library; empty when this is it
#   bash       store path of the shell; empty below it
#   multiarch  Debian's name for the system, as in lib/<multiarch>
#   fixup      shell code to run last
# shellcheck disable=SC2154 # those are set by Nix
set -euo pipefail
shopt -s nullglob
export LC_ALL=C
umask 022

read -r -a dependencies <<<"$deps $glibc $bash"

# Nobody reads these in a container, or runs a service from them.
excluded=(
  applications apport bash-completion binfmts bug doc-base icons info lintian
  locale man menu pixmaps zsh
)

unpack() {
  local deb
  for deb in $srcs; do
    # Not dpkg-deb --extract: it fails on setgid files where the builder may
    # not make such. Links keep their targets here and are seen to below.
    dpkg-deb --fsys-tarfile "$deb" |
      tar --extract --directory "$out" --no-same-owner --no-same-permissions \
        "${excluded[@]/#/--exclude=./usr/share/}" \
        --exclude='./etc/cron*' --exclude=./etc/default --exclude=./etc/init.d \
        --exclude='./lib/systemd' --exclude='./usr/lib/systemd' \
        --transform='flags=rSh;s,^\./usr/,./,;s,^\./(sbin|games)/,./bin/,x'
  done
  # Of the documentation only the licences, which must travel.
  if [ -d "$out/share/doc" ]; then
    find "$out/share/doc" -mindepth 2 ! -type d ! -name copyright -delete
  fi
}

# Links that are absolute, or relative to a folder that was merged away: point
# them at this unit or at a dependency, or drop them.
fix_links() {
  local link target unit
  find "$out" -type l \( -xtype l -o -lname '/*' \) -print0 | sort -z |
    while IFS= read -r -d '' link; do
      target=$(readlink "$link")
      case $target in
        /*) ;;
        *) target=$(realpath --canonicalize-missing --no-symlinks "${link%/*}/$target") ;;
      esac
      target=${target#"$out"}
      target=${target#/usr}
      target=${target/#\/sbin\//\/bin\/}
      for unit in "$out" "${dependencies[@]}"; do
        [ -e "$unit$target" ] || [ -L "$unit$target" ] || continue
        [ "$unit$target" != "$link" ] || continue
        if [ "$unit" = "$out" ]; then
          ln -sfnr "$out$target" "$link"
        else
          ln -sfn "$unit$target" "$link"
        fi
        continue 2
      done
      echo "dropped the link ${link#"$out/"} -> $(readlink "$link")"
      rm "$link"
    done
}

# library_dir[NAME]: the folder of the library NAME, looked for here before in the
# dependencies, in the usual folders before a program's own ones.
declare -A library_dir
index_libraries() {
  local unit file
  for unit in "$out" "${dependencies[@]}"; do
    for file in "$unit/lib/$multiarch"/*.so* "$unit"/lib/*.so*; do
      : "${library_dir[${file##*/}]:=${file%/*}}"
    done
  done
  for file in "$out/lib/$multiarch"/*/*.so* "$out"/lib/*/*.so*; do
    : "${library_dir[${file##*/}]:=${file%/*}}"
  done
}

# Later patchelf releases sort the segments of a program, which can put a
# read-only one over what was made writable (NixOS/patchelf#446); earlier ones
# never sort, and don't know the option.
keep_order=()
if [[ $(patchelf --help 2>&1) == *--no-sort* ]]; then keep_order=(--no-sort); fi

fix_elf() { # FILE
  local file=$1 needed name dir rpath=: options
  case ${file##*/} in
    # patchelf breaks the loader, and libc needs nothing but the loader.
    ld-linux-*.so.* | libc.so.6 | *.o) return ;;
  esac
  needed=$(patchelf --print-needed "$file" 2>/dev/null) || return 0
  [ -n "$needed" ] || return 0
  for name in $needed; do
    dir=${library_dir[$name]-}
    if [ -z "$dir" ]; then
      echo "error: ${file#"$out/"} needs $name, which is in no dependency" >&2
      exit 1
    fi
    case $rpath in *":$dir:"*) ;; *) rpath+=$dir: ;; esac
  done
  # libc loads libgcc_s when a thread ends, and has no search path of its own:
  # it inherits the program's, which only the older DT_RPATH is for.
  dir=${library_dir[libgcc_s.so.1]}
  case $rpath in *":$dir:"*) ;; *) rpath+=$dir: ;; esac
  rpath=${rpath#:}
  options=("${keep_order[@]}" --force-rpath --set-rpath "${rpath%:}")
  if patchelf --print-interpreter "$file" >/dev/null 2>&1; then
    options+=(--set-interpreter "${loader[0]}")
  fi
  patchelf "${options[@]}" "$file"
}

# Points `#!/usr/bin/NAME` and `#!/usr/bin/env NAME` at the unit with NAME.
fix_script() { # FILE
  local file=$1 line words name unit
  IFS= read -r line <"$file" || return 0
  read -r -a words <<<"${line#\#!}"
  [ "${words[0]##*/}" != env ] || words=("${words[@]:1}")
  [ "${#words[@]}" -gt 0 ] || return 0
  name=${words[0]##*/}
  for unit in "$out" "${dependencies[@]}"; do
    [ -e "$unit/bin/$name" ] || continue
    words[0]=$unit/bin/$name
    sed -i "1c #!${words[*]}" "$file"
    return
  done
  echo "left ${file#"$out/"} with $line"
}

fix_files() {
  local file magic
  local loader=("${glibc:-$out}/lib/$multiarch"/ld-linux-*.so.*)
  find "$out" -type f -size +1c -print0 | sort -z |
    while IFS= read -r -d '' file; do
      IFS= read -r -d '' -N 4 magic <"$file" || continue
      case $magic in
        $'\x7fELF') fix_elf "$file" ;;
        '#!'*) [ ! -x "$file" ] || fix_script "$file" ;;
      esac
    done
}

# The folders for modules that UNIT has, one per line.
perl_dirs() { printf '%s\n' "$1"/share/perl5 "$1/lib/$multiarch"/perl5/*/; }
python_dirs() { printf '%s\n' "$1"/lib/python3/dist-packages; }

# Modules name each other, not each other's store paths: nixpkgs' file for that
# keeps the ones that this unit needs in its closure.
propagate() {
  local unit dir found=()
  for unit in $deps; do
    if [ -e "$unit/nix-support/propagated-build-inputs" ] || [ -e "$unit/share/perl" ] ||
      [ -e "$unit/lib/python3/dist-packages" ] || [ -e "$unit/share/perl5" ]; then
      found+=("$unit")
    fi
  done
  [ "${#found[@]}" -gt 0 ] || return 0
  for dir in "$out/share/perl5" "$out/lib/$multiarch/perl5" "$out/lib/python3/dist-packages"; do
    [ -d "$dir" ] || continue
    mkdir -p "$out/nix-support"
    echo "${found[*]}" >"$out/nix-support/propagated-build-inputs"
  done
}

# The dependencies with all that they propagate.
declare -A seen
collect_modules() { # UNIT...
  local unit
  for unit; do
    [ -z "${seen[$unit]-}" ] || continue
    seen[$unit]=1
    modules+=("$unit")
    if [ -e "$unit/nix-support/propagated-build-inputs" ]; then
      # shellcheck disable=SC2046 # a list of store paths
      collect_modules $(<"$unit/nix-support/propagated-build-inputs")
    fi
  done
}

module_path() { # perl_dirs|python_dirs
  local unit dir path=
  for unit in "${modules[@]}"; do
    while IFS= read -r dir; do
      [ ! -d "$dir" ] || path+=:${dir%/}
    done < <("$1" "$unit")
  done
  echo "${path#:}"
}

# The lines that wrap puts into a script: VARIABLE is VALUE unless the user set it; has VALUE at its end.
# shellcheck disable=SC2016 # expanded when the script runs
set_default() { printf 'export %s="${%s-%s}"\n' "$1" "$1" "$2"; }
# shellcheck disable=SC2016
append() { printf 'export %s="${%s:+$%s:}%s"\n' "$1" "$1" "$1" "$2"; }

# Puts a script in front of bin/PROGRAM that runs the lines before it.
wrap() { # PROGRAM LINE...
  local program=$1 wrapped=$out/bin/.$1-wrapped
  shift
  mv "$out/bin/$program" "$wrapped"
  {
    echo "#!$bash/bin/bash"
    printf '%s\n' "$@"
    echo "exec -a \"\$0\" $wrapped \"\$@\""
  } >"$out/bin/$program"
  chmod +x "$out/bin/$program"
}

# Programs written in Perl or Python find the modules of their dependencies.
wrap_scripts() {
  local file line
  for file in "$out"/bin/*; do
    if [ -L "$file" ] || [ ! -f "$file" ]; then continue; fi
    IFS= read -r -d '' -N 2 line <"$file" || continue
    [ "$line" = '#!' ] || continue
    IFS= read -r line <"$file"
    case ${line%% -*} in
      */bin/perl) [ -z "$perl_path" ] || wrap "${file##*/}" "$(append PERL5LIB "$perl_path")" ;;
      */bin/python3*) [ -z "$python_path" ] || wrap "${file##*/}" "$(append PYTHONPATH "$python_path")" ;;
    esac
  done
}

mkdir "$out"
unpack
fix_links
index_libraries
fix_files
propagate
modules=()
# shellcheck disable=SC2086 # a list of store paths
collect_modules $deps
perl_path=$(module_path perl_dirs)
python_path=$(module_path python_dirs)
wrap_scripts
eval "$fixup"
find "$out" -mindepth 1 -type d -empty -delete
