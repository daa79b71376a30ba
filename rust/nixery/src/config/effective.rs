//! From what was written to what holds: defaults, and what values may be.

use std::fmt::Display;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::origin::Layers;
use super::raw::Raw;
use super::{
    CacheConfig, Config, ConfigError, DEFAULT_MAX_LAYERS, DiskConfig, Environment, GcConfig,
    ImageConfig, LogConfig, LogFormat, NixConfig, PackingConfig, ServerConfig, SourceConfig,
    WebConfig, access, isolation, sources, storage, transport,
};
use crate::pin::TRUSTED;
use crate::platform::Platform;

/// Longest time that can be set, a year: more is a mistake in the unit.
pub(super) const MAX_SECONDS: u64 = 365 * 24 * 3600;

/// Fills in defaults and checks every value.
pub(super) fn check(
    raw: &Raw,
    layers: &Layers,
    environment: &Environment,
) -> Result<Config, ConfigError> {
    let number = |key: &str, set: Option<u64>, default: u64, range: RangeInclusive<u64>| {
        let number = set.unwrap_or(default);
        if range.contains(&number) {
            return Ok(number);
        }
        let (low, high) = (range.start(), range.end());
        Err(layers.invalid(key, format!("found {number}, expected a number from {low} to {high}")))
    };
    let count = |key: &str, set, default, range| {
        // Every range given here is far below what `usize` holds.
        number(key, set, default, range).map(|n| usize::try_from(n).unwrap_or(usize::MAX))
    };
    let megabytes = |key: &str, set, default, least| {
        number(key, set, default, least..=1 << 20).map(|megabytes| megabytes * 1_000_000)
    };
    let seconds = |key: &str, set, default, least| {
        number(key, set, default, least..=MAX_SECONDS).map(Duration::from_secs)
    };
    let set_path =
        |key: &str, path: Option<&String>| path.map(|path| absolute(layers, key, path)).transpose();
    let cores = thread::available_parallelism().map_or(1, |n| n.get() as u64).min(256);
    Ok(Config {
        server: ServerConfig {
            address: parsed::<IpAddr>(layers, "server.address", raw.server.address.as_deref())?,
            port: u16::try_from(number("server.port", raw.server.port, 8080, 0..=65535)?)
                .unwrap_or_default(),
            shutdown_timeout: {
                let set = raw.server.shutdown_timeout;
                seconds("server.shutdown_timeout", set, 30, 0)?
            },
            socket: set_path("server.socket", raw.server.socket.as_ref())?,
            trusted_proxies: transport::trusted_proxies(raw, layers)?,
            tls: transport::tls(raw, layers, environment)?,
        },
        limits: transport::limits(raw, layers)?,
        source: SourceConfig {
            source: sources::source(&raw.source, layers)?,
            tags: sources::tag_rules(&raw.source, layers)?,
            refresh: seconds("source.refresh", raw.source.refresh, 300, 0)?.max(TRUSTED),
            fingerprint: raw.source.fingerprint.unwrap_or(true),
        },
        storage: storage::storage(raw, layers, environment)?,
        disk: DiskConfig {
            min_free: megabytes("storage.min_free", raw.storage.min_free, 1000, 0)?,
        },
        cache: CacheConfig {
            path: cache_directory(raw, layers, environment)?,
            max_bytes: megabytes("cache.max_mb", raw.cache.max_mb, 64, 0)?,
        },
        gc: GcConfig {
            interval: Some(seconds("gc.interval", raw.gc.interval, 0, 0)?).filter(|d| !d.is_zero()),
            keep: number("gc.keep", raw.gc.keep, 30, 0..=36_500)
                .map(|days| Duration::from_secs(days * 24 * 3600))?,
            max_bytes: Some(raw.gc.max_bytes.unwrap_or(0)).filter(|&bytes| bytes != 0),
        },
        nix: NixConfig {
            timeout: seconds("nix.timeout", raw.nix.timeout, 60, 1)?,
            max_builds: count("nix.max_builds", raw.nix.max_builds, 4, 1..=10_000)?,
            max_queue: count("nix.max_queue", raw.nix.max_queue, 100, 0..=1_000_000)?,
            popularity_url: popularity_url(raw, layers)?,
            roots: match &raw.nix.roots {
                Some(path) => absolute(layers, "nix.roots", path)?,
                None => state_directory(environment)?.join("roots"),
            },
            isolation: isolation::isolation(&raw.nix, layers)?,
        },
        image: ImageConfig {
            platform: parsed(layers, "image.platform", raw.image.platform.as_deref())?
                .or_else(Platform::of_this_machine)
                .unwrap_or(Platform::Amd64),
            max_layers: count(
                "image.max_layers",
                raw.image.max_layers,
                DEFAULT_MAX_LAYERS as u64,
                1..=120,
            )?,
            max_packages: count("image.max_packages", raw.image.max_packages, 100, 1..=1000)?,
            max_paths: count("image.max_paths", raw.image.max_paths, 20_000, 1..=1_000_000)?,
            max_closure_bytes: number(
                "image.max_closure_bytes",
                raw.image.max_closure_bytes,
                20_000_000_000,
                1..=1 << 50,
            )?,
        },
        packing: PackingConfig {
            level: u8::try_from(number("packing.level", raw.packing.level, 5, 1..=12)?)
                .unwrap_or_default(),
            threads: count("packing.threads", raw.packing.threads, cores, 1..=256)?,
            memory: megabytes("packing.memory", raw.packing.memory, 256, 64)?,
        },
        web: WebConfig {
            builds: raw.web.builds.unwrap_or(true),
            log_lines: count("web.log_lines", raw.web.log_lines, 2000, 1..=1_000_000)?,
            keep_builds: count("web.keep_builds", raw.web.keep_builds, 100, 1..=10_000)?,
            directory: set_path("web.dir", raw.web.dir.as_ref())?,
        },
        access: access::access(&raw.access, layers, environment)?,
        log: LogConfig { filter: log_filter(raw, layers)?, format: log_format(raw, layers)? },
    })
}

