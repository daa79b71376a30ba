# The offline package set, and packages whose builds go on when a test lets them: one
# that is at a gate waits until there is a file of that name.
{
  system ? builtins.currentSystem,
  ...
}:
let
  # Of one run of the tests: nobody has built these before.
  inherit (import ./here.nix) gates set;

  script =
    name: lines:
    derivation {
      inherit name system;
      builder = "/bin/bash";
      PATH = "/usr/bin:/bin";
      args = [
        "-euc"
        ''
          wait_at() {
            until [ -e "${gates}/${name}-$1" ]; do
              [ -d "${gates}" ] || exit 1
              sleep 0.05
            done
          }
          make() { mkdir "$out"; echo "$1" >"$out/${name}"; }
          ${lines}
        ''
      ];
    };

  # More than any buffer holds, in two seconds.
  chatty =
    name:
    script name ''
      wait_at 1
      line=$(head -c 1000 /dev/zero | tr '\0' x)
      for n in 1 2 3 4 5 6 7 8 9 10; do
        for m in {1..100}; do echo "$line"; done
        echo "part $n"
        sleep 0.2
      done
      echo "all is said"
      make done
    '';
in
import set { inherit system; }
// {
  talking = script "talking" ''
    echo "step 1 of <three> & more"
    wait_at 1
    echo "step 2"
    wait_at 2
    echo "step 3"
    wait_at 3
    make done
  '';

  interrupted = script "interrupted" ''
    echo "said before"
    wait_at 1
    echo "said meanwhile"
    wait_at 2
    make done
  '';

  failing = script "failing" ''
    echo "looking for a reason to fail"
    wait_at 1
    echo "error: this package never builds" >&2
    exit 1
  '';

  # Takes longer than a request may wait.
  cold = script "cold" ''
    sleep 2
    make done
  '';

  chatty-alone = chatty "chatty-alone";
  chatty-watched = chatty "chatty-watched";
}
