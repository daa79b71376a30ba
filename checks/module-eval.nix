# The module, evaluated without NixOS: which assertions fail, and what the units come to,
# which must be as reviewed (units/). Only nixpkgs' library is needed:
#
# nix-instantiate --eval --strict --json checks/module-eval.nix --arg lib '…' -A wrong
{ lib }:
let
  inherit (lib) mkOption types;
  anything =
    default:
    mkOption {
      type = types.anything;
      inherit default;
    };
  units = mkOption {
    type = types.attrsOf types.anything;
    default = { };
  };

  # As much of NixOS as the module speaks of.
  nixos.options = {
    assertions = mkOption {
      type = types.listOf types.unspecified;
      default = [ ];
    };
    networking.firewall.allowedTCPPorts = mkOption {
      type = types.listOf types.port;
      default = [ ];
    };
    warnings = mkOption {
      type = types.listOf types.str;
      default = [ ];
    };
    nix.settings = anything { };
    nix.package = anything null;
    nix.enable = anything true;
    systemd.services = units;
    systemd.sockets = units;
    systemd.timers = units;
  };

  # Packages that are where Debian, or the test of the units, has them.
  package = name: directory: {
    type = "derivation";
    inherit name;
    outPath = directory;
    meta.mainProgram = name;
  };
  pkgs = {
    coreutils = package "coreutils" "/usr";
    formats.toml = _: {
      type = types.attrsOf types.anything;
      generate = _: toml;
    };
    # Of these there is one, the checked file of settings.
    runCommand =
      name: environment: _:
      package name "/etc/nixery/nixery.toml" // environment;
  };

  # Tables of plain values, whose JSON is TOML too.
  toml =
    settings:
    lib.concatStringsSep "\n" (
      lib.mapAttrsToList (
        name: table:
        "[${name}]\n"
        + lib.concatStrings (lib.mapAttrsToList (key: value: "${key} = ${builtins.toJSON value}\n") table)
      ) settings
    );

  evaluate = evaluateWith { };
  evaluateWith =
    other: settings:
    (lib.evalModules {
      specialArgs = { inherit pkgs; };
      modules = [
        nixos
        other
        (import ../modules/nixery.nix)
        {
          services.nixery = {
            enable = true;
            package = package "nixery" "/opt/nixery";
            builderPackage = package "nixery-prepare-image" "/opt/nixery-prepare-image";
          }
          // settings;
        }
      ];
    }).config;

  failed = config: map (one: one.message) (lib.filter (one: !one.assertion) config.assertions);
  channel.settings.source.channel = "nixos-unstable";

  # What must fail, by a part of its message; nothing, where all is well.
  expected = {
    good = null;
    source-in-the-environment = null;
    no-source = "needs a package source";
    two-sources = "more than one package source: channel, path";
    password-in-a-url = "a URL with a password";
    credentials-in-the-store = "must not be in the Nix store";
    bucket-without-a-name = "gcs.bucket must be set";
    key-without-an-account = "must be set together";
    certificate-without-a-key = "tlsCertificate and tlsKey must be set together";
    source-at-home = "is below /home";
    without-nix = "nix.enable must be true";
    refused-by-the-daemon = "allowed-users doesn't have";
  };

  # Name of the case → messages.
  assertions =
    lib.mapAttrs (_: settings: failed (evaluate settings)) {
      good = channel;
      source-in-the-environment = {
        environmentFile = "/run/secrets/nixery.env";
      };
      no-source = { };
      two-sources.settings.source = {
        channel = "nixos-unstable";
        path = "/srv/packages";
      };
      password-in-a-url.settings.source.repo = "https://me:secret@git.example.org/packages";
      credentials-in-the-store = channel // {
        credentials.google = "${builtins.storeDir}/x-key.json";
      };
      source-at-home.settings.source.path = "/home/me/packages";
      bucket-without-a-name.settings = channel.settings // {
        storage.backend = "gcs";
      };
      key-without-an-account = channel // {
        credentials.signingKey = "/run/secrets/key.pem";
      };
      certificate-without-a-key = channel // {
        credentials.tlsCertificate = "/run/secrets/nixery.pem";
      };
    }
    // {
      without-nix = failed (evaluateWith { nix.enable = false; } channel);
      refused-by-the-daemon =
        (evaluateWith { nix.settings.allowed-users = [ "@wheel" ]; } channel).warnings;
    };

  cases = {
    # The least that can be set.
    plain.settings.source.path = "/srv/packages";
    # systemd listens, and collects garbage.
    socket = {
      settings = {
        source.path = "/srv/packages";
        cache.path = "/srv/nixery-cache";
        gc.keep = 14;
        nix.timeout = 300;
        server.address = "127.0.0.1";
        server.port = 5001;
      };
      environmentFile = "/etc/nixery/environment";
      socketActivation = true;
      gc.enable = true;
    };
    # A UNIX socket, and limits by what a proxy says of clients.
    unix = {
      settings = {
        source.path = "/srv/packages";
        server.socket = "/run/nixery/nixery.sock";
        limits.requests_per_second = 50;
      };
      openFirewall = true;
    };
    # A UNIX socket of systemd's.
    proxied = {
      settings = {
        source.path = "/srv/packages";
        server.socket = "/run/nixery.sock";
      };
      socketActivation = true;
    };
    # TLS with files that change, at a port that systemd has.
    renewed = {
      settings = {
        source.path = "/srv/packages";
        server.port = 8443;
        tls.certificate = "/var/lib/acme/localhost/fullchain.pem";
        tls.key = "/var/lib/acme/localhost/key.pem";
      };
      socketActivation = true;
    };
    # TLS without a proxy.
    tls = {
      settings = {
        source.path = "/srv/packages";
        server.trusted_proxies = [ "10.0.0.0/8" ];
      };
      credentials = {
        tlsCertificate = "/run/secrets/nixery.pem";
        tlsKey = "/run/secrets/nixery.key";
      };
    };
    # Everything else.
    bucket = {
      settings = {
        source.repo = "git@git.example.org:packages";
        source.references = [
          "main"
          "v*"
        ];
        server.address = "::1";
        server.port = 5000;
        storage.backend = "gcs";
        gcs.bucket = "example";
        gcs.signing_account = "me@example.org";
        access.rules = [
          "anonymous may pull"
          "* may build corp.*"
        ];
        access.url = "https://nixery.example.org";
      };
      credentials = {
        htpasswd = "/run/secrets/htpasswd";
        tokens = "/run/secrets/tokens";
        google = "/run/secrets/google.json";
        signingKey = "/run/secrets/key.pem";
        gitSshKey = "/run/secrets/id";
      };
      openFirewall = true;
      socketActivation = true;
    };
  };

  unitText = import ./unit-text.nix { inherit lib; };
  text =
    settings:
    let
      config = evaluate settings;
    in
    unitText config.systemd // { "nixery.toml" = config.services.nixery.configFile.written; };
  reviewed =
    directory:
    lib.mapAttrs (file: _: builtins.readFile (directory + "/${file}")) (builtins.readDir directory);
in
rec {
  # What is not as it should be; nothing, where all is well.
  wrong =
    lib.concatLists (
      lib.mapAttrsToList (
        name: messages:
        let
          part = expected.${name};
          isRight =
            if part == null then
              messages == [ ]
            else
              lib.length messages == 1 && lib.hasInfix part (lib.head messages);
        in
        lib.optional (!isRight) { inherit name messages; }
      ) assertions
    )
    ++ lib.concatLists (
      lib.mapAttrsToList (
        name: files:
        lib.optional (reviewed (./units + "/${name}") != files) { changed = "checks/units/${name}"; }
      ) units
    )
    ++ lib.optional (ports.open != [ 5000 ] || ports.closed != [ ]) { inherit ports; };

  ports = {
    closed = (evaluate channel).networking.firewall.allowedTCPPorts;
    open = (evaluate cases.bucket).networking.firewall.allowedTCPPorts;
  };

  # Name of the case → file name → text.
  units = lib.mapAttrs (_: text) cases;
}
