use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::settings::SETTINGS;
use super::*;

mod access;
mod bucket;
mod transport;

/// A package source, and places for the rest.
const BASE: [(&str, &str); 3] =
    [("NIXERY_PKGS_PATH", "/pkgs"), ("STATE_DIRECTORY", "/var/lib/nixery"), ("NIXERY_CONFIG", "")];

fn with(more: &[(&str, &str)]) -> Environment {
    BASE.into_iter().chain(more.iter().copied()).collect()
}

fn toml(text: &str) -> (TempDir, PathBuf) {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("nixery.toml");
    fs::write(&file, text).unwrap();
    (directory, file)
}

fn error(file: Option<&Path>, environment: &Environment) -> String {
    Config::load(file, environment).unwrap_err().to_string()
}

#[test]
fn a_package_source_is_all_that_must_be_set() {
    let config = Config::load(None, &with(&[])).unwrap();
    assert_eq!(config.source.source, Source::Path("/pkgs".into()));
    assert_eq!(config.server.port, 8080);
    assert_eq!(config.nix.timeout, Duration::from_mins(1));
    assert_eq!(config.image.max_layers, 94);
    assert_eq!(config.packing.level, 5);
    let StorageConfig::Filesystem { path } = config.storage else { panic!("{config:?}") };
    assert_eq!(path, Path::new("/var/lib/nixery/storage"));
}

#[test]
fn no_source_names_the_three_variables() {
    let none: Environment = [("STATE_DIRECTORY", "/s")].into_iter().collect();
    let message = error(None, &none);
    for variable in ["NIXERY_CHANNEL", "NIXERY_PKGS_REPO", "NIXERY_PKGS_PATH"] {
        assert!(message.contains(variable), "{message}");
    }
}

#[test]
fn two_sources_are_named_with_their_places() {
    let (_directory, file) = toml("[nix]\n\n[source]\nchannel = \"nixos-unstable\"\n");
    let message = error(Some(&file), &with(&[]));
    assert!(message.contains("nixery.toml:4: source.channel"), "{message}");
    assert!(message.contains("NIXERY_PKGS_PATH"), "{message}");
}

#[test]
fn the_environment_wins_over_the_file() {
    let (_directory, file) = toml("[server]\nport = 1\n[nix]\ntimeout = 5\n");
    let config = Config::load(Some(&file), &with(&[("PORT", "9000")])).unwrap();
    assert_eq!(config.server.port, 9000);
    assert_eq!(config.nix.timeout, Duration::from_secs(5));
}

#[test]
fn the_file_may_be_named_by_a_variable() {
    let (_directory, file) = toml("[server]\nport = 81\n");
    let environment = with(&[("NIXERY_CONFIG", file.to_str().unwrap())]);
    assert_eq!(Config::load(None, &environment).unwrap().server.port, 81);
    let missing = with(&[("NIXERY_CONFIG", "/does/not/exist.toml")]);
    assert!(error(None, &missing).contains("/does/not/exist.toml"));
}

#[test]
fn numbers_in_variables_stay_text_where_text_is_meant() {
    let environment = [("NIXERY_CHANNEL", "2405"), ("STATE_DIRECTORY", "/s")];
    let config = Config::load(None, &environment.into_iter().collect()).unwrap();
    assert!(matches!(config.source.source, Source::Channel { channel, .. } if channel == "2405"));
}

