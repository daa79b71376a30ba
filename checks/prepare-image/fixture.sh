# shellcheck shell=bash
# shellcheck disable=SC2016 # text in single quotes is jq or Nix
# shellcheck disable=SC2034,SC2154 # variables of prepare-image.sh and its other parts
# The package set of the tests: packages of a shell and nothing else.

tools=$(dirname "$(command -v mkdir)"):$(dirname "$(command -v sleep)"):/bin:/usr/bin

# make_set DIRECTORY: writes it.
make_set() {
  mkdir -p "$1"
  cat >"$1/package.nix" <<END
system: name: script: more:
derivation (
  {
    inherit name system;
    builder = "/bin/sh";
    args = [ "-c" script ];
    PATH = "$tools";
  }
  // more
)
END
  cat >"$1/default.nix" <<'END'
{ system, ... }@given:
let
  package = import ./package.nix system;
  file = name: package name "echo ${name} >$out" { };
  throws = text: file "thrown-1" // { drvPath = throw text; outPath = throw text; };
  library = package "library-1.2" "mkdir $out; echo $out >$out/self" { };
in
{
  hello = package "hello-2.12" "echo a line of the build >&2; mkdir $out; echo ${library} >$out/uses" { } // {
    meta = {
      description = "A greeting";
      license = [ { licenseType = "compound"; operator = "OR"; licenses = [ { spdxId = "MIT"; } { fullName = "My own"; } ]; } "bsd" ];
      mainProgram = "hello";
    };
  };
  inherit library;
  bashInteractive = file "bash-5.2";
  plain = file "plain";
  odd = file "odd-1" // { pname = "named"; version = "7"; meta = { license = { spdxId = "GPL-3.0-only"; }; description = throw "no"; mainProgram = 3; }; };
  outputs = package "outputs-1" "mkdir $bin $out" { outputs = [ "bin" "out" ]; };
  stored = { type = "derivation"; name = "stored-1"; outPath = builtins.toFile "stored-1" "text"; };

  Case = file "upper-1";
  case = file "lower-1";
  twoWays = file "second-1";
  TwoWays = file "first-1";
  _7zz = file "7zz-22";
  "4th" = file "fourth-1";
  _4th = file "underscored-1";
  _3dTool = file "3d-1";
  python3Packages = { requests = file "python3-requests-2"; pyYAML = file "python3-yaml-6"; _2to3 = file "python3-2to3-1"; };
  git = file "git-2";
  gitea = file "gitea-1";
  htop = file "htop-3";

  function = x: x;
  functor = { __functor = _: x: x; };
  text = "words";
  nothing = null;
  number = 3;

  unfree = throws "Package ‘a-1’ in /set/a.nix:3 has an unfree license (‘unfree’), refusing to evaluate.\n\na) To temporarily allow it\n   do this";
  unfreeLater = throws "Refusing to evaluate package 'a-1' in /set/a.nix:3 because it has an unfree license (‘unfree’)";
  broken = throws "Package ‘b-1’ in /set/b.nix:3 is marked as broken, refusing to evaluate.";
  brokenLater = throws "Refusing to evaluate package 'b-1' in /set/b.nix:3 because it has problems:\n  - broken: This package is broken.";
  spins = builtins.foldl' (a: b: a + b) 0 (builtins.genList (x: let f = n: if n == 0 then 0 else f (n - 1); in f 1000) 100000000);
  insecure = throws "Package ‘c-1’ in /set/c.nix:3 is marked as insecure, refusing to evaluate.";
  unsupported = throws "Package ‘d-1’ in /set/d.nix:3 is not available on the requested hostPlatform:\n  hostPlatform.system = \"x86_64-linux\"";
  renamed = throw "'renamed' has been renamed to/replaced by 'hello'";
  aborts = abort "no way";
  wrongType = file (1 + "a");

  fails = package "fails-1.0" "i=0; while [ $i -lt 30 ]; do i=$((i+1)); echo line $i; done; exit 3" { };
  coloured = package "coloured-1" "printf '\\033[31mred\\033[0m\\r\\n'; exit 1" { };
  outer = package "outer-1" "echo ${package "inner-1.0" "echo the inner log; exit 1" { }} >$out" { };
  middle = package "middle-1" "echo ${package "outer-2" "echo ${package "innermost-3" "exit 1" { }} >$out" { }} >$out" { };
  foreign = package "foreign-1" "echo >$out" { system = "riscv64-linux"; };
  wrongHash = package "wrong-hash-1" "echo a >$out" { outputHash = "0000000000000000000000000000000000000000000000000000"; outputHashAlgo = "sha256"; };
  silent = package "silent-1" "true" { };
  imported = import (package "imported-1" "echo cannot be made; exit 1" { });
  loud = package "loud-1" "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo 'this is a line of about fifty characters, more' >&2; done; echo >$out" { };
  loud2 = package "loud-2" "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo 'this is a line of about fifty characters, more' >&2; done; echo >$out" { };
  loudFailure = package "loud-failure-1" "head -c 3000000 /dev/zero | tr '\\0' x; echo; echo the end; exit 1" { };
  hanging = package "hanging-1" "echo started >&2; sleep 86411 & wait" { };
  hangingToo = package "hanging-2" "echo started >&2; sleep 86412 & wait" { };
  slow = package "slow-1" "sleep 1; echo >$out" { };
  configured = file "configured-${if given ? config then builtins.toJSON (given.config.mark or "none") else "no"}";
}
END
}
