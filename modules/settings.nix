# Every setting of the server, with its type. What is not set here is as in the book
# (reference/configuration.md); other keys are let through, and `nixery --check-config`
# refuses those that it doesn't know.
{ lib }:
let
  inherit (lib.types)
    bool
    enum
    ints
    listOf
    port
    str
    ;
  setting =
    type: example: description:
    lib.mkOption {
      type = lib.types.nullOr type;
      default = null;
      inherit example description;
    };
  # Strings and not paths: a path would be copied to the Nix store, which all may read.
  file = lib.types.strMatching "/.*" // {
    description = "absolute path, as a string";
  };
  patterns = listOf str;
in
{
  server = {
    address = setting str "127.0.0.1" "IP address to listen on; all of them, if it isn't set.";
    port = setting port 8080 "TCP port to listen on.";
    shutdown_timeout = setting ints.unsigned 30 ''
      Seconds that running responses may go on for when the server is told to stop.
    '';
    socket = setting file "/run/nixery/nixery.sock" ''
      UNIX socket to listen on, instead of address and port.
    '';
    trusted_proxies = setting patterns [ "10.0.0.0/8" ] ''
      Addresses and networks of proxies whose X-Forwarded-For is believed.
    '';
  };
  tls = {
    certificate = setting file "/var/lib/acme/nixery.example.org/fullchain.pem" ''
      File with the certificate and those up to the authority.
      services.nixery.credentials.tlsCertificate sets it.
    '';
    key = setting file "/var/lib/acme/nixery.example.org/key.pem" ''
      File with the certificate's key. services.nixery.credentials.tlsKey sets it.
    '';
  };
  limits = {
    connections = setting ints.positive 4096 "Most connections at a time.";
    connections_per_address = setting ints.positive 1024 "Most of one client address.";
    streams = setting ints.positive 16 "Most requests at a time on a connection of HTTP/2.";
    header_timeout = setting ints.positive 30 "Seconds for the head of a request.";
    idle_timeout = setting ints.positive 120 "Seconds that a connection may be idle.";
    write_timeout =
      setting ints.positive 120
        "Seconds for which a client may take nothing, or give no sign that it is there.";
    header_bytes = setting (ints.between 1024 65536) 16384 "Most bytes of a request's headers.";
    url_bytes = setting (ints.between 1024 65000) 8192 "Most bytes of a request's URL.";
    body_bytes = setting ints.unsigned 65536 "Most bytes of a body, which nobody reads.";
    requests_per_second = setting ints.unsigned 50 ''
      Requests of one client address in a second, in the long run; 0 for any number.
    '';
    requests_burst = setting ints.positive 500 "Requests of one client address at once.";
    watchers = setting ints.unsigned 1000 "Most clients that watch builds.";
    downloads = setting ints.positive 1024 "Most blobs that are sent at a time.";
    downloads_per_address = setting ints.positive 512 "Most of one client address.";
  };
  source = {
    channel = setting str "nixos-unstable" ''
      Package source: a branch of nixpkgs, or a full commit of it.
    '';
    repo = setting str "https://git.example.org/packages" ''
      Package source: URL of a Git repository. Image tags are its branches, tags and commits.
    '';
    path = setting file "/srv/packages" "Package source: a directory, or a Nix file.";
    refresh = setting ints.unsigned 300 ''
      Seconds after which it is asked again which commit a branch is at.
    '';
    channels = setting patterns [
      "nixos-26.05"
    ] "Of nixpkgs: patterns of the channels that image tags may choose besides latest.";
    references = setting patterns [
      "v*"
    ] "Of a Git repository: patterns of the branches and tags that image tags may choose.";
    allow_commits = setting bool false "Whether an image tag may be a full commit.";
    nixpkgs_repository = setting str "https://git.example.org/nixpkgs" ''
      Of nixpkgs: URL of the Git repository that is asked which commit a channel is at.
    '';
    nixpkgs_archive = setting str "https://example.org/nixpkgs" ''
      Of nixpkgs: URL below which the tarball of a commit is COMMIT.tar.gz.
    '';
    fingerprint = setting bool true "Of a directory: whether the server finds out what it is at.";
  };
  storage = {
    backend = setting (enum [
      "filesystem"
      "gcs"
    ]) "gcs" "Where images are kept: in a directory, or in a bucket of Google Cloud Storage.";
    path =
      setting file "/srv/nixery"
        "Directory of images; storage in the state directory, if not set.";
    min_free = setting ints.unsigned 1000 "Megabytes that have to be free for new images.";
  };
  gcs = {
    bucket = setting str "example-nixery" "Name of the bucket.";
    credentials = setting file "/run/credentials/nixery.service/google" ''
      File with the server's credentials. services.nixery.credentials.google sets it.
    '';
    redirect = setting bool true "Whether clients are sent to the bucket for blobs.";
    sign = setting (enum [
      "key"
      "iam"
      "none"
    ]) "iam" "How URLs in the bucket are signed.";
    signing_key = setting file "/run/credentials/nixery.service/signing-key" ''
      File with the key that URLs are signed with. services.nixery.credentials.signingKey
      sets it.
    '';
    signing_account = setting str "nixery@example.iam.gserviceaccount.com" ''
      The service account that has that key.
    '';
    endpoint = setting str "http://127.0.0.1:4443" "URL of the service as the server reaches it.";
    public_endpoint = setting str "https://storage.example.org" ''
      URL of the service as clients reach it.
    '';
    anonymous = setting bool false "Whether the bucket is used without credentials.";
  };
  cache = {
    path = setting file "/var/cache/nixery" "Directory of this server alone.";
    max_mb = setting ints.unsigned 64 "Most megabytes in it.";
  };
  gc = {
    interval = setting ints.unsigned 86400 ''
      Seconds between garbage collections by the server. services.nixery.gc.enable has a timer
      do it instead.
    '';
    keep = setting ints.unsigned 30 "Days that images are kept which nobody asks for.";
    max_bytes = setting ints.unsigned 200000000000 "Most bytes of blobs that are left.";
  };
  nix = {
    timeout = setting ints.positive 60 "Seconds that Nix may take for one image at a time.";
    max_builds = setting ints.positive 4 "For how many images Nix runs at the same time.";
    max_queue = setting ints.unsigned 100 "How many more images may be made or wait.";
    popularity_url = setting str "https://example.org/popularity.json" ''
      Where the popularity of packages is read from.
    '';
    roots = setting file "/var/lib/nixery/roots" "Directory of the garbage collector's roots.";
    restrict_eval = setting bool true ''
      Whether the evaluation of a package set may read and fetch only its source and
      allowed_uris.
    '';
    allowed_uris = setting patterns [
      "https://github.com/NixOS/nixpkgs/"
    ] "What a package set may fetch and read besides its source.";
    allow_import_from_derivation = setting bool false ''
      Whether the evaluation of a package set may have something built first.
    '';
    environment = setting patterns [ "AWS_PROFILE" ] ''
      Names of further environment variables that the builder gets.
    '';
    nice = setting (ints.between 0 19) 10 "By how much the builder gives way to others.";
    max_memory_mb = setting ints.unsigned 4000 ''
      Megabytes of memory for each process of the builder; 0 for no limit.
    '';
  };
  image = {
    platform = setting (enum [
      "amd64"
      "arm64"
    ]) "amd64" "Platform of images whose name doesn't choose one.";
    max_layers = setting (ints.between 1 120) 94 "Most layers that store paths are spread over.";
    max_packages = setting (ints.between 1 1000) 100 "Most packages of an image.";
    max_paths = setting ints.positive 20000 "Most store paths of an image.";
    max_closure_bytes = setting ints.positive 20000000000 "Most bytes of them.";
  };
  packing = {
    level = setting (ints.between 1 12) 5 "Compression of layers.";
    threads = setting (ints.between 1 256) 4 "Threads that compress.";
    memory = setting (ints.between 64 1048576) 256 "Most megabytes of memory for packing.";
  };
  web = {
    builds = setting bool false "Whether there are lists of the images that are made, and Nix's log.";
    log_lines = setting ints.positive 2000 "Most lines of Nix's log that are kept of a build.";
    keep_builds = setting ints.positive 100 "How many builds that have ended are shown.";
    dir =
      setting file "/srv/www"
        "Directory of web pages beside the server's own; the book, if not set.";
  };
  access = {
    htpasswd = setting file "/run/credentials/nixery.service/htpasswd" ''
      File with users and bcrypt hashes of their passwords.
      services.nixery.credentials.htpasswd sets it.
    '';
    tokens = setting file "/run/credentials/nixery.service/tokens" ''
      File with users and SHA-256 of their tokens. services.nixery.credentials.tokens sets it.
    '';
    rules = setting (listOf str) [
      "anonymous may pull"
      "* may build"
    ] "Who may pull images that were made before, or have them built, of which packages.";
    url = setting str "https://nixery.example.org" ''
      URL of the server as clients reach it; needed with rules for anonymous and others.
    '';
  };
  log = {
    filter = setting str "nixery=debug,warn" "Which messages are logged.";
    format = setting (enum [
      "text"
      "json"
      "journal"
    ]) "json" "How messages are written.";
  };
}
