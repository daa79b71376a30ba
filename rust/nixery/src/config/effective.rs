//! From what was written to what holds: defaults, and what values may be.

use std::fmt::Display;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use toml_edit::{DocumentMut, Item, Table, value};
use tracing_subscriber::EnvFilter;

use super::origin::Layers;
use super::raw::Raw;
use super::{
    Config, ConfigError, DEFAULT_MAX_LAYERS, Environment, ImageConfig, LogConfig, LogFormat,
    NixConfig, PackingConfig, ServerConfig, SourceConfig, StorageConfig,
};
use crate::platform::Platform;
use crate::source::Source;

/// Longest time that can be set, a year: more is a mistake in the unit.
const MAX_SECONDS: u64 = 365 * 24 * 3600;

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
    let seconds = |key: &str, set, default, least| {
        number(key, set, default, least..=MAX_SECONDS).map(Duration::from_secs)
    };
    let cores = thread::available_parallelism().map_or(1, |n| n.get() as u64).min(256);
    Ok(Config {
        server: ServerConfig {
            address: parsed::<IpAddr>(layers, "server.address", raw.server.address.as_deref())?,
            port: u16::try_from(number("server.port", raw.server.port, 8080, 0..=65535)?)
                .unwrap_or_default(),
        },
        source: SourceConfig {
            source: source(raw, layers)?,
            refresh: seconds("source.refresh", raw.source.refresh, 300, 0)?,
        },
        storage: storage(raw, layers, environment)?,
        nix: NixConfig {
            timeout: seconds("nix.timeout", raw.nix.timeout, 60, 1)?,
            max_builds: count("nix.max_builds", raw.nix.max_builds, 4, 1..=10_000)?,
            max_queue: count("nix.max_queue", raw.nix.max_queue, 100, 0..=1_000_000)?,
            popularity_url: popularity_url(raw, layers)?,
            roots: match &raw.nix.roots {
                Some(path) => absolute(layers, "nix.roots", path)?,
                None => state_directory(environment)?.join("roots"),
            },
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
        },
        packing: PackingConfig {
            level: u8::try_from(number("packing.level", raw.packing.level, 5, 1..=12)?)
                .unwrap_or_default(),
            threads: count("packing.threads", raw.packing.threads, cores, 1..=256)?,
        },
        log: LogConfig {
            filter: log_filter(raw, layers)?,
            format: match raw.log.format.as_deref() {
                None | Some("text") => LogFormat::Text,
                Some("json") => LogFormat::Json,
                Some(other) => {
                    let problem = format!("found {other:?}, expected \"text\" or \"json\"");
                    return Err(layers.invalid("log.format", problem));
                }
            },
        },
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

fn source(raw: &Raw, layers: &Layers) -> Result<Source, ConfigError> {
    let raw = &raw.source;
    let set = [
        ("source.channel", raw.channel.as_deref()),
        ("source.repo", raw.repo.as_deref()),
        ("source.path", raw.path.as_deref()),
    ];
    let set: Vec<(&str, &str)> =
        set.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    match set[..] {
        [] => Err(ConfigError::NoSource),
        [(key, value)] => match key {
            "source.channel" => channel(layers, value),
            "source.repo" if value.starts_with('-') => {
                let problem = format!("found {value:?}, expected the URL of a git repository");
                Err(layers.invalid(key, problem))
            }
            "source.repo" => Ok(Source::Repository(value.to_owned())),
            _ => Ok(Source::Path(absolute(layers, key, value)?)),
        },
        _ => {
            let origins = set.iter().map(|(key, _)| layers.origin(key)).collect();
            Err(ConfigError::ManySources { origins })
        }
    }
}

/// The name becomes a part of a URL, so it may have only what branches of
/// nixpkgs have.
fn channel(layers: &Layers, name: &str) -> Result<Source, ConfigError> {
    let ok = name.bytes().all(|c| c.is_ascii_alphanumeric() || b"-._".contains(&c))
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && !name.contains("..");
    if ok {
        return Ok(Source::Channel(name.to_owned()));
    }
    let problem = format!(
        "found {name:?}, expected a branch of nixpkgs such as nixos-unstable, or a full commit"
    );
    Err(layers.invalid("source.channel", problem))
}

fn storage(
    raw: &Raw,
    layers: &Layers,
    environment: &Environment,
) -> Result<StorageConfig, ConfigError> {
    match raw.storage.backend.as_deref() {
        None | Some("filesystem") => {}
        Some(other) => {
            let problem = format!("found {other:?}, expected \"filesystem\"");
            return Err(layers.invalid("storage.backend", problem));
        }
    }
    let path = match &raw.storage.path {
        Some(path) => absolute(layers, "storage.path", path)?,
        None => state_directory(environment)?.join("storage"),
    };
    Ok(StorageConfig::Filesystem { path })
}

fn popularity_url(raw: &Raw, layers: &Layers) -> Result<Option<String>, ConfigError> {
    let Some(url) = &raw.nix.popularity_url else { return Ok(None) };
    if ["http://", "https://", "file:///"].iter().any(|scheme| url.starts_with(scheme)) {
        return Ok(Some(url.clone()));
    }
    let problem = format!("found {url:?}, expected an http://, https:// or file:/// URL");
    Err(layers.invalid("nix.popularity_url", problem))
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

fn absolute(layers: &Layers, key: &str, path: &str) -> Result<PathBuf, ConfigError> {
    if Path::new(path).is_absolute() {
        return Ok(path.into());
    }
    Err(layers.invalid(key, format!("found {path:?}, expected an absolute path")))
}

/// Where things are kept when no other place is set: systemd's choice, the
/// system's directory for root, the user's for others (XDG base directories).
fn state_directory(environment: &Environment) -> Result<PathBuf, ConfigError> {
    if let Some(directories) = environment.get("STATE_DIRECTORY") {
        let directory = Path::new(directories.split(':').next().unwrap_or(directories));
        return if directory.is_absolute() {
            Ok(directory.to_owned())
        } else {
            Err(ConfigError::Invalid {
                origin: "environment variable STATE_DIRECTORY".to_owned(),
                problem: format!("found {directories:?}, expected an absolute path"),
            })
        };
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

impl Config {
    /// The effective configuration as a TOML file, without what is secret.
    pub fn to_toml(&self) -> String {
        let number = |n: usize| value(i64::try_from(n).unwrap_or(i64::MAX));
        let seconds = |d: Duration| value(i64::try_from(d.as_secs()).unwrap_or(i64::MAX));
        let path = |p: &Path| value(p.display().to_string());
        let mut document = DocumentMut::new();
        let mut table = |name: &str, fields: Vec<(&str, Item)>| {
            document.insert(name, Item::Table(fields.into_iter().collect::<Table>()));
        };
        let mut server = vec![("port", value(i64::from(self.server.port)))];
        if let Some(address) = self.server.address {
            server.insert(0, ("address", value(address.to_string())));
        }
        table("server", server);
        let source = match &self.source.source {
            Source::Channel(channel) => ("channel", value(channel)),
            Source::Repository(url) => ("repo", value(crate::source::without_credentials(url))),
            Source::Path(directory) => ("path", path(directory)),
        };
        table("source", vec![source, ("refresh", seconds(self.source.refresh))]);
        let StorageConfig::Filesystem { path: directory } = &self.storage;
        table("storage", vec![("backend", value("filesystem")), ("path", path(directory))]);
        let mut nix = vec![
            ("timeout", seconds(self.nix.timeout)),
            ("max_builds", number(self.nix.max_builds)),
            ("max_queue", number(self.nix.max_queue)),
            ("roots", path(&self.nix.roots)),
        ];
        if let Some(url) = &self.nix.popularity_url {
            nix.push(("popularity_url", value(crate::source::without_credentials(url))));
        }
        table("nix", nix);
        table(
            "image",
            vec![
                ("platform", value(self.image.platform.to_string())),
                ("max_layers", number(self.image.max_layers)),
            ],
        );
        table(
            "packing",
            vec![
                ("level", value(i64::from(self.packing.level))),
                ("threads", number(self.packing.threads)),
            ],
        );
        let format = match self.log.format {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        };
        table("log", vec![("filter", value(&self.log.filter)), ("format", value(format))]);
        document.to_string()
    }
}