fn parsed<T: std::str::FromStr<Err: Display>>(
    layers: &Layers,
    key: &str,
    text: Option<&str>,
) -> Result<Option<T>, ConfigError> {
    let Some(text) = text else { return Ok(None) };
    text.parse()
        .map(Some)
        .map_err(|error: T::Err| layers.invalid(key, format!("found {text:?}: {error}")))
}

fn popularity_url(raw: &Raw, layers: &Layers) -> Result<Option<String>, ConfigError> {
    let Some(url) = &raw.nix.popularity_url else { return Ok(None) };
    http_or_file_url(layers, "nix.popularity_url", url)?;
    Ok(Some(url.clone()))
}

pub(super) fn http_or_file_url(layers: &Layers, key: &str, url: &str) -> Result<(), ConfigError> {
    if ["http://", "https://", "file:///"].iter().any(|scheme| url.starts_with(scheme)) {
        return Ok(());
    }
    let problem = format!("found {url:?}, expected an http://, https:// or file:/// URL");
    Err(layers.invalid(key, problem))
}

fn log_filter(raw: &Raw, layers: &Layers) -> Result<String, ConfigError> {
    let filter = raw.log.filter.clone().unwrap_or_else(|| "info".to_owned());
    match EnvFilter::builder().parse(&filter) {
        Ok(_) => Ok(filter),
        Err(error) => {
            let problem = format!(
                "found {filter:?} ({error}), expected a level (error, warn, info, debug, trace) or \
                 directives such as nixery=debug,warn"
            );
            Err(layers.invalid("log.filter", problem))
        }
    }
}

fn log_format(raw: &Raw, layers: &Layers) -> Result<Option<LogFormat>, ConfigError> {
    match raw.log.format.as_deref() {
        None => Ok(None),
        Some("text") => Ok(Some(LogFormat::Text)),
        Some("json") => Ok(Some(LogFormat::Json)),
        Some("journal") => Ok(Some(LogFormat::Journal)),
        Some(other) => {
            let problem = format!("found {other:?}, expected \"text\", \"json\" or \"journal\"");
            Err(layers.invalid("log.format", problem))
        }
    }
}

pub(super) fn absolute(layers: &Layers, key: &str, path: &str) -> Result<PathBuf, ConfigError> {
    if Path::new(path).is_absolute() {
        return Ok(path.into());
    }
    Err(layers.invalid(key, format!("found {path:?}, expected an absolute path")))
}

/// Where this server keeps what others don't see: what is set, or systemd's choice, or
/// in the state directory.
fn cache_directory(
    raw: &Raw,
    layers: &Layers,
    environment: &Environment,
) -> Result<PathBuf, ConfigError> {
    if let Some(path) = &raw.cache.path {
        return absolute(layers, "cache.path", path);
    }
    match of_systemd(environment, "CACHE_DIRECTORY")? {
        Some(directory) => Ok(directory),
        None => Ok(state_directory(environment)?.join("cache")),
    }
}

/// The first directory in a variable that systemd sets.
fn of_systemd(environment: &Environment, variable: &str) -> Result<Option<PathBuf>, ConfigError> {
    let Some(directories) = environment.get(variable) else { return Ok(None) };
    let directory = Path::new(directories.split(':').next().unwrap_or(directories));
    if directory.is_absolute() {
        return Ok(Some(directory.to_owned()));
    }
    Err(ConfigError::Invalid {
        origin: format!("environment variable {variable}"),
        problem: format!("found {directories:?}, expected an absolute path"),
    })
}

/// Where things are kept when no other place is set: systemd's choice, the
/// system's directory for root, the user's for others (XDG base directories).
pub(super) fn state_directory(environment: &Environment) -> Result<PathBuf, ConfigError> {
    if let Some(directory) = of_systemd(environment, "STATE_DIRECTORY")? {
        return Ok(directory);
    }
    if rustix::process::geteuid().is_root() {
        return Ok("/var/lib/nixery".into());
    }
    let state_home = environment.get("XDG_STATE_HOME").map(PathBuf::from);
    let home = environment.get("HOME").map(|home| Path::new(home).join(".local/state"));
    match state_home.or(home) {
        Some(base) if base.is_absolute() => Ok(base.join("nixery")),
        _ => Err(ConfigError::NoStateDirectory),
    }
}
