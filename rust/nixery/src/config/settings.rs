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
}

const fn text(
    key: &'static str,
    variable: &'static str,
    default: &'static str,
    help: &'static str,
) -> Setting {
    Setting { key, variable, kind: Kind::Text, default, help }
}

const fn number(
    key: &'static str,
    variable: &'static str,
    default: &'static str,
    help: &'static str,
) -> Setting {
    Setting { key, variable, kind: Kind::Number, default, help }
}

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
        "Seconds for which what a channel, branch or tag led to is used without asking again.",
    ),
    text(
        "storage.backend",
        "NIXERY_STORAGE_BACKEND",
        "filesystem",
        "Where images are kept: filesystem.",
    ),
    text(
        "storage.path",
        "STORAGE_PATH",
        "storage, in the state directory",
        "Directory for the filesystem backend; made where it is missing. Several servers may \
         share it.",
    ),
    number(
        "nix.timeout",
        "NIX_TIMEOUT",
        "60",
        "Seconds that Nix may take for one image. What was built by then is kept, so a later \
         try goes on from there.",
    ),
    number(
        "nix.max_builds",
        "NIXERY_NIX_MAX_BUILDS",
        "4",
        "How many images are made at the same time.",
    ),
    number(
        "nix.max_queue",
        "NIXERY_NIX_MAX_QUEUE",
        "100",
        "How many more images may wait for their turn; clients that ask for others are told to \
         come back later.",
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
    text(
        "log.filter",
        "NIXERY_LOG",
        "info",
        "Which messages are logged: a level (error, warn, info, debug, trace), or directives \
         such as nixery=debug,warn.",
    ),
    text("log.format", "NIXERY_LOG_FORMAT", "text", "How messages are written: text or json."),
];

/// The setting with this key.
pub fn by_key(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}
