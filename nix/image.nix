# Nixery's own container image. Nothing has to be set but a package source; it runs as it
# is with docker, on Kubernetes, and on Cloud Run, which says by PORT where to listen.
{
  lib,
  dockerTools,
  runCommand,
  writeText,
  writeTextDir,
  bashInteractive,
  cacert,
  coreutils,
  git,
  gnutar,
  gzip,
  iana-etc,
  nix,
  openssh,
  xz,
  nixery,
  # Shell commands that are run before the server is started.
  preLaunch ? "",
  # Packages to be found on the PATH besides.
  extraPackages ? [ ],
  # To tell images of the same version from each other.
  tag ? nixery.version,
}:
let
  # Nix wants to build as other users than root. There is no sandbox in a container
  # without privileges; the container is one.
  buildUsers = lib.genList (number: {
    name = "nixbld${toString (number + 1)}";
    id = 30001 + number;
  }) 16;
  members = lib.concatMapStringsSep "," (user: user.name) buildUsers;

  accounts = runCommand "nixery-accounts" { } ''
    mkdir -p $out/etc
    cat > $out/etc/passwd <<END
    root:x:0:0:root:/root:${bashInteractive}/bin/bash
    ${lib.concatMapStringsSep "\n    " (
      user: "${user.name}:x:${toString user.id}:30000::/var/empty:/bin/false"
    ) buildUsers}
    nobody:x:65534:65534:nobody:/var/empty:/bin/false
    END
    cat > $out/etc/group <<END
    root:x:0:
    nixbld:x:30000:${members}
    nogroup:x:65534:
    END
    echo 'hosts: files dns' > $out/etc/nsswitch.conf
  '';

  nixConf = writeTextDir "etc/nix/nix.conf" ''
    build-users-group = nixbld
    sandbox = false
    substituters = https://cache.nixos.org
    trusted-public-keys = cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=
    experimental-features = nix-command
    # Nix's own store of this image is none of its business.
    require-drop-supplementary-groups = false
  '';

  entrypoint = writeText "nixery-launch" ''
    #!${bashInteractive}/bin/bash
    set -e
    ${preLaunch}
    exec nixery "$@"
  '';
in
dockerTools.streamLayeredImage {
  name = "nixery";
  inherit tag;
  maxLayers = 60;

  contents = [
    accounts
    nixConf
    bashInteractive
    cacert
    coreutils
    git
    gnutar
    gzip
    iana-etc
    nix
    nixery
    openssh
    xz
  ]
  ++ extraPackages;

  # Nix knows the paths of the image, so that it neither fetches nor removes them.
  includeNixDB = true;

  extraCommands = ''
    mkdir -p root tmp var/empty var/lib/nixery var/tmp
    chmod 1777 tmp var/tmp
    install -m 755 ${entrypoint} launch
  '';

  config = {
    Entrypoint = [ "/launch" ];
    ExposedPorts."8080/tcp" = { };
    Volumes."/var/lib/nixery" = { };
    WorkingDir = "/var/lib/nixery";
    Env = [
      "PATH=/bin"
      "HOME=/root"
      "STATE_DIRECTORY=/var/lib/nixery"
      "NIX_SSL_CERT_FILE=/etc/ssl/certs/ca-bundle.crt"
      "SSL_CERT_FILE=/etc/ssl/certs/ca-bundle.crt"
    ];
    Labels = {
      "org.opencontainers.image.title" = "Nixery";
      "org.opencontainers.image.version" = nixery.version;
      "org.opencontainers.image.licenses" = "Apache-2.0";
    };
  };
}
