# services.nixery: an ad-hoc container registry.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib)
    getExe
    mkEnableOption
    mkIf
    mkOption
    optional
    types
    ;
  cfg = config.services.nixery;
  toml = pkgs.formats.toml { };
  ours = import ../nix { inherit pkgs; };

  # Without what isn't set, so that the server's defaults hold.
  set = lib.filterAttrsRecursive (_: value: value != null) cfg.settings;
  written = toml.generate "nixery.toml" (lib.filterAttrs (_: table: table != { }) set);

  # The server itself says whether it can be started with it, and with what line is wrong.
  checked = pkgs.runCommand "nixery.toml" { inherit written; } ''
    export STATE_DIRECTORY=/var/lib/nixery CACHE_DIRECTORY=/var/cache/nixery
    # Instead of what comes only when it is started.
    export CREDENTIALS_DIRECTORY=$PWD
    touch ${lib.concatStringsSep " " ([ "nothing" ] ++ lib.attrNames credentials)}
    ${lib.optionalString (sources == [ ]) "export NIXERY_CHANNEL=nixos-unstable"}
    ${getExe cfg.package} --config $written --check-config > /dev/null
    cp $written $out
  '';

  # As the server calls them, which finds all but the last by itself.
  credentials = lib.filterAttrs (_: file: file != null) {
    inherit (cfg.credentials) google htpasswd tokens;
    signing-key = cfg.credentials.signingKey;
    tls-certificate = cfg.credentials.tlsCertificate;
    tls-key = cfg.credentials.tlsKey;
    git-ssh-key = cfg.credentials.gitSshKey;
  };

  sources = lib.filter (name: (set.source or { }) ? ${name}) [
    "channel"
    "repo"
    "path"
  ];

  # Directories that are set to be elsewhere than in the unit's own.
  elsewhere =
    optional (set ? storage.path) set.storage.path
    ++ optional (set ? cache.path) set.cache.path
    ++ optional (set ? nix.roots) set.nix.roots;

  # Where a package set can't be, as homes are hidden and temporary files are its own.
  hidden =
    let
      place = (set.source or { }).path or "/";
    in
    lib.filter (directory: lib.hasPrefix "${directory}/" "${place}/") [
      "/home"
      "/root"
      "/run/user"
      "/tmp"
      "/var/tmp"
    ];

  strings =
    value:
    if lib.isAttrs value then
      lib.concatMap strings (lib.attrValues value)
    else if lib.isList value then
      lib.concatMap strings value
    else
      optional (lib.isString value) value;

  # What the server and the collector of garbage have in common.
  service = {
    User = "nixery";
    Group = "nixery";
    DynamicUser = true;
    StateDirectory = "nixery";
    StateDirectoryMode = "0750";
    CacheDirectory = "nixery";
    CacheDirectoryMode = "0750";
    EnvironmentFile = optional (cfg.environmentFile != null) cfg.environmentFile;
    LoadCredential = lib.mapAttrsToList (name: file: "${name}:${file}") credentials;

    # Builds are the Nix daemon's, so the server and the Nix that it runs need little: files
    # to read, their own directories to write, and sockets.
    AmbientCapabilities = "";
    CapabilityBoundingSet = "";
    DevicePolicy = "closed";
    LockPersonality = true;
    MemoryDenyWriteExecute = true;
    NoNewPrivileges = true;
    PrivateDevices = true;
    PrivateTmp = true;
    PrivateUsers = true;
    # ProcSubset stays: Nix's evaluator asks /proc/stat for the number of processors, and
    # would warn in every build's log.
    ProtectClock = true;
    ProtectControlGroups = true;
    ProtectHome = true;
    ProtectHostname = true;
    ProtectKernelLogs = true;
    ProtectKernelModules = true;
    ProtectKernelTunables = true;
    ProtectProc = "invisible";
    ProtectSystem = "strict";
    RemoveIPC = true;
    # AF_UNIX: the Nix daemon, the journal, systemd.
    RestrictAddressFamilies = [
      "AF_INET"
      "AF_INET6"
      "AF_UNIX"
    ];
    RestrictNamespaces = true;
    RestrictRealtime = true;
    RestrictSUIDSGID = true;
    SystemCallArchitectures = "native";
    # @resources stays: Nix raises the limit of its stack when it evaluates.
    SystemCallFilter = [
      "@system-service"
      "~@privileged"
    ];
    UMask = "0027";
  }
  // lib.optionalAttrs (elsewhere != [ ]) { ReadWritePaths = elsewhere; };

  # A UNIX socket, if it listens there and not at a port.
  socket = set.server.socket or null;
  # Not systemd's, which would go with the directory when the server is stopped.
  ownsSocket = socket != null && !cfg.socketActivation;

  environment = {
    # Nix keeps the sources that it fetched there, and git its settings.
    HOME = "/var/cache/nixery";
    XDG_CACHE_HOME = "/var/cache/nixery";
    NIX_REMOTE = "daemon";
  }
  // lib.optionalAttrs (credentials ? git-ssh-key) {
    # %d is where systemd puts credentials.
    GIT_SSH_COMMAND = "ssh -i %d/git-ssh-key -o IdentitiesOnly=yes -o StrictHostKeyChecking=${
      if cfg.credentials.knownHosts == null then
        "accept-new -o UserKnownHostsFile=/var/lib/nixery/known_hosts"
      else
        "yes -o UserKnownHostsFile=${cfg.credentials.knownHosts}"
    }";
  };