#[test]
fn wrong_variables_are_named_with_what_is_right() {
    for (variable, value, expected) in [
        ("PORT", "http", "whole number"),
        ("PORT", "70000", "from 0 to 65535"),
        ("NIX_TIMEOUT", "1m", "whole number"),
        ("NIX_TIMEOUT", "0", "from 1"),
        ("NIX_TIMEOUT", "-1", "whole number"),
        ("NIXERY_PACKING_LEVEL", "13", "from 1 to 12"),
        ("NIXERY_STORAGE_BACKEND", "s3", "\"filesystem\" or \"gcs\""),
        ("NIXERY_STORAGE_BACKEND", "gcs", "GCS_BUCKET (gcs.bucket)"),
        ("GCS_BUCKET", "images", "NIXERY_STORAGE_BACKEND (storage.backend)"),
        ("STORAGE_PATH", "relative", "absolute"),
        ("NIXERY_IMAGE_PLATFORM", "riscv64", "arm64"),
        ("NIXERY_ADDRESS", "localhost", "IP address"),
        ("NIXERY_LOG_FORMAT", "xml", "json"),
        ("NIXERY_LOG", "nixery=loud", "debug"),
        ("NIX_POPULARITY_URL", "popularity.json", "https://"),
        ("NIXERY_SOURCE_FINGERPRINT", "yes", "true or false"),
        ("NIXERY_SOURCE_CHANNELS", "nixos-*", "nixpkgs (source.channel)"),
        ("NIXERY_SOURCE_REFERENCES", "v*", "git repository (source.repo)"),
        ("NIXERY_CACHE_PATH", "cache", "absolute"),
        ("NIXERY_CACHE_MAX_MB", "1e3", "whole number"),
        ("NIXERY_GC_KEEP", "40000", "to 36500"),
        ("NIXERY_GC_MAX_BYTES", "200G", "whole number"),
        ("NIXERY_ACCESS_HTPASSWD", "htpasswd", "absolute"),
        ("NIXERY_ACCESS_TOKENS", "tokens", "absolute"),
        ("NIXERY_ACCESS_RULES", "anonymous may push", "anonymous may pull"),
        ("NIXERY_ACCESS_RULES", ";", "expected one such as"),
        ("NIXERY_ACCESS_RULES", "ann may build", "NIXERY_ACCESS_HTPASSWD (access.htpasswd)"),
        ("NIXERY_ACCESS_URL", "nixery.example.org", "http:// or https://"),
        ("NIXERY_ACCESS_URL", "https://nixery.example.org", "NIXERY_ACCESS_TOKENS"),
        ("NIXERY_STORAGE_MIN_FREE", "5%", "whole number"),
        ("NIXERY_IMAGE_MAX_PACKAGES", "0", "from 1 to 1000"),
        ("NIXERY_IMAGE_MAX_PATHS", "0", "from 1 to 1000000"),
        ("NIXERY_IMAGE_MAX_CLOSURE_BYTES", "20 GB", "whole number"),
        ("NIXERY_PACKING_MEMORY", "32", "from 64"),
        ("NIXERY_WEB_LOG_LINES", "0", "from 1"),
        ("NIXERY_WEB_KEEP_BUILDS", "all", "whole number"),
        ("NIXERY_SHUTDOWN_TIMEOUT", "-1", "whole number"),
        ("NIXERY_NIX_NICE", "20", "from 0 to 19"),
        ("NIXERY_NIX_MAX_MEMORY_MB", "63", "from 64"),
        ("NIXERY_NIX_ENVIRONMENT", "AWS_PROFILE=x", "without values"),
        ("NIXERY_NIX_ALLOWED_URIS", "github.com/NixOS", "https://"),
        ("NIXERY_NIX_RESTRICT_EVAL", "no", "true or false"),
        ("NIXERY_NIX_ALLOW_IMPORT_FROM_DERIVATION", "1", "true or false"),
        ("NIXERY_SOCKET", "nixery.sock", "absolute"),
        ("NIXERY_TRUSTED_PROXIES", "10.0.0.0/8, proxy", "10.0.0.0/8"),
        ("NIXERY_TRUSTED_PROXIES", "10.0.0.0/33", "10.0.0.0/33"),
        ("NIXERY_TLS_CERTIFICATE", "/cert.pem", "NIXERY_TLS_KEY (tls.key)"),
        ("NIXERY_TLS_KEY", "/key.pem", "NIXERY_TLS_CERTIFICATE (tls.certificate)"),
        ("NIXERY_LIMITS_CONNECTIONS", "0", "from 1"),
        ("NIXERY_LIMITS_CONNECTIONS_PER_ADDRESS", "many", "whole number"),
        ("NIXERY_LIMITS_STREAMS", "0", "from 1"),
        ("NIXERY_LIMITS_HEADER_TIMEOUT", "0", "from 1"),
        ("NIXERY_LIMITS_IDLE_TIMEOUT", "0", "from 1"),
        ("NIXERY_LIMITS_WRITE_TIMEOUT", "0", "from 1"),
        ("NIXERY_LIMITS_HEADER_BYTES", "100", "from 1024 to 65536"),
        ("NIXERY_LIMITS_URL_BYTES", "100", "from 1024"),
        ("NIXERY_LIMITS_BODY_BYTES", "1k", "whole number"),
        ("NIXERY_LIMITS_REQUESTS_PER_SECOND", "0.5", "whole number"),
        ("NIXERY_LIMITS_REQUESTS_BURST", "0", "from 1"),
        ("NIXERY_LIMITS_WATCHERS", "-1", "whole number"),
    ] {
        let message = error(None, &with(&[(variable, value)]));
        assert!(message.contains(variable) && message.contains(expected), "{variable}: {message}");
    }
    let channel = [("NIXERY_CHANNEL", "../evil"), ("STATE_DIRECTORY", "/s")];
    assert!(error(None, &channel.into_iter().collect()).contains("nixos-unstable"));
    for (source, variable, value, expected) in [
        ("NIXERY_CHANNEL", "NIXERY_NIXPKGS_REPOSITORY", "-x", "git repository"),
        ("NIXERY_CHANNEL", "NIXERY_NIXPKGS_REPOSITORY", "nixpkgs", "git repository"),
        ("NIXERY_CHANNEL", "NIXERY_NIXPKGS_ARCHIVE", "archive", "https://"),
        ("NIXERY_CHANNEL", "NIXERY_NIXPKGS_ARCHIVE", "https://h/x?y=1", "COMMIT.tar.gz"),
        ("NIXERY_CHANNEL", "NIXERY_SOURCE_CHANNELS", "nixos-*, nixos-[", "not a pattern"),
        ("NIXERY_CHANNEL", "NIXERY_SOURCE_FINGERPRINT", "false", "source.path"),
        ("NIXERY_CHANNEL", "NIXERY_SOURCE_REFERENCES", "v*", "source.repo"),
        ("NIXERY_PKGS_PATH", "NIXERY_SOURCE_ALLOW_COMMITS", "true", "source.repo"),
    ] {
        let place = if source == "NIXERY_PKGS_PATH" { "/c" } else { "c" };
        let set = [(source, place), ("STATE_DIRECTORY", "/s"), (variable, value)];
        let message = error(None, &set.into_iter().collect());
        assert!(message.contains(variable) && message.contains(expected), "{message}");
    }
    let patterns = [("NIXERY_PKGS_REPO", "/p"), ("NIXERY_SOURCE_REFERENCES", "v***")];
    let patterns = patterns.into_iter().chain([("STATE_DIRECTORY", "/s")]);
    assert!(error(None, &patterns.collect()).contains("not a pattern"));
}

