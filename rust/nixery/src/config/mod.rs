//! Configuration: defaults, then a TOML file, then the environment.
//!
//! Read once, in `main`; every other part is given only what concerns it.

mod access;
mod effective;
mod environment;
mod error;
mod isolation;
mod origin;
mod printed;
mod raw;
pub mod settings;
mod sources;
mod storage;
mod transport;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

use crate::access::Rules;
use crate::nix::Isolation;
use crate::platform::Platform;
use crate::source::{Source, TagRules};
use crate::storage::BucketOptions;
use origin::Layers;

pub use environment::Environment;
pub use error::ConfigError;

/// The file that is read where it exists and no other is named.
const SYSTEM_FILE: &str = "/etc/nixery/nixery.toml";

/// What `image.max_layers` is when it isn't set. With the layer of links and the
/// layers that people add in builds of their own, it stays below the 127 that
/// Docker can have.
pub const DEFAULT_MAX_LAYERS: usize = 94;

/// Everything the server was told, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// What to listen on.
    pub server: ServerConfig,
    /// What clients may take.
    pub limits: LimitsConfig,
    /// Where packages come from.
    pub source: SourceConfig,
    /// Where images are kept.
    pub storage: StorageConfig,
    /// How much of the disk is left free.
    pub disk: DiskConfig,
    /// What is kept on this machine alone.
    pub cache: CacheConfig,
    /// What is removed from the storage.
    pub gc: GcConfig,
    /// How Nix is called.
    pub nix: NixConfig,
    /// What images are like.
    pub image: ImageConfig,
    /// How layers are packed.
    pub packing: PackingConfig,
    /// What people see.
    pub web: WebConfig,
    /// Who may do what; `None`: everybody may everything.
    pub access: Option<AccessConfig>,
    /// What is logged.
    pub log: LogConfig,
}

/// What to listen on.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// `None`: every address.
    pub address: Option<IpAddr>,
    /// 0: a free one.
    pub port: u16,
    /// For how long running responses may go on when the server is told to stop.
    pub shutdown_timeout: Duration,
    /// A UNIX socket instead.
    pub socket: Option<PathBuf>,
    /// Whose word on client addresses is taken.
    pub trusted_proxies: Vec<IpNet>,
    /// `None`: without TLS.
    pub tls: Option<TlsFiles>,
}

/// What the server shows clients that speak TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM: the server's certificate, then those up to the authority.
    pub certificate: PathBuf,
    /// PEM: the private key.
    pub key: PathBuf,
}

/// What clients may take.
#[derive(Clone, Debug)]
pub struct LimitsConfig {
    /// At a time.
    pub connections: usize,
    /// At a time, of one address.
    pub connections_per_address: usize,
    /// Requests at a time on one connection of HTTP/2.
    pub streams: u32,
    /// For the head of a request.
    pub header_timeout: Duration,
    /// For a connection between requests.
    pub idle_timeout: Duration,
    /// For an answer that makes no progress, and without a sign that the client is there.
    pub write_timeout: Duration,
    /// Of the headers of a request.
    pub header_bytes: usize,
    /// Of the URL of a request.
    pub url_bytes: usize,
    /// Of the body of a request.
    pub body_bytes: u64,
    /// Of one address, in the long run; `None`: any number.
    pub requests_per_second: Option<u32>,
    /// Of one address, at once.
    pub requests_burst: u32,
    /// Clients that watch builds.
    pub watchers: usize,
    /// Blobs that are sent at a time.
    pub downloads: usize,
    /// Of those, to one address.
    pub downloads_per_address: usize,
}

/// Where packages come from.
#[derive(Clone, Debug)]
pub struct SourceConfig {
    /// The package set.
    pub source: Source,
    /// Which tags there are.
    pub tags: TagRules,
    /// After how long it is asked again what a channel, branch or tag is at.
    pub refresh: Duration,
    /// Whether a directory is known again by its content.
    pub fingerprint: bool,
}

