//! The configuration in effect, as a TOML file.

use std::path::Path;
use std::time::Duration;

use toml_edit::{Array, DocumentMut, Item, Table, value};

use super::{AccessConfig, Config, LimitsConfig, LogFormat, SourceConfig, StorageConfig};
use crate::access::Rule;
use crate::nix::Isolation;
use crate::source::{NamePattern, Source, without_credentials};
use crate::storage::{BucketOptions, Delivery, Identity};

fn integer(number: u64) -> Item {
    value(i64::try_from(number).unwrap_or(i64::MAX))
}

fn seconds(duration: Duration) -> Item {
    integer(duration.as_secs())
}

fn megabytes(bytes: u64) -> Item {
    integer(bytes / 1_000_000)
}

fn path(path: &Path) -> Item {
    value(path.display().to_string())
}

fn patterns(patterns: &[NamePattern]) -> Item {
    value(patterns.iter().map(NamePattern::as_str).collect::<Array>())
}

fn bucket(options: &BucketOptions) -> Vec<(&'static str, Item)> {
    let mut settings = vec![
        ("bucket", value(&options.bucket)),
        ("endpoint", value(&options.endpoint)),
        ("public_endpoint", value(&options.public_endpoint)),
    ];
    match &options.identity {
        Identity::MetadataServer => {}
        Identity::File(file) => settings.push(("credentials", path(file))),
        Identity::Anonymous => settings.push(("anonymous", value(true))),
    }
    settings.push(("redirect", value(options.delivery != Delivery::Streamed)));
    let sign = match &options.delivery {
        Delivery::Streamed => return settings,
        Delivery::Signed | Delivery::SignedWithKey { .. } => "key",
        Delivery::SignedByService => "iam",
        Delivery::Public => "none",
    };
    settings.push(("sign", value(sign)));
    if let Delivery::SignedWithKey { key, account } = &options.delivery {
        settings.push(("signing_key", path(key)));
        settings.push(("signing_account", value(account)));
    }
    settings
}

impl Config {
    /// The effective configuration as a TOML file, without what is secret.
    pub fn to_toml(&self) -> String {
        let number = |n: usize| integer(n as u64);
        let mut document = DocumentMut::new();
        let mut table = |name: &str, fields: Vec<(&str, Item)>| {
            document.insert(name, Item::Table(fields.into_iter().collect::<Table>()));
        };
        let mut server = vec![
            ("port", value(i64::from(self.server.port))),
            ("shutdown_timeout", seconds(self.server.shutdown_timeout)),
        ];
        if let Some(address) = self.server.address {
            server.insert(0, ("address", value(address.to_string())));
        }
        server.extend(self.server.socket.as_deref().map(|socket| ("socket", path(socket))));
        let proxies = self.server.trusted_proxies.iter().map(ToString::to_string);
        server.push(("trusted_proxies", value(proxies.collect::<Array>())));
        table("server", server);
        if let Some(tls) = &self.server.tls {
            table("tls", vec![("certificate", path(&tls.certificate)), ("key", path(&tls.key))]);
        }
        table("limits", self.limits.to_toml());
        table("source", self.source.to_toml());
        let min_free = ("min_free", megabytes(self.disk.min_free));
        match &self.storage {
            StorageConfig::Filesystem { path: directory } => {
                let settings = vec![("backend", value("filesystem")), ("path", path(directory))];
                table("storage", [settings, vec![min_free]].concat());
            }
            StorageConfig::Gcs(options) => {
                table("storage", vec![("backend", value("gcs")), min_free]);
                table("gcs", bucket(options));
            }
        }
        let max_mb = megabytes(self.cache.max_bytes);
        table("cache", vec![("path", path(&self.cache.path)), ("max_mb", max_mb)]);
        table(
            "gc",
            vec![
                ("interval", seconds(self.gc.interval.unwrap_or_default())),
                ("keep", integer(self.gc.keep.as_secs() / (24 * 3600))),
                ("max_bytes", integer(self.gc.max_bytes.unwrap_or_default())),
            ],
        );
        let mut nix = vec![
            ("timeout", seconds(self.nix.timeout)),
            ("max_builds", number(self.nix.max_builds)),
            ("max_queue", number(self.nix.max_queue)),
            ("roots", path(&self.nix.roots)),
        ];
        if let Some(url) = &self.nix.popularity_url {
            nix.push(("popularity_url", value(without_credentials(url))));
        }
        nix.extend(self.nix.isolation.to_toml());
        table("nix", nix);
        table(
            "image",
            vec![
                ("platform", value(self.image.platform.to_string())),
                ("max_layers", number(self.image.max_layers)),
                ("max_packages", number(self.image.max_packages)),
                ("max_paths", number(self.image.max_paths)),
                ("max_closure_bytes", integer(self.image.max_closure_bytes)),
            ],
        );
        table(
            "packing",
            vec![
                ("level", value(i64::from(self.packing.level))),
                ("threads", number(self.packing.threads)),
                ("memory", megabytes(self.packing.memory)),
            ],
        );
        let mut web = vec![
            ("builds", value(self.web.builds)),
            ("log_lines", number(self.web.log_lines)),
            ("keep_builds", number(self.web.keep_builds)),
        ];
        web.extend(self.web.directory.as_deref().map(|directory| ("dir", path(directory))));
        table("web", web);
        if let Some(access) = &self.access {
            table("access", access.to_toml());
        }
        let mut log = vec![("filter", value(&self.log.filter))];
        log.extend(self.log.format.map(|format| {
            let format = match format {
                LogFormat::Text => "text",
                LogFormat::Json => "json",
                LogFormat::Journal => "journal",
            };
            ("format", value(format))
        }));
        table("log", log);
        document.to_string()
    }
}

