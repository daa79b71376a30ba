# What is in the root file system of Nixery's own image, whatever it is assembled with:
# image.nix does it with nixpkgs, and checks/own-image.nix without. Only builtins are used.
{
  bashInteractive,
  cacert,
  catatonit,
  coreutils,
  git,
  gnutar,
  gzip,
  iana-etc,
  nix,
  openssh,
  xz,
  nixery,
  # Shell commands that are run before the server is started. If one fails, it isn't.
  preLaunch ? "",
  # Packages to be found on the PATH besides.
  extraPackages ? [ ],
}:
let
  inherit (builtins) concatStringsSep genList;

  # Nix wants to build as other users than root. There is no sandbox in a container
  # without privileges; the container is one.
  buildUsers = genList (number: {
    name = "nixbld${toString (number + 1)}";
    id = toString (30001 + number);
  }) 16;
  lines = list: concatStringsSep "\n" list + "\n";

  certificates = "/etc/ssl/certs/ca-bundle.crt";
  state = "/var/lib/nixery";
in
{
  # Their files are linked to from the root. Nix knows them, and all that they need, so that
  # it neither fetches nor removes them.
  packages = [
    bashInteractive
    cacert
    catatonit
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

  # Path → text of a file.
  files = {
    "etc/passwd" = lines (
      [ "root:x:0:0:root:/root:${bashInteractive}/bin/bash" ]
      ++ map (user: "${user.name}:x:${user.id}:30000::/var/empty:/bin/false") buildUsers
      ++ [ "nobody:x:65534:65534:nobody:/var/empty:/bin/false" ]
    );

    "etc/group" = lines [
      "root:x:0:"
      "nixbld:x:30000:${concatStringsSep "," (map (user: user.name) buildUsers)}"
      "nogroup:x:65534:"
    ];

    "etc/nsswitch.conf" = "hosts: files dns\n";

    "etc/nix/nix.conf" = ''
      build-users-group = nixbld
      sandbox = false
      substituters = https://cache.nixos.org
      trusted-public-keys = cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=
      experimental-features = nix-command
    '';

    # Repositories that are mounted belong to whomever they belong to outside, and Git
    # refuses those of others than root. Who mounts one has chosen it.
    "etc/gitconfig" = ''
      [safe]
      	directory = *
    '';
  };

  # Path → text of a program.
  programs.launch = ''
    #!${bashInteractive}/bin/bash
    set -e
    ${preLaunch}
    exec nixery "$@"
  '';

  # Shell commands, run in the root with the links in it. Scripts of package sources may
  # expect to be run by /usr/bin/env.
  commands = ''
    rm -rf nix-support
    mkdir -p root tmp usr/bin var/empty var/tmp .${state}
    chmod 700 root
    chmod 1777 tmp var/tmp
    ln -s ${coreutils}/bin/env usr/bin/env
  '';

  # As in the image's configuration.
  config = {
    # What a build leaves behind becomes a child of the first process, and would stay as a
    # zombie if that were the server.
    Entrypoint = [
      "/bin/catatonit"
      "--"
      "/launch"
    ];
    ExposedPorts."8080/tcp" = { };
    Volumes.${state} = { };
    WorkingDir = state;
    Env = [
      "PATH=/bin"
      "HOME=/root"
      "STATE_DIRECTORY=${state}"
      # Sources that Nix fetched are in the volume too, below nix.
      "XDG_CACHE_HOME=${state}"
      "GIT_SSL_CAINFO=${certificates}"
      "NIX_SSL_CERT_FILE=${certificates}"
      "SSL_CERT_FILE=${certificates}"
    ];
    Labels = {
      "org.opencontainers.image.title" = "Nixery";
      "org.opencontainers.image.version" = nixery.version;
      "org.opencontainers.image.licenses" = "Apache-2.0";
    };
  };
}