#[test]
fn a_repository_is_a_url_or_an_absolute_path() {
    for (url, is_one) in [
        ("https://example.org/p", true),
        ("git@example.org:p", true),
        ("/srv/p", true),
        ("host:p", true),
        ("./p", false),
        ("p", false),
        ("-p", false),
        ("p/q:r", false),
        ("--upload-pack=x:y", false),
    ] {
        let set = [("NIXERY_PKGS_REPO", url), ("STATE_DIRECTORY", "/s")];
        let loaded = Config::load(None, &set.into_iter().collect());
        assert_eq!(loaded.is_ok(), is_one, "{url}: {loaded:?}");
    }
}

#[test]
fn lists_and_flags_mean_the_same_in_a_variable_and_in_the_file() {
    let source = [("NIXERY_CHANNEL", "c"), ("STATE_DIRECTORY", "/s")];
    let variables = [
        ("NIXERY_SOURCE_CHANNELS", "nixos-*, staging\tmaster,"),
        ("NIXERY_SOURCE_ALLOW_COMMITS", "true"),
    ];
    let by_variable = Config::load(None, &source.into_iter().chain(variables).collect()).unwrap();
    let (_directory, file) =
        toml("[source]\nchannels = [\"nixos-*\", \"staging\", \"master\"]\nallow_commits = true\n");
    let by_file = Config::load(Some(&file), &source.into_iter().collect()).unwrap();
    assert_eq!(by_variable.to_toml(), by_file.to_toml());
    assert_eq!(by_file.source.tags.channels.len(), 3);

    let (_directory, file) = toml("[source]\nchannels = []\n");
    let none = Config::load(Some(&file), &source.into_iter().collect()).unwrap();
    assert!(none.source.tags.channels.is_empty(), "none, rather than the usual ones");
}

#[test]
fn wrong_files_are_named_with_the_line() {
    for (text, place, expected) in [
        ("[nix]\ntimeout = 1\ntimeuot = 60\n", "nixery.toml:3: nix.timeuot", "timeout"),
        ("[nix]\n\ntimeout = \"1\"\n", "nixery.toml:3: nix.timeout", "whole number"),
        ("[server]\nport = -1\n", "nixery.toml:2: server.port", "whole number"),
        ("\n[server]\nport = 70000\n", "nixery.toml:3: server.port", "65535"),
        ("\n[sever]\nport = 1\n", "nixery.toml:2: sever", "server"),
        ("port = 1\n", "nixery.toml:1: port", "server"),
        ("nix = 3\n", "nixery.toml:1: nix", ""),
        ("[nix\n", "nixery.toml", "line 1"),
    ] {
        let (_directory, file) = toml(text);
        let message = error(Some(&file), &with(&[]));
        assert!(message.contains(place) && message.contains(expected), "{text}: {message}");
    }
}