in
{
  options.services.nixery = {
    enable = mkEnableOption "Nixery, a container registry that makes its images of Nix packages";

    package = mkOption {
      type = types.package;
      default = ours.nixery;
      defaultText = lib.literalExpression "nixery.packages.\${system}.nixery";
      description = "The server.";
    };

    builderPackage = mkOption {
      type = types.package;
      default = ours.nixery-prepare-image.override { nix = config.nix.package; };
      defaultText = lib.literalExpression "nixery-prepare-image, with the Nix of this machine";
      description = "What the server calls for Nix.";
    };

    settings = mkOption {
      type = types.submodule {
        freeformType = toml.type;
        options = import ./settings.nix { inherit lib; };
      };
      default = { };
      example = {
        source.channel = "nixos-unstable";
        gc.keep = 14;
      };
      description = ''
        The server's settings, as in its TOML file. They are checked when the system is built.
        They are in the Nix store, which everybody may read: secrets are for `credentials` and
        `environmentFile`.
      '';
    };

    configFile = mkOption {
      type = types.package;
      readOnly = true;
      default = checked;
      defaultText = lib.literalMD "the file that is made of `settings`";
      description = "The server's TOML file, for calls by hand: `nixery --config`.";
    };

    environmentFile = mkOption {
      type = types.nullOr (types.strMatching "/.*");
      default = null;
      example = "/run/secrets/nixery.env";
      description = ''
        File of variables, which go before `settings`; for what is secret. Not for the port
        and the address, which the socket and the firewall have to know of too.
      '';
    };

    credentials = {
      google = mkOption {
        type = types.nullOr (types.strMatching "/.*");
        default = null;
        example = "/run/secrets/nixery-google.json";
        description = "File with Google's credentials for the bucket.";
      };
      signingKey = mkOption {
        type = types.nullOr (types.strMatching "/.*");
        default = null;
        example = "/run/secrets/nixery-signing-key.pem";
        description = "File with the key that URLs in the bucket are signed with.";
      };
      tlsCertificate = mkOption {
        type = types.nullOr (types.strMatching "/.*");
        default = null;
        example = "/run/secrets/nixery.pem";
        description = ''
          File with the certificate for TLS. It is read at each start; one that
          `settings.tls.certificate` names, whenever it changes.
        '';
      };
      tlsKey = mkOption {
        type = types.nullOr (types.strMatching "/.*");
        default = null;
        example = "/run/secrets/nixery.key";
        description = "File with its key.";
      };
      gitSshKey = mkOption {
        type = types.nullOr (types.strMatching "/.*");
        default = null;
        example = "/run/secrets/nixery-deploy-key";
        description = "File with the SSH key for a private package source.";
      };
      htpasswd = mkOption {
        type = types.nullOr (types.strMatching "/.*");
        default = null;
        example = "/run/secrets/nixery-htpasswd";
        description = "File with users and bcrypt hashes of their passwords (htpasswd -B).";
      };
      tokens = mkOption {
        type = types.nullOr (types.strMatching "/.*");
        default = null;
        example = "/run/secrets/nixery-tokens";
        description = "File with users and SHA-256 of their tokens.";
      };
      knownHosts = mkOption {
        type = types.nullOr (types.either types.path types.str);
        default = null;
        example = lib.literalExpression "./known_hosts";
        description = ''
          File with the keys of SSH hosts. Without, a host is trusted the first time that it is
          seen.
        '';
      };
    };

    openFirewall = mkOption {
      type = types.bool;
      default = false;
      description = "Whether other machines may reach the server's port.";
    };

    socketActivation = mkOption {
      type = types.bool;
      default = false;
      description = ''
        Whether systemd listens for the server: it is started by the first connection, and
        none is refused while it is restarted.
      '';
    };

    gc = {
      enable = mkEnableOption "a timer that removes images which nobody asks for, and their removal by the server when the disk is nearly full";
      dates = mkOption {
        type = types.str;
        default = "daily";
        example = "Sun 03:15";
        description = "When, as in systemd.time(7).";
      };
    };
  };

  config = mkIf cfg.enable {
    assertions = [
      {
        assertion = lib.length sources == 1 || (sources == [ ] && cfg.environmentFile != null);
        message =
          if sources == [ ] then
            "services.nixery.settings.source needs a package source: channel, repo or path"
          else
            "services.nixery.settings.source has more than one package source: ${lib.concatStringsSep ", " sources}";
      }
      {
        assertion = !lib.any (text: lib.match "[^/]*://[^/@]*:[^/@]*@.*" text != null) (strings set);
        message = "services.nixery.settings has a URL with a password, which would be in the Nix store: use credentials or environmentFile";
      }
      {
        assertion =
          !lib.any (file: lib.hasPrefix builtins.storeDir (toString file)) (
            lib.attrValues credentials ++ optional (cfg.environmentFile != null) cfg.environmentFile
          );
        message = "services.nixery: credentials and environmentFile must not be in the Nix store, which everybody may read";
      }
      {
        assertion = (set.storage.backend or "filesystem") != "gcs" || (set.gcs or { }) ? bucket;
        message = "services.nixery.settings.gcs.bucket must be set with storage.backend = \"gcs\"";
      }
      {
        assertion = (cfg.credentials.signingKey != null) == ((set.gcs or { }) ? signing_account);
        message = "services.nixery: credentials.signingKey and settings.gcs.signing_account must be set together";
      }
      {
        assertion = (cfg.credentials.tlsCertificate != null) == (cfg.credentials.tlsKey != null);
        message = "services.nixery.credentials: tlsCertificate and tlsKey must be set together";
      }
      {
        assertion = hidden == [ ];
        message = "services.nixery.settings.source.path is below ${lib.concatStrings hidden}, which the service can't see";
      }
      {
        assertion = config.nix.enable or true;
        message = "services.nixery needs Nix: nix.enable must be true";
      }
    ];

    warnings =
      let
        allowed = config.nix.settings.allowed-users or [ "*" ];
        trusted = config.nix.settings.trusted-users or [ ];
        names = [
          "*"
          "nixery"
          "@nixery"
        ];
      in
      optional (!lib.any (name: lib.elem name names) (allowed ++ trusted))
        "services.nixery: nix.settings.allowed-users doesn't have \"nixery\", so the Nix daemon will refuse it";

    # A timer can't be early when the disk is nearly full: the server itself is then. A year
    # is the longest interval.
    services.nixery.settings.gc.interval = mkIf cfg.gc.enable (lib.mkDefault 31536000);

    networking.firewall.allowedTCPPorts = mkIf (cfg.openFirewall && socket == null) [
      (set.server.port or 8080)
    ];

    systemd.services.nixery = {
      description = "Nixery, an ad-hoc container registry";
      documentation = [ "https://github.com/tazjin/nixery" ];
      wantedBy = optional (!cfg.socketActivation) "multi-user.target";
      wants = [ "network-online.target" ];
      requires = optional cfg.socketActivation "nixery.socket";
      after = [
        "network-online.target"
        "nix-daemon.socket"
      ]
      ++ optional cfg.socketActivation "nixery.socket";
      path = [ cfg.builderPackage ];
      inherit environment;
      startLimitIntervalSec = 0;
      # A new configuration restarts it at once. Otherwise NixOS stops it first, and its
      # socket too, and starts them when the rest is done: clients would be refused.
      stopIfChanged = false;
      serviceConfig =
        service
        // {
          Type = "notify";
          ExecStart = "${getExe cfg.package} --config ${cfg.configFile}";
          ExecReload = "${pkgs.coreutils}/bin/kill -HUP $MAINPID";
          WatchdogSec = 60;
          # It finishes running responses, and Nix gets five seconds.
          TimeoutStopSec =
            let
              drain = (set.server or { }).shutdown_timeout or null;
            in
            (if drain == null then 30 else drain) + 15;
          KillMode = "mixed";
          # Where memory is short, the builder is killed first. That is the end of one image, and
          # not of the service.
          OOMPolicy = "continue";
          # Longer each time, so that a bucket which is down isn't hammered.
          Restart = "on-failure";
          RestartSec = 1;
          RestartSteps = 6;
          RestartMaxDelaySec = 60;
          LimitNOFILE = 65536;
        }
        // lib.optionalAttrs (ownsSocket && lib.hasPrefix "/run/nixery/" socket) {
          RuntimeDirectory = "nixery";
        };
    };

    systemd.sockets.nixery = mkIf cfg.socketActivation {
      description = "Nixery's socket";
      wantedBy = [ "sockets.target" ];
      listenStreams =
        let
          address = set.server.address or null;
          port = toString (set.server.port or 8080);
          host = if address != null && lib.hasInfix ":" address then "[${address}]" else address;
        in
        if socket != null then [ socket ] else [ (if address == null then port else "${host}:${port}") ];
      # As the server's own would be.
      socketConfig = lib.optionalAttrs (socket != null) { SocketMode = "0660"; };
    };

    systemd.services.nixery-gc = mkIf cfg.gc.enable {
      description = "Removal of Nixery's images that nobody asks for";
      after = [ "network-online.target" ];
      wants = [ "network-online.target" ];
      inherit environment;
      serviceConfig = service // {
        Type = "oneshot";
        ExecStart = "${getExe cfg.package} --config ${cfg.configFile} --gc";
      };
    };
    systemd.timers.nixery-gc = mkIf cfg.gc.enable {
      description = "Removal of Nixery's images that nobody asks for";
      wantedBy = [ "timers.target" ];
      timerConfig = {
        OnCalendar = cfg.gc.dates;
        Persistent = true;
        RandomizedDelaySec = "15min";
      };
    };
  };
}
