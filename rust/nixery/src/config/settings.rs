//! Every setting: its key in the TOML file, its environment variable, and what
//! it means.

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Key in the TOML file: table, dot, name.
    pub key: &'static str,
    /// Environment variable.
    pub variable: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// Value without the setting, in words where it is not one constant.
    pub default: &'static str,
    /// Meaning, unit and allowed values.
    pub help: &'static str,
}

/// What the text of an environment variable is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A whole number, not negative.
    Number,
    /// `true` or `false`.
    Flag,
    /// Texts, separated by commas or blanks.
    List,
}

macro_rules! constructor {
    ($name:ident, $kind:ident) => {
        const fn $name(
            key: &'static str,
            variable: &'static str,
            default: &'static str,
            help: &'static str,
        ) -> Setting {
            Setting { key, variable, kind: Kind::$kind, default, help }
        }
    };
}
constructor!(text, Text);
constructor!(number, Number);
constructor!(flag, Flag);
constructor!(list, List);

/// All settings, by table.
pub const SETTINGS: &[Setting] = &[
    text(
        "server.address",
        "NIXERY_ADDRESS",
        "every address, IPv6 and IPv4",
        "IP address to listen on.",
    ),
    number("server.port", "PORT", "8080", "TCP port to listen on; 0 takes a free one."),
    text(
        "server.socket",
        "NIXERY_SOCKET",
        "",
        "Absolute path of a UNIX socket to listen on, instead of address and port.",
    ),
    list(
        "server.trusted_proxies",
        "NIXERY_TRUSTED_PROXIES",
        "none",
        "Addresses and networks, such as 10.0.0.0/8, of proxies whose X-Forwarded-For is believed.",
    ),
    text(
        "tls.certificate",
        "NIXERY_TLS_CERTIFICATE",
        "none: no TLS",
        "File with the server's certificate, and those between it and the authority (PEM).",
    ),
    text("tls.key", "NIXERY_TLS_KEY", "", "File with the certificate's private key (PEM)."),
    number(
        "limits.connections",
        "NIXERY_LIMITS_CONNECTIONS",
        "4096",
        "Most connections at a time.",
    ),
    number(
        "limits.connections_per_address",
        "NIXERY_LIMITS_CONNECTIONS_PER_ADDRESS",
        "1024",
        "Most connections at a time of one client address; trusted proxies may have more.",
    ),
    number(
        "limits.streams",
        "NIXERY_LIMITS_STREAMS",
        "100",
        "Most requests at a time on one connection of HTTP/2.",
    ),
    number(
        "limits.header_timeout",
        "NIXERY_LIMITS_HEADER_TIMEOUT",
        "30",
        "Seconds within which a client has to send the head of a request, TLS included.",
    ),
    number(
        "limits.idle_timeout",
        "NIXERY_LIMITS_IDLE_TIMEOUT",
        "120",
        "Seconds after the last answer until a connection without requests is closed.",
    ),
    number(
        "limits.write_timeout",
        "NIXERY_LIMITS_WRITE_TIMEOUT",
        "120",
        "Seconds without any progress after which an answer is given up that the client doesn't \
         take.",
    ),
    number(
        "limits.header_bytes",
        "NIXERY_LIMITS_HEADER_BYTES",
        "16384",
        "Most bytes of a request's headers, names and values.",
    ),
    number("limits.url_bytes", "NIXERY_LIMITS_URL_BYTES", "8192", "Most bytes of a request's URL."),
    number(
        "limits.body_bytes",
        "NIXERY_LIMITS_BODY_BYTES",
        "65536",
        "Most bytes of a body that a request may announce. No body is read.",
    ),
    number(
        "limits.requests_per_second",
        "NIXERY_LIMITS_REQUESTS_PER_SECOND",
        "0",
        "Requests of one client address in a second, in the long run; 0 for no limit.",
    ),
    number(
        "limits.requests_burst",
        "NIXERY_LIMITS_REQUESTS_BURST",
        "500",
        "Requests of one client address at once, after a pause.",
    ),
    number(
        "limits.watchers",
        "NIXERY_LIMITS_WATCHERS",
        "1000",
        "Most clients that watch builds as they go on.",
    ),
    text(
        "source.channel",
        "NIXERY_CHANNEL",
        "",
        "Package source: a branch of nixpkgs, such as nixos-unstable, or a full commit of it.",
    ),
    text(
        "source.repo",
        "NIXERY_PKGS_REPO",
        "",
        "Package source: URL of a git repository that is a package set. Image tags are its \
         branches, tags and commits.",
    ),
    text(
        "source.path",
        "NIXERY_PKGS_PATH",
        "",
        "Package source: absolute path of a directory, or Nix file, that is a package set.",
    ),
    number(
        "source.refresh",
        "NIXERY_SOURCE_REFRESH",
        "300",
        "Seconds after which it is asked again, in the background, which commit a channel, branch \
         or tag is at; less than 5 count as 5.",
    ),
    list(
        "source.channels",
        "NIXERY_SOURCE_CHANNELS",
        "nixos-[0-9][0-9].[0-9][0-9], the same with -small, nixos-unstable, nixos-unstable-small",
        "Of nixpkgs: patterns of the channels that image tags may choose besides latest; an empty \
         list allows none.",
    ),
    list(
        "source.references",
        "NIXERY_SOURCE_REFERENCES",
        "all",
        "Of a git repository: patterns of the branches and tags that image tags may choose \
         besides latest.",
    ),
    flag(
        "source.allow_commits",
        "NIXERY_SOURCE_ALLOW_COMMITS",
        "true for a git repository without source.references, otherwise false",
        "Whether an image tag may be a full commit, which can be anybody's.",
    ),
    text(
        "source.nixpkgs_repository",
        "NIXERY_NIXPKGS_REPOSITORY",
        "https://github.com/NixOS/nixpkgs",
        "Of nixpkgs: URL of the git repository that is asked which commit a channel is at.",
    ),
    text(
        "source.nixpkgs_archive",
        "NIXERY_NIXPKGS_ARCHIVE",
        "https://github.com/NixOS/nixpkgs/archive",
        "Of nixpkgs: http, https or file URL below which the tarball of a commit is COMMIT.tar.gz.",
    ),
    flag(
        "source.fingerprint",
        "NIXERY_SOURCE_FINGERPRINT",
        "true",
        "Of a directory: whether it is looked at what it contains, so that its images are known \
         again; without, Nix runs at each pull.",
    ),
    text(
        "storage.backend",
        "NIXERY_STORAGE_BACKEND",
        "filesystem",
        "Where images are kept: filesystem, or gcs for a bucket of Google Cloud Storage.",
    ),
    text(
        "storage.path",
        "STORAGE_PATH",
        "storage, in the state directory",
        "Directory for the filesystem backend; made where it is missing. Several servers may \
         share it.",
    ),
    text("gcs.bucket", "GCS_BUCKET", "", "Name of the bucket. Several servers may share it."),
    text(
        "gcs.credentials",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "the well-known file of gcloud, then the metadata server",
        "File with the credentials of the server, as Google gives it (JSON).",
    ),
    flag(
        "gcs.redirect",
        "NIXERY_GCS_REDIRECT",
        "true",
        "Whether clients are sent to the bucket for blobs; without, the server reads them and \
         passes them on.",
    ),
    text(
        "gcs.sign",
        "NIXERY_GCS_SIGN",
        "key",
        "How URLs in the bucket are signed: key, with gcs.signing_key or the key in \
         gcs.credentials, and not at all where there is neither; iam, by Google's service for \
         that (signBlob); none.",
    ),
    text(
        "gcs.signing_key",
        "GCS_SIGNING_KEY",
        "the key in gcs.credentials, if it is a service account's",
        "File with the private key that URLs are signed with (PEM).",
    ),
    text(
        "gcs.signing_account",
        "GCS_SIGNING_ACCOUNT",
        "",
        "The service account that has gcs.signing_key: its e-mail address.",
    ),
    text(
        "gcs.endpoint",
        "NIXERY_GCS_ENDPOINT",
        "https://storage.googleapis.com",
        "URL of the service as this server reaches it: a private endpoint, or an emulator.",
    ),
    text(
        "gcs.public_endpoint",
        "NIXERY_GCS_PUBLIC_ENDPOINT",
        "gcs.endpoint",
        "URL of the service as clients reach it.",
    ),
    flag(
        "gcs.anonymous",
        "NIXERY_GCS_ANONYMOUS",
        "false",
        "Whether the server uses the bucket without credentials, as emulators let it.",
    ),
    text(
        "cache.path",
        "NIXERY_CACHE_PATH",
        "CACHE_DIRECTORY, or cache in the state directory",
        "Directory of this server alone, for manifests and what sources are at.",
    ),
    number("cache.max_mb", "NIXERY_CACHE_MAX_MB", "64", "Most megabytes in that directory."),
    number(
        "gc.interval",
        "NIXERY_GC_INTERVAL",
        "0",
        "Seconds between garbage collections of the storage; 0 leaves them to nixery --gc.",
    ),
    number(
        "gc.keep",
        "NIXERY_GC_KEEP",
        "30",
        "Days after the last request for an image until it may be removed.",
    ),
    number(
        "gc.max_bytes",
        "NIXERY_GC_MAX_BYTES",
        "0",
        "Most bytes of blobs that garbage collection leaves: if there are more, the images that \
         were asked for least recently go; 0 for no limit.",
    ),
    number(
        "nix.timeout",
        "NIX_TIMEOUT",
        "60",
        "Seconds that Nix may take for one image at a time. What was built by then is kept, so a \
         later try goes on from there.",
    ),
    number(
        "nix.max_builds",
        "NIXERY_NIX_MAX_BUILDS",
        "4",
        "For how many images Nix runs at the same time.",
    ),
    number(
        "nix.max_queue",
        "NIXERY_NIX_MAX_QUEUE",
        "100",
        "How many more images may be made or wait for their turn; clients that ask for others are \
         told to come back later.",
    ),
    text(
        "nix.popularity_url",
        "NIX_POPULARITY_URL",
        "none",
        "Where the popularity of packages is read from at start (http, https or file URL).",
    ),
    text(
        "nix.roots",
        "NIXERY_NIX_ROOTS",
        "roots, in the state directory",
        "Directory for the roots that keep Nix's garbage collector away from what is being \
         packed.",
    ),
    text(
        "image.platform",
        "NIXERY_IMAGE_PLATFORM",
        "that of the server's machine",
        "Platform of images whose name doesn't choose one: amd64 or arm64.",
    ),
    number(
        "image.max_layers",
        "NIXERY_IMAGE_MAX_LAYERS",
        "94",
        "Most layers that the store paths of an image are spread over, 1 to 120. One more \
         holds the links to them.",
    ),
    number(
        "packing.level",
        "NIXERY_PACKING_LEVEL",
        "5",
        "Compression of layers, 1 (quickest) to 12 (smallest).",
    ),
    number(
        "packing.threads",
        "NIXERY_PACKING_THREADS",
        "the number of CPU cores",
        "Threads that compress, for all images together, 1 to 256.",
    ),
    flag(
        "web.builds",
        "NIXERY_WEB_BUILDS",
        "true",
        "Whether everybody may see which images are made, and Nix's log of it, below /builds.",
    ),
    text(
        "web.dir",
        "WEB_DIR",
        "",
        "Absolute path of a directory with web pages, such as the book, that are served beside \
         the server's own.",
    ),
    text(
        "log.filter",
        "NIXERY_LOG",
        "info",
        "Which messages are logged: a level (error, warn, info, debug, trace), or directives \
         such as nixery=debug,warn.",
    ),
    text(
        "log.format",
        "NIXERY_LOG_FORMAT",
        "journal if standard error is systemd's journal, otherwise text",
        "How messages are written: text or json, to standard error, or to the journal, with \
         fields.",
    ),
];

/// The setting with this key.
pub fn by_key(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}