impl AccessConfig {
    fn to_toml(&self) -> Vec<(&'static str, Item)> {
        let files = [("htpasswd", &self.htpasswd), ("tokens", &self.tokens)];
        let files = files.into_iter().filter_map(|(key, file)| Some((key, path(file.as_ref()?))));
        let mut settings: Vec<_> = files.collect();
        let rules = self.rules.iter().map(Rule::to_string);
        settings.push(("rules", value(rules.collect::<Array>())));
        settings.extend(self.url.iter().map(|url| ("url", value(url))));
        settings
    }
}

impl Isolation {
    fn to_toml(&self) -> [(&'static str, Item); 6] {
        let list = |texts: &[String]| value(texts.iter().collect::<Array>());
        let uris: Vec<String> =
            self.evaluation.allowed_uris.iter().map(|uri| without_credentials(uri)).collect();
        [
            ("restrict_eval", value(self.evaluation.restricted)),
            ("allowed_uris", list(&uris)),
            ("allow_import_from_derivation", value(self.evaluation.import_from_derivation)),
            ("environment", list(&self.environment)),
            ("nice", value(i64::from(self.limits.nice))),
            ("max_memory_mb", integer(self.limits.memory.unwrap_or_default() / 1_000_000)),
        ]
    }
}

impl LimitsConfig {
    fn to_toml(&self) -> Vec<(&'static str, Item)> {
        let number = |n: usize| integer(n as u64);
        vec![
            ("connections", number(self.connections)),
            ("connections_per_address", number(self.connections_per_address)),
            ("streams", integer(self.streams.into())),
            ("header_timeout", seconds(self.header_timeout)),
            ("idle_timeout", seconds(self.idle_timeout)),
            ("write_timeout", seconds(self.write_timeout)),
            ("header_bytes", number(self.header_bytes)),
            ("url_bytes", number(self.url_bytes)),
            ("body_bytes", integer(self.body_bytes)),
            ("requests_per_second", integer(self.requests_per_second.unwrap_or(0).into())),
            ("requests_burst", integer(self.requests_burst.into())),
            ("watchers", number(self.watchers)),
            ("downloads", number(self.downloads)),
            ("downloads_per_address", number(self.downloads_per_address)),
        ]
    }
}

impl SourceConfig {
    /// The settings that say something about this source.
    fn to_toml(&self) -> Vec<(&'static str, Item)> {
        let mut settings = match &self.source {
            Source::Channel { channel, nixpkgs } => {
                let mut settings = vec![("channel", value(channel))];
                let urls = [
                    ("nixpkgs_repository", &nixpkgs.repository),
                    ("nixpkgs_archive", &nixpkgs.archive),
                ];
                for (key, url) in urls {
                    settings.extend(url.iter().map(|url| (key, value(without_credentials(url)))));
                }
                settings.push(("channels", patterns(&self.tags.channels)));
                settings.push(("allow_commits", value(self.tags.allows_commits_of_nixpkgs())));
                settings
            }
            Source::Repository(url) => {
                let mut settings = vec![("repo", value(without_credentials(url)))];
                let references = self.tags.references.as_deref();
                settings.extend(references.map(|names| ("references", patterns(names))));
                let commits = self.tags.allows_commits_of_repository();
                settings.push(("allow_commits", value(commits)));
                settings
            }
            Source::Path(directory) => {
                return vec![("path", path(directory)), ("fingerprint", value(self.fingerprint))];
            }
        };
        settings.push(("refresh", seconds(self.refresh)));
        settings
    }
}
