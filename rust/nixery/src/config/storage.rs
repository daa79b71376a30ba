//! Where images are kept.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::effective::{absolute, state_directory};
use super::origin::{Layers, how_to_set};
use super::raw::Raw;
use super::{ConfigError, Environment, StorageConfig};
use crate::storage::{BucketOptions, Delivery, GOOGLE, Identity, PATIENCE};

/// Where gcloud keeps a user's credentials, below the home directory
/// (<https://cloud.google.com/docs/authentication/application-default-credentials>).
const WELL_KNOWN: &str = ".config/gcloud/application_default_credentials.json";

/// What systemd's credentials are called that stand for `gcs.credentials` and
/// `gcs.signing_key`.
const GOOGLE_CREDENTIAL: &str = "google";
const SIGNING_KEY_CREDENTIAL: &str = "signing-key";

pub(super) fn storage(
    raw: &Raw,
    layers: &Layers,
    environment: &Environment,
) -> Result<StorageConfig, ConfigError> {
    match raw.storage.backend.as_deref() {
        None if raw.gcs.bucket.is_some() => {
            let problem = format!(
                "a bucket is named, but images are kept on disk: set {} to gcs as well",
                how_to_set("storage.backend")
            );
            Err(layers.invalid("gcs.bucket", problem))
        }
        None | Some("filesystem") => {
            let path = match &raw.storage.path {
                Some(path) => absolute(layers, "storage.path", path)?,
                None => state_directory(environment)?.join("storage"),
            };
            Ok(StorageConfig::Filesystem { path })
        }
        Some("gcs") => gcs(raw, layers, environment).map(StorageConfig::Gcs),
        Some(other) => {
            let problem = format!("found {other:?}, expected \"filesystem\" or \"gcs\"");
            Err(layers.invalid("storage.backend", problem))
        }
    }
}

fn gcs(
    raw: &Raw,
    layers: &Layers,
    environment: &Environment,
) -> Result<BucketOptions, ConfigError> {
    let gcs = &raw.gcs;
    let Some(bucket) = gcs.bucket.clone() else {
        let problem = format!("\"gcs\" needs a bucket: set {}", how_to_set("gcs.bucket"));
        return Err(layers.invalid("storage.backend", problem));
    };
    check_name(layers, &bucket)?;
    let endpoint = endpoint(layers, "gcs.endpoint", gcs.endpoint.as_deref())?;
    let public = self::endpoint(layers, "gcs.public_endpoint", gcs.public_endpoint.as_deref())?;
    let endpoint = endpoint.unwrap_or_else(|| GOOGLE.to_owned());
    let credentials = match &gcs.credentials {
        Some(file) => Some(secret_file(layers, "gcs.credentials", file)?),
        None => credential(environment, GOOGLE_CREDENTIAL).or_else(|| well_known(environment)),
    };
    let identity = match (gcs.anonymous.unwrap_or(false), credentials) {
        (false, Some(file)) => Identity::File(file),
        (false, None) => Identity::MetadataServer,
        // The variable may be set for other programs.
        (true, _) => Identity::Anonymous,
    };
    Ok(BucketOptions {
        bucket,
        public_endpoint: public.unwrap_or_else(|| endpoint.clone()),
        endpoint,
        identity,
        delivery: delivery(raw, layers, environment)?,
        patience: PATIENCE,
    })
}

fn well_known(environment: &Environment) -> Option<PathBuf> {
    let file = Path::new(environment.get("HOME")?).join(WELL_KNOWN);
    file.is_file().then_some(file)
}

/// A file that systemd passes by `LoadCredential=` (systemd.exec(5), "Credentials"). One that
/// can't be looked at is not taken for none, as the server would go on without TLS or users:
/// whoever reads it says what is wrong.
pub(super) fn credential(environment: &Environment, name: &str) -> Option<PathBuf> {
    let file = Path::new(environment.get("CREDENTIALS_DIRECTORY")?).join(name);
    let is_there = match fs::metadata(&file) {
        Ok(found) => found.is_file(),
        Err(error) => error.kind() != ErrorKind::NotFound,
    };
    is_there.then_some(file)
}

/// The path of a file with a secret. What else is given is not shown: it may be that.
pub(super) fn secret_file(layers: &Layers, key: &str, path: &str) -> Result<PathBuf, ConfigError> {
    if Path::new(path).is_absolute() && !path.contains('\n') {
        return Ok(path.into());
    }
    let problem = "expected the absolute path of a file, not a relative one, nor what is in it";
    Err(layers.invalid(key, problem.to_owned()))
}

/// What names may be (<https://cloud.google.com/storage/docs/buckets#naming>).
fn check_name(layers: &Layers, name: &str) -> Result<(), ConfigError> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    if (3..=222).contains(&name.len()) && name.chars().all(is_plain) {
        return Ok(());
    }
    let problem = format!(
        "found {name:?}, expected the name of a bucket, without gs://: 3 or more small letters, \
         digits, hyphens, underscores and dots"
    );
    Err(layers.invalid("gcs.bucket", problem))
}

/// A URL without a slash at its end.
pub(super) fn endpoint(
    layers: &Layers,
    key: &str,
    url: Option<&str>,
) -> Result<Option<String>, ConfigError> {
    let Some(url) = url else { return Ok(None) };
    let trimmed = url.trim_end_matches('/');
    let host = trimmed.strip_prefix("http://").or_else(|| trimmed.strip_prefix("https://"));
    match host {
        Some(host) if !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ']) => {
            Ok(Some(trimmed.to_owned()))
        }
        _ => {
            let problem =
                format!("found {url:?}, expected an http:// or https:// URL of a host only");
            Err(layers.invalid(key, problem))
        }
    }
}

fn delivery(
    raw: &Raw,
    layers: &Layers,
    environment: &Environment,
) -> Result<Delivery, ConfigError> {
    let gcs = &raw.gcs;
    let passed = || credential(environment, SIGNING_KEY_CREDENTIAL);
    let key = match &gcs.signing_key {
        Some(file) => Some(secret_file(layers, "gcs.signing_key", file)?),
        // Without an account it may be for another program.
        None => gcs.signing_account.as_ref().and_then(|_| passed()),
    };
    let key = match (key, &gcs.signing_account) {
        (Some(key), Some(account)) => {
            if !account.contains('@') {
                let problem = format!("found {account:?}, expected an e-mail address");
                return Err(layers.invalid("gcs.signing_account", problem));
            }
            Some((key, account.clone()))
        }
        (Some(_), None) => {
            let account = how_to_set("gcs.signing_account");
            let problem = format!("a key needs its account: set {account} too");
            return Err(layers.invalid("gcs.signing_key", problem));
        }
        (None, Some(_)) => {
            let key = how_to_set("gcs.signing_key");
            let problem = format!("an account needs its key: set {key} too");
            return Err(layers.invalid("gcs.signing_account", problem));
        }
        (None, None) => None,
    };
    let how = match gcs.sign.as_deref() {
        None | Some("key") => match key {
            Some((key, account)) => Delivery::SignedWithKey { key, account },
            None => Delivery::Signed,
        },
        Some("iam") => Delivery::SignedByService,
        Some("none") => Delivery::Public,
        Some(other) => {
            let problem = format!("found {other:?}, expected \"key\", \"iam\" or \"none\"");
            return Err(layers.invalid("gcs.sign", problem));
        }
    };
    Ok(if gcs.redirect.unwrap_or(true) { how } else { Delivery::Streamed })
}
