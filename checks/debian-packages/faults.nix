# Attributes that are no good packages, each one as nixpkgs has them: what a
# server for any package must tell apart and put into words.
let
  # nixpkgs lets a refused package have a name and metadata, and throws when
  # its derivation is asked for.
  refused =
    {
      name,
      meta,
      reason,
      remedy,
    }:
    let
      refusal = throw ''
        Package ‘${name}’ in ${toString ./faults.nix} ${reason}, refusing to evaluate.

        ${remedy}
      '';
    in
    {
      type = "derivation";
      inherit name meta;
      inherit (builtins.parseDrvName name) version;
      pname = (builtins.parseDrvName name).name;
      outputs = [ "out" ];
      outputName = "out";
      system = builtins.currentSystem;
      drvPath = refusal;
      outPath = refusal;
    };

  # A derivation that runs a few shell lines.
  script =
    name: lines:
    derivation {
      name = "${name}-1.0";
      pname = name;
      version = "1.0";
      system = builtins.currentSystem;
      builder = "/bin/bash";
      args = [
        "-euc"
        lines
      ];
      PATH = "/usr/bin:/bin";
      outputs = [ "out" ];
    }
    // {
      meta.description = "A package for tests: ${name}";
    };

  slow =
    name:
    script name ''
      for second in 1 2 3 4 5 6 7 8 9 10; do
        echo "step $second of 10"
        sleep 1
      done
      mkdir "$out"
      echo done >"$out/${name}"
    '';
in
{
  unfree-thing = refused {
    name = "unfree-thing-1.0";
    meta = {
      license = {
        shortName = "unfree";
        free = false;
      };
      unfree = true;
    };
    reason = "has an unfree license (‘unfree’)";
    remedy = "To allow unfree packages for one call: $ export NIXPKGS_ALLOW_UNFREE=1";
  };

  broken-thing = refused {
    name = "broken-thing-1.0";
    meta.broken = true;
    reason = "is marked as broken";
    remedy = "To allow broken packages for one call: $ export NIXPKGS_ALLOW_BROKEN=1";
  };

  insecure-thing = refused {
    name = "insecure-thing-1.0";
    meta = {
      insecure = true;
      knownVulnerabilities = [ "CVE-2000-0001" ];
    };
    reason = "is marked as insecure";
    remedy = ''
      Known issues:
       - CVE-2000-0001

      To allow insecure packages for one call: $ export NIXPKGS_ALLOW_INSECURE=1'';
  };

  # An alias that was removed throws as soon as it is looked at.
  renamed-thing = throw "'renamed-thing' has been renamed to/replaced by 'hello'";

  # A function, as nixpkgs has many of at its top level.
  fetchurl = { url, ... }: url;

  # Neither packages nor functions.
  some-string = "this is a string";
  plain-set = {
    answer = 42;
  };

  failing-build = script "failing-build" ''
    echo "checking for a reason to fail... yes"
    echo "compiling nothing"
    echo "error: this package never builds" >&2
    exit 1
  '';

  hanging-build = script "hanging-build" ''
    echo "waiting for ever"
    exec sleep infinity
  '';

  # Ten seconds, with a line each second. Two, so that one test can use both;
  # `nix-store --delete` makes them slow again.
  slow-build = slow "slow-build";
  slow-build-2 = slow "slow-build-2";
}
