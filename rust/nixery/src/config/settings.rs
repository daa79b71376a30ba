//! Every setting: its key in the TOML file, its environment variable, and what
//! it means.
//!
//! The tables of `book/src/reference/configuration.md` are made of this: a test
//! compares them, and with `NIXERY_WRITE_BOOK=1` in its environment writes them.

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Key in the TOML file: table, dot, name.
    pub key: &'static str,
    /// Environment variable.
    pub variable: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// Value without the setting: a constant, which is one word, or some words
    /// in Markdown; empty if there is none.
    pub default: &'static str,
    /// Meaning, unit and allowed values: whole sentences in Markdown, whose links
    /// are those of the reference's page.
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
    /// Texts with blanks and commas in them, separated by semicolons or line ends.
    Sentences,
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
constructor!(sentences, Sentences);

/// All settings, by table.
pub const SETTINGS: &[Setting] = &[
    text(
        "server.address",
        "NIXERY_ADDRESS",
        "every address, IPv6 and IPv4",
        "IP address to listen on.",
    ),
    number("server.port", "PORT", "8080", "TCP port to listen on, 0 to 65535; 0 takes a free one."),
    number(
        "server.shutdown_timeout",
        "NIXERY_SHUTDOWN_TIMEOUT",
        "30",
        "Seconds that running responses may go on for when the server is told to stop, \
         0 to 31536000. See [The end](#the-end)",
    ),
    text(
        "server.socket",
        "NIXERY_SOCKET",
        "",
        "Absolute path of a UNIX socket to listen on, instead of `address` and `port`; \
         for a proxy on the same machine. The server's user and group may open it \
         (mode 0660). A socket that a killed server has left is replaced, anything \
         else is not; at the end it is removed.",
    ),
    list(
        "server.trusted_proxies",
        "NIXERY_TRUSTED_PROXIES",
        "",
        "List of addresses and networks, such as `10.0.0.0/8` and `2001:db8::/32`, of \
         proxies that say in `X-Forwarded-For` whom they pass a request on for: see \
         [clients behind proxies](#clients-behind-proxies)",
    ),
    text(
        "tls.certificate",
        "NIXERY_TLS_CERTIFICATE",
        "`$CREDENTIALS_DIRECTORY/tls-certificate`, if that is there",
        "Absolute path of a file with the server's certificate, followed by those \
         between it and the authority (PEM)",
    ),
    text(
        "tls.key",
        "NIXERY_TLS_KEY",
        "`$CREDENTIALS_DIRECTORY/tls-key`, if that is there",
        "Absolute path of a file with the certificate's private key, without a \
         password (PEM)",
    ),
    number(
        "limits.connections",
        "NIXERY_LIMITS_CONNECTIONS",
        "4096",
        "Most connections at a time, 1 to 1000000. Others are told 503, or, with TLS, \
         hung up on. Each takes a file descriptor, and one more while a blob is sent: \
         there are at most half as many as files may be open (`LimitNOFILE=`).",
    ),
    number(
        "limits.connections_per_address",
        "NIXERY_LIMITS_CONNECTIONS_PER_ADDRESS",
        "1024",
        "Most connections at a time of one client address, 1 to 1000000. Others are \
         told 429, or, with TLS, hung up on. Trusted proxies, and the UNIX socket, may \
         have more. At most a quarter as many as files may be open.",
    ),
    number(
        "limits.streams",
        "NIXERY_LIMITS_STREAMS",
        "16",
        "Most requests at a time on one connection of HTTP/2, 1 to 10000.",
    ),
    number(
        "limits.header_timeout",
        "NIXERY_LIMITS_HEADER_TIMEOUT",
        "30",
        "Seconds within which the first request of a connection has to be there whole, \
         TLS included, and any later one from its first byte on, 1 to 31536000.",
    ),
    number(
        "limits.idle_timeout",
        "NIXERY_LIMITS_IDLE_TIMEOUT",
        "120",
        "Seconds after the last answer until a connection on which nothing is asked is \
         closed, 1 to 31536000. A proxy in front should give up its idle connections \
         earlier.",
    ),
    number(
        "limits.write_timeout",
        "NIXERY_LIMITS_WRITE_TIMEOUT",
        "120",
        "Seconds for which a client may take nothing of an answer, or give no sign when it \
         is asked whether it is there, 1 to 31536000. How long the whole takes plays no part.",
    ),
    number(
        "limits.header_bytes",
        "NIXERY_LIMITS_HEADER_BYTES",
        "16384",
        "Most bytes of a request's headers: names, values, and 32 for each, 1024 to \
         65536. Of HTTP/1 there may be 100 headers.",
    ),
    number(
        "limits.url_bytes",
        "NIXERY_LIMITS_URL_BYTES",
        "8192",
        "Most bytes of a request's path and query, 1024 to 65000.",
    ),
    number(
        "limits.body_bytes",
        "NIXERY_LIMITS_BODY_BYTES",
        "65536",
        "Most bytes of a body that a POST may announce, 0 to 2<sup>40</sup>. No body \
         is read; with HTTP/1 the connection is closed after the answer to a request \
         that has one.",
    ),
    number(
        "limits.requests_per_second",
        "NIXERY_LIMITS_REQUESTS_PER_SECOND",
        "0",
        "Requests of one client address in a second, in the long run, 0 to 1000000; 0 \
         for any number.",
    ),
    number(
        "limits.requests_burst",
        "NIXERY_LIMITS_REQUESTS_BURST",
        "500",
        "Requests of one client address at once, after a pause, 1 to 1000000. Plays no \
         part while `requests_per_second` is 0.",
    ),
    number(
        "limits.watchers",
        "NIXERY_LIMITS_WATCHERS",
        "1000",
        "Most clients that [watch builds](http-api.md#builds) at a time, 0 to 1000000. \
         Those of one address may be a quarter of that.",
    ),
    number(
        "limits.downloads",
        "NIXERY_LIMITS_DOWNLOADS",
        "1024",
        "Most blobs that the server sends at a time, 1 to 1000000, and a quarter of the files \
         that it may have open (`ulimit -n`) at most. Others are told 503. Each takes a file \
         descriptor, and up to 256 KiB of memory.",
    ),
    number(
        "limits.downloads_per_address",
        "NIXERY_LIMITS_DOWNLOADS_PER_ADDRESS",
        "512",
        "Most blobs that the server sends at a time to one client address, 1 to 1000000. \
         Others are told 429. A client fetches three to six layers at a time. Trusted proxies, \
         and the UNIX socket, may have more, where they don't say whom they ask for.",
    ),
    text(
        "source.channel",
        "NIXERY_CHANNEL",
        "",
        "A branch of nixpkgs, such as `nixos-unstable`, or a full commit of it.",
    ),
    text(
        "source.repo",
        "NIXERY_PKGS_REPO",
        "",
        "URL, or absolute path, of a Git repository that is a package set. Image tags are its \
         branches, tags and commits.",
    ),
    text(
        "source.path",
        "NIXERY_PKGS_PATH",
        "",
        "Absolute path of a directory with a `default.nix`, or of a Nix file in a directory of its \
         own, that is a package set.",
    ),
    number(
        "source.refresh",
        "NIXERY_SOURCE_REFRESH",
        "300",
        "Seconds after which it is asked again, in the background, which commit a channel, branch \
         or tag is at, 0 to 31536000; less than 5 count as 5.",
    ),
    list(
        "source.channels",
        "NIXERY_SOURCE_CHANNELS",
        "[those of the releases](#tags-of-nixpkgs)",
        "For nixpkgs only: patterns of the channels that image tags may choose besides `latest`. An \
         empty list (`[]` in the file, `,` in the variable) allows none.",
    ),
    list(
        "source.references",
        "NIXERY_SOURCE_REFERENCES",
        "all of them",
        "For a Git repository only: patterns of the branches and tags that image tags may choose besides \
         `latest`. An empty list allows none.",
    ),
    flag(
        "source.allow_commits",
        "NIXERY_SOURCE_ALLOW_COMMITS",
        "[depends on the source](#commits-as-tags)",
        "Whether an image tag may be a full commit: `true` or `false`.",
    ),
    text(
        "source.nixpkgs_repository",
        "NIXERY_NIXPKGS_REPOSITORY",
        "https://github.com/NixOS/nixpkgs",
        "For nixpkgs only: URL of the Git repository that is asked which commit a channel is at.",
    ),
    text(
        "source.nixpkgs_archive",
        "NIXERY_NIXPKGS_ARCHIVE",
        "https://github.com/NixOS/nixpkgs/archive",
        "For nixpkgs only: URL below which the tarball of a commit is `COMMIT.tar.gz`: `http://`, \
         `https://` or `file:///`.",
    ),
    flag(
        "source.fingerprint",
        "NIXERY_SOURCE_FINGERPRINT",
        "true",
        "For a directory only: whether the server finds out [what the directory is \
         at](#what-a-directory-is-at), so that its images are known again. With `false`, Nix runs \
         at each pull that comes over five seconds after the last, unless the path is one in the \
         Nix store.",
    ),
    text(
        "storage.backend",
        "NIXERY_STORAGE_BACKEND",
        "filesystem",
        "Where images are kept: `filesystem`, in a directory, or `gcs`, in a [bucket](#gcs).",
    ),
    text(
        "storage.path",
        "STORAGE_PATH",
        "`storage` in the [state directory](#the-state-directory)",
        "With `filesystem`: absolute path of a directory; made where it is missing. Several \
         servers may share it.",
    ),
    text(
        "gcs.bucket",
        "GCS_BUCKET",
        "must be set",
        "Name of the bucket, without `gs://`. Several servers may share it.",
    ),
    number(
        "storage.min_free",
        "NIXERY_STORAGE_MIN_FREE",
        "1000",
        "Megabytes that have to be free [where images are kept](#free-space), 0 to \
         1048576; 0 for any number.",
    ),
    text(
        "gcs.credentials",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "`google` among [systemd's credentials](command-line.md#under-systemd), then the file that \
         `gcloud` has written for the user, then the metadata server",
        "Absolute path of a file with the server's credentials (JSON): of a service account, a \
         user, an impersonated account, or for workload identity federation.",
    ),
    flag(
        "gcs.redirect",
        "NIXERY_GCS_REDIRECT",
        "true",
        "Whether clients are sent to the bucket for blobs; with `false`, the server reads them and \
         passes them on.",
    ),
    text(
        "gcs.sign",
        "NIXERY_GCS_SIGN",
        "key",
        "How the URLs in the bucket are signed: `key`, with `gcs.signing_key` or else the key in \
         `gcs.credentials`, and not at all where there is neither; `iam`, by Google's service for \
         that (signBlob); `none`.",
    ),
    text(
        "gcs.signing_key",
        "GCS_SIGNING_KEY",
        "`signing-key` among systemd's credentials, then the key in `gcs.credentials`, if that is \
         of a service account",
        "Absolute path of a file with a private RSA key (PEM, PKCS #8 or PKCS #1, not encrypted).",
    ),
    text(
        "gcs.signing_account",
        "GCS_SIGNING_ACCOUNT",
        "",
        "The service account that has this key: its e-mail address. Must be set with \
         `gcs.signing_key`.",
    ),
    text(
        "gcs.endpoint",
        "NIXERY_GCS_ENDPOINT",
        "https://storage.googleapis.com",
        "URL of the service as the server reaches it: scheme, host and port. A private endpoint, \
         or an emulator.",
    ),
    text(
        "gcs.public_endpoint",
        "NIXERY_GCS_PUBLIC_ENDPOINT",
        "that of `gcs.endpoint`",
        "The same as clients reach it.",
    ),
    flag(
        "gcs.anonymous",
        "NIXERY_GCS_ANONYMOUS",
        "false",
        "Whether the server uses the bucket without credentials, as emulators let it; \
         `gcs.credentials` is not read then.",
    ),
    text(
        "cache.path",
        "NIXERY_CACHE_PATH",
        "`$CACHE_DIRECTORY`, or `cache` in the [state directory](#the-state-directory)",
        "Absolute path of a directory of this server alone, for manifests and for what sources are \
         at; made where it is missing. It may be deleted at any time.",
    ),
    number(
        "cache.max_mb",
        "NIXERY_CACHE_MAX_MB",
        "64",
        "Most megabytes in it, 0 to 1048576. What was used least recently is removed first.",
    ),
    number(
        "gc.interval",
        "NIXERY_GC_INTERVAL",
        "0",
        "Seconds between collections by the server, 0 to 31536000; the first is ten minutes after \
         the start, or earlier. 0 leaves them to [`nixery --gc`](command-line.md#--gc).",
    ),
    number(
        "gc.keep",
        "NIXERY_GC_KEEP",
        "30",
        "Days after the last request for an image, by name or by digest, until it may be removed, \
         0 to 36500.",
    ),
    number(
        "gc.max_bytes",
        "NIXERY_GC_MAX_BYTES",
        "0",
        "Most bytes of blobs that a collection leaves: if there are more, the images that were \
         asked for least recently are removed, even if that was fewer than `gc.keep` days ago. 0 \
         for no limit. What was used in the last 65 minutes stays all the same.",
    ),
    number(
        "nix.timeout",
        "NIX_TIMEOUT",
        "60",
        "Seconds that Nix may take at a time for one image, 1 to 31536000. What was built by then \
         is kept, so a later try goes on from there. Waiting for a turn and packing do not count.",
    ),
    number(
        "nix.max_builds",
        "NIXERY_NIX_MAX_BUILDS",
        "4",
        "For how many images Nix runs at the same time, 1 to 10000. Images that need no Nix do not \
         wait for a turn.",
    ),
    number(
        "nix.max_queue",
        "NIXERY_NIX_MAX_QUEUE",
        "100",
        "How many more images may be made or wait for their turn, 0 to 1000000; clients that ask \
         for others get 429. One client address may have half of them, and clients take turns.",
    ),
    text(
        "nix.popularity_url",
        "NIX_POPULARITY_URL",
        "",
        "Where the popularity of packages is read from, at start and at `SIGHUP`: an `http://`, \
         `https://` or `file:///` URL. See [Layering](../explanation/layering.md#popularity).",
    ),
    text(
        "nix.roots",
        "NIXERY_NIX_ROOTS",
        "`roots` in the [state directory](#the-state-directory)",
        "Absolute path of a directory for the roots that keep Nix's garbage collector away from \
         what is being packed.",
    ),
    flag(
        "nix.restrict_eval",
        "NIXERY_NIX_RESTRICT_EVAL",
        "true",
        "Whether the evaluation of a package set may read and fetch only its source \
         and `nix.allowed_uris`. See [What a package set may \
         do](#what-a-package-set-may-do)",
    ),
    list(
        "nix.allowed_uris",
        "NIXERY_NIX_ALLOWED_URIS",
        "",
        "List of what a package set may fetch and read besides its source: beginnings \
         of URLs (`https://github.com/NixOS/nixpkgs/`), and absolute paths.",
    ),
    flag(
        "nix.allow_import_from_derivation",
        "NIXERY_NIX_ALLOW_IMPORT_FROM_DERIVATION",
        "false",
        "Whether the evaluation of a package set may have something built and go on \
         with what is in that.",
    ),
    list(
        "nix.environment",
        "NIXERY_NIX_ENVIRONMENT",
        "",
        "List of names of environment variables that the builder gets besides [the \
         usual ones](builder-protocol.md#surroundings)",
    ),
    number(
        "nix.nice",
        "NIXERY_NIX_NICE",
        "10",
        "By how much the builder gives way to the server and others on the processor, \
         0 to 19.",
    ),
    number(
        "nix.max_memory_mb",
        "NIXERY_NIX_MAX_MEMORY_MB",
        "0",
        "Megabytes of memory for each process of the builder, 64 to 1048576; 0: no \
         limit. To evaluate nixpkgs takes several hundred.",
    ),
    text(
        "image.platform",
        "NIXERY_IMAGE_PLATFORM",
        "that of the server's machine",
        "Platform of images whose name does not choose one: `amd64` or `arm64`.",
    ),
    number(
        "image.max_layers",
        "NIXERY_IMAGE_MAX_LAYERS",
        "94",
        "Most layers that the store paths of an image are spread over, 1 to 120. One more holds \
         the links to them.",
    ),
    number(
        "image.max_packages",
        "NIXERY_IMAGE_MAX_PACKAGES",
        "100",
        "Most packages of an image, 1 to 1000, each counted once: those that `shell` \
         stands for count, those that are in every image don't.",
    ),
    number(
        "image.max_paths",
        "NIXERY_IMAGE_MAX_PATHS",
        "20000",
        "Most store paths of an image, with all that its packages need, 1 to 1000000.",
    ),
    number(
        "image.max_closure_bytes",
        "NIXERY_IMAGE_MAX_CLOSURE_BYTES",
        "20000000000",
        "Most bytes that these store paths have before compression (NAR sizes), 1 to \
         2<sup>50</sup>.",
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
        "the number of CPU cores, at most 256",
        "Threads that compress, for all images together, 1 to 256.",
    ),
    number(
        "packing.memory",
        "NIXERY_PACKING_MEMORY",
        "256",
        "Most megabytes of memory that packing takes, for all images together, 64 to \
         1048576. Where the threads would need more, there are fewer, and the log says \
         so at start: each takes about 4 MiB, or 12 from level 10 on. A layer that is \
         on its way to a bucket takes 24 MiB more, of which there are up to three.",
    ),
    flag(
        "web.builds",
        "NIXERY_WEB_BUILDS",
        "true",
        "Whether there are lists of [the images that are made](http-api.md#builds), and Nix's log \
         is kept and shown, to those who may pull them. With `false`, how one build goes on can \
         still be asked by its name, without the log.",
    ),
    number(
        "web.log_lines",
        "NIXERY_WEB_LOG_LINES",
        "2000",
        "Most lines of Nix's log that are kept of a build, in memory, and 128 times as \
         many bytes: the last ones; 1 to 1000000.",
    ),
    number(
        "web.keep_builds",
        "NIXERY_WEB_KEEP_BUILDS",
        "100",
        "How many builds that have ended are shown, 1 to 10000.",
    ),
    text(
        "web.dir",
        "WEB_DIR",
        "",
        "Absolute path of a directory with web pages, such as this book, that are served beside \
         the server's own. The flake's package sets the book, unless it is set.",
    ),
    text(
        "access.htpasswd",
        "NIXERY_ACCESS_HTPASSWD",
        "`htpasswd` among [systemd's credentials](command-line.md#under-systemd), if it is there",
        "Absolute path of a file with users and bcrypt hashes of their passwords, as `htpasswd -B` \
         writes it: `$2y$`, `$2b$` or `$2a$`, with a cost of 4 to 15.",
    ),
    text(
        "access.tokens",
        "NIXERY_ACCESS_TOKENS",
        "`tokens` among systemd's credentials, if it is there",
        "Absolute path of a file with users and SHA-256 of their tokens, in hexadecimal: \
         `USER:SHA-256`.",
    ),
    sentences(
        "access.rules",
        "NIXERY_ACCESS_RULES",
        "`* may build`, if there is one of these files",
        "Who may do what: `WHO may pull` or `WHO may build`, and then perhaps [patterns of \
         packages](../how-to/access.md#rules-for-packages). A list in the file; in the variable \
         separated by semicolons or line ends.",
    ),
    text(
        "access.url",
        "NIXERY_ACCESS_URL",
        "must be set if there are rules for `anonymous`, and others",
        "URL of the server as clients reach it: scheme, host and port.",
    ),
    text(
        "log.filter",
        "NIXERY_LOG",
        "info",
        "Which messages are logged: a level (`error`, `warn`, `info`, `debug`, `trace`), or \
         directives such as `nixery=debug,warn`.",
    ),
    text(
        "log.format",
        "NIXERY_LOG_FORMAT",
        "`journal` if standard error is the journal (`$JOURNAL_STREAM`), otherwise `text`",
        "`text`, lines for people; `json`, one object a line; `journal`, entries with a priority \
         and fields such as `NIXERY_IMAGE`.",
    ),
];

/// The setting with this key.
pub fn by_key(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}