#[test]
fn the_effective_configuration_reads_back_as_itself() {
    let config = Config::load(None, &with(&[("NIXERY_ADDRESS", "127.0.0.1")])).unwrap();
    let repository = [
        ("NIXERY_PKGS_REPO", "https://example.org/p"),
        ("STATE_DIRECTORY", "/s"),
        ("NIXERY_SOURCE_REFERENCES", "v*"),
        ("NIXERY_GC_INTERVAL", "3600"),
    ];
    let of_bucket = [
        ("GOOGLE_APPLICATION_CREDENTIALS", "/a.json"),
        ("GCS_SIGNING_KEY", "/key.pem"),
        ("GCS_SIGNING_ACCOUNT", "me@example.org"),
    ];
    let of_bucket = Config::load(None, &bucket::with(&of_bucket)).unwrap();
    let channel = [("NIXERY_CHANNEL", "c"), ("STATE_DIRECTORY", "/s")];
    let repository = Config::load(None, &repository.into_iter().collect()).unwrap();
    let channel = Config::load(None, &channel.into_iter().collect()).unwrap();
    let access = [
        ("NIXERY_ACCESS_HTPASSWD", "/htpasswd"),
        ("NIXERY_ACCESS_RULES", "anonymous may pull; ann may build corp.*"),
        ("NIXERY_ACCESS_URL", "https://nixery.example.org/"),
    ];
    let access = Config::load(None, &with(&access)).unwrap();
    for config in [config, repository, channel, of_bucket, access] {
        let (_directory, file) = toml(&config.to_toml());
        let again = Config::load(Some(&file), &Environment::default()).unwrap();
        assert_eq!(config.to_toml(), again.to_toml());
    }
}

/// A setting may have a secret in it, and is nobody's affair but the server's.
#[test]
fn no_setting_is_passed_on_to_programs() {
    let systems = ["CREDENTIALS_DIRECTORY", "STATE_DIRECTORY", "NOTIFY_SOCKET", "NIXERY_CONFIG"];
    for variable in SETTINGS.iter().map(|setting| setting.variable).chain(systems) {
        assert!(!crate::process::is_passed_on(variable.as_ref()), "{variable}");
    }
}

#[test]
fn a_package_set_may_do_little_unless_it_is_said() {
    let isolation = |more: &[(&str, &str)]| Config::load(None, &with(more)).unwrap().nix.isolation;
    let usual = isolation(&[]);
    assert!(usual.evaluation.restricted && !usual.evaluation.import_from_derivation);
    assert_eq!((usual.limits.nice, usual.limits.memory), (10, None));
    let set = isolation(&[
        ("NIXERY_NIX_RESTRICT_EVAL", "false"),
        ("NIXERY_NIX_ALLOW_IMPORT_FROM_DERIVATION", "true"),
        ("NIXERY_NIX_ALLOWED_URIS", "https://example.org/, /srv/shared"),
        ("NIXERY_NIX_MAX_MEMORY_MB", "2000"),
    ]);
    assert!(!set.evaluation.restricted && set.evaluation.import_from_derivation);
    assert_eq!(set.evaluation.allowed_uris, ["https://example.org/", "/srv/shared"]);
    assert_eq!(set.limits.memory, Some(2_000_000_000));
}

#[test]
fn secrets_are_not_shown() {
    let environment =
        [("NIXERY_PKGS_REPO", "https://me:secret@example.org/p"), ("STATE_DIRECTORY", "/s")];
    let shown = Config::load(None, &environment.into_iter().collect()).unwrap().to_toml();
    assert!(!shown.contains("secret"), "{shown}");
}

#[test]
fn every_setting_is_listed_and_every_listed_one_exists() {
    let raw = serde_json::to_value(raw::Raw::default()).unwrap();
    let mut keys: Vec<String> = raw
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(table, fields)| {
            fields.as_object().unwrap().keys().map(move |name| format!("{table}.{name}"))
        })
        .collect();
    let mut listed: Vec<String> = SETTINGS.iter().map(|setting| setting.key.to_owned()).collect();
    keys.sort();
    listed.sort();
    assert_eq!(keys, listed);
}
