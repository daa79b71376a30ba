# Packages that take no time to build and need nothing but a shell, for tests
# that are about the server and not about packages.
{
  # deadnix: skip
  system ? builtins.currentSystem,
}:
let
  package =
    name: script:
    derivation {
      inherit name script;
      system = builtins.currentSystem;
      builder = "/bin/sh";
      PATH = "/usr/bin:/bin";
      args = [
        "-c"
        ''eval "$script"''
      ];
    }
    // {
      type = "derivation";
      inherit name;
    };

  # Files with text that compresses as programs do, and links between packages.
  files =
    name: references:
    package name ''
      mkdir -p $out/bin $out/share/${name} $out/empty
      for n in 1 2 3 4 5 6 7 8; do
        seq $((n * 10000)) $((n * 10000 + 9000)) > $out/share/${name}/numbers-$n
      done
      printf '#!/bin/sh\necho ${name}\n' > $out/bin/${name}
      chmod +x $out/bin/${name}
      echo ${toString references} > $out/share/${name}/references
    '';

  # Whose processes a test knows by the seconds.
  hangs =
    name: seconds:
    package name ''
      echo waiting for ever
      sleep ${toString seconds}
    '';
in
rec {
  cacert = package "cacert-1.0" ''
    mkdir -p $out/etc/ssl/certs
    echo certificate > $out/etc/ssl/certs/ca-bundle.crt
  '';
  iana-etc = package "iana-etc-1.0" ''
    mkdir -p $out/etc
    echo 'tcp 6 TCP' > $out/etc/protocols
  '';
  one = files "one-1.0" [ ];
  two = files "two-1.0" [ one ];
  three = files "three-1.0" [
    one
    two
  ];
  four = files "four-1.0" [ two ];
  five = files "five-1.0" [
    three
    four
  ];
  # Does not compress, so its layer is as large.
  large = package "large-1.0" ''
    mkdir -p $out/share
    openssl enc -aes-128-ctr -nosalt -K 0 -iv 0 -in /dev/zero 2> /dev/null |
      head -c 30000000 > $out/share/noise
  '';
  # What file systems allow and few packages have.
  odd = package "odd-1.0" ''
    long=$(printf %0255d 0)
    mkdir -p $out/bin $out/share/$long/$long $out/empty
    echo deep > $out/share/$long/$long/$long
    printf '#!/bin/sh\necho odd\n' > $out/bin/odd
    chmod +x $out/bin/odd
    ln $out/bin/odd $out/bin/even
    echo name > $out/share/$(printf '\377\376')
    truncate -s 50M $out/share/sparse
    echo secret > $out/share/unreadable
    chmod 000 $out/share/unreadable
  '';
  nothing = package "nothing-1.0" "mkdir $out";
  many = package "many-1.0" ''
    for directory in $(seq 100); do
      mkdir -p $out/share/$directory
      (cd $out/share/$directory && seq 1000 | xargs touch)
    done
  '';
  # Nix allows none of these in its store.
  pipe = package "pipe-1.0" "mkdir $out; mkfifo $out/pipe";
  socket = package "socket-1.0" ''
    mkdir $out
    cd $out
    python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'
  '';
  vanishing = files "vanishing-1.0" [ ];
  failing = package "failing-1.0" ''
    echo this package never builds
    exit 1
  '';
  # One for each test that needs one: Nix builds a derivation only once at a time.
  hanging = hangs "hanging-1.0" 86391;
  hanging-2 = hangs "hanging-2.0" 86392;
  hanging-3 = hangs "hanging-3.0" 86393;
  hanging-4 = hangs "hanging-4.0" 86394;
  hanging-5 = hangs "hanging-5.0" 86395;
  hanging-6 = hangs "hanging-6.0" 86396;
}