/// What is kept on this machine alone.
#[derive(Clone, Debug)]
pub struct CacheConfig {
    /// The directory.
    pub path: PathBuf,
    /// Most bytes in it.
    pub max_bytes: u64,
}

/// What is removed from the storage.
#[derive(Clone, Debug)]
pub struct GcConfig {
    /// How often the server collects; `None`: never.
    pub interval: Option<Duration>,
    /// How long images are kept that nobody asks for.
    pub keep: Duration,
    /// Most bytes that are left; `None`: any number.
    pub max_bytes: Option<u64>,
}

/// Where images are kept.
#[derive(Clone, Debug)]
pub enum StorageConfig {
    /// In a directory.
    Filesystem {
        /// The directory.
        path: PathBuf,
    },
    /// In a bucket.
    Gcs(BucketOptions),
}

/// How much of the disk is left free.
#[derive(Clone, Debug)]
pub struct DiskConfig {
    /// Bytes below which no new images are made; 0 for any number.
    pub min_free: u64,
}

/// How Nix is called.
#[derive(Clone, Debug)]
pub struct NixConfig {
    /// For one image.
    pub timeout: Duration,
    /// Images made at the same time.
    pub max_builds: usize,
    /// Images that may wait for that.
    pub max_queue: usize,
    /// http, https or file URL.
    pub popularity_url: Option<String>,
    /// Directory of garbage collector roots.
    pub roots: PathBuf,
    /// What the builder and package sets may do.
    pub isolation: Isolation,
}

/// What images are like.
#[derive(Clone, Debug)]
pub struct ImageConfig {
    /// Where the name chooses none.
    pub platform: Platform,
    /// Most layers for store paths.
    pub max_layers: usize,
    /// Most packages, besides those that are in every image.
    pub max_packages: usize,
    /// Most store paths.
    pub max_paths: usize,
    /// Most bytes of store paths.
    pub max_closure_bytes: u64,
}

/// How layers are packed.
#[derive(Clone, Debug)]
pub struct PackingConfig {
    /// Compression level of libdeflate, 1 to 12.
    pub level: u8,
    /// Compressing threads.
    pub threads: usize,
    /// Most bytes of memory.
    pub memory: u64,
}

/// What people see.
#[derive(Clone, Debug)]
pub struct WebConfig {
    /// Whether builds and their logs are shown to everybody.
    pub builds: bool,
    /// Most lines of Nix's log that are kept of a build.
    pub log_lines: usize,
    /// Builds that are remembered besides those that run.
    pub keep_builds: usize,
    /// Has web pages besides the server's own.
    pub directory: Option<PathBuf>,
}

/// Who may do what.
#[derive(Clone, Debug)]
pub struct AccessConfig {
    /// File with users and hashes of their passwords.
    pub htpasswd: Option<PathBuf>,
    /// File with users and hashes of their tokens.
    pub tokens: Option<PathBuf>,
    /// What they may do.
    pub rules: Rules,
    /// The server, as clients reach it; there if some may do something without logging in,
    /// and others more.
    pub url: Option<String>,
}

/// What is logged.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// Directives for `tracing_subscriber::EnvFilter`.
    pub filter: String,
    /// How; `None`: to the journal if standard error is that, otherwise as text.
    pub format: Option<LogFormat>,
}

/// How log messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
    /// To systemd's journal, with fields.
    Journal,
}

impl Config {
    /// Reads the file that `--config` or `NIXERY_CONFIG` names (or the
    /// system's, where there is one), and the environment.
    pub fn load(file: Option<&Path>, environment: &Environment) -> Result<Self, ConfigError> {
        let system_file = Path::new(SYSTEM_FILE);
        let file = file
            .or_else(|| environment.get("NIXERY_CONFIG").map(Path::new))
            .or_else(|| system_file.exists().then_some(system_file));
        Self::of(&Layers::read(file, environment)?, environment)
    }

    fn of(layers: &Layers, environment: &Environment) -> Result<Self, ConfigError> {
        effective::check(&layers.extract()?, layers, environment)
    }
}

#[cfg(test)]
mod fuzzed;

#[cfg(test)]
mod tests;
