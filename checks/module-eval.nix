# The module, evaluated without NixOS: which assertions fail, and what the units come to.
#
# nix-instantiate --eval --strict --json checks/module-eval.nix --arg lib … --arg pkgs …
{
  lib,
  pkgs,
}:
let
  inherit (lib) mkOption types;
  anything = default: mkOption {
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
    nix.package = anything pkgs.nix;
    nix.enable = anything true;
    systemd.services = units;
    systemd.sockets = units;
    systemd.timers = units;
  };

  evaluate =
    settings:
    (lib.evalModules {
      specialArgs = { inherit pkgs; };
      modules = [
        nixos
        (import ../modules/nixery.nix)
        {
          services.nixery = {
            enable = true;
            package = pkgs.writeTextDir "bin/nixery" "" // { meta.mainProgram = "nixery"; };
            builderPackage = pkgs.writeTextDir "bin/nixery-prepare-image" "";
          }
          // settings;
        }
      ];
    }).config;

  failed = config: map (one: one.message) (lib.filter (one: !one.assertion) config.assertions);
  channel.settings.source.channel = "nixos-unstable";
in
rec {
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
  };

  # The cases that come out otherwise, with what failed.
  wrong = lib.filter (one: one != null) (
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
      if isRight then null else { inherit name messages; }
    ) assertions
  );

  # Name of the case → messages.
  assertions = lib.mapAttrs (_: settings: failed (evaluate settings)) {
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
    bucket-without-a-name.settings = channel.settings // {
      storage.backend = "gcs";
    };
    key-without-an-account = channel // {
      credentials.signingKey = "/run/secrets/key.pem";
    };
  };

  units =
    lib.mapAttrs
      (
        _: settings:
        let
          config = evaluate settings;
        in
        {
          inherit (config.systemd) services sockets timers;
          ports = config.networking.firewall.allowedTCPPorts;
        }
      )
      {
        defaults = channel;
        all = {
          settings = {
            source.repo = "git@git.example.org:packages";
            server.address = "::1";
            server.port = 5000;
            storage.backend = "gcs";
            gcs.bucket = "example";
            gcs.signing_account = "me@example.org";
          };
          credentials = {
            google = "/run/secrets/google.json";
            signingKey = "/run/secrets/key.pem";
            gitSshKey = "/run/secrets/id";
          };
          environmentFile = "/run/secrets/nixery.env";
          openFirewall = true;
          socketActivation = true;
          gc.enable = true;
        };
      };
}
