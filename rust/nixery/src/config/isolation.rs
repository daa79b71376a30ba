//! What the builder and package sets may do.

use std::path::Path;

use super::ConfigError;
use super::origin::Layers;
use super::raw::Nix;
use crate::nix::{Evaluation, Isolation};
use crate::process::Limits;

/// Fills in defaults and checks every value.
pub(super) fn isolation(raw: &Nix, layers: &Layers) -> Result<Isolation, ConfigError> {
    Ok(Isolation {
        limits: Limits { nice: nice(raw, layers)?, memory: max_memory(raw, layers)? },
        environment: variables(raw, layers)?,
        evaluation: Evaluation {
            restricted: raw.restrict_eval.unwrap_or(true),
            allowed_uris: allowed_uris(raw, layers)?,
            import_from_derivation: raw.allow_import_from_derivation.unwrap_or(false),
        },
    })
}

fn nice(raw: &Nix, layers: &Layers) -> Result<u8, ConfigError> {
    let found = raw.nice.unwrap_or(10);
    u8::try_from(found).ok().filter(|nice| *nice <= 19).ok_or_else(|| {
        layers.invalid("nix.nice", format!("found {found}, expected a number from 0 to 19"))
    })
}

/// What a process of the builder may take, in bytes; `None`: any number.
fn max_memory(raw: &Nix, layers: &Layers) -> Result<Option<u64>, ConfigError> {
    match raw.max_memory_mb.unwrap_or(0) {
        0 => Ok(None),
        // Less than this, and bash and git don't start either.
        megabytes @ 64..=1_048_576 => Ok(Some(megabytes * 1_000_000)),
        other => {
            let problem =
                format!("found {other}, expected 0 for no limit, or a number from 64 to 1048576");
            Err(layers.invalid("nix.max_memory_mb", problem))
        }
    }
}

/// Names of environment variables.
fn variables(raw: &Nix, layers: &Layers) -> Result<Vec<String>, ConfigError> {
    let names = raw.environment.clone().unwrap_or_default();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_name = |name: &&String| {
        name.chars().all(is_plain) && !name.starts_with(|c: char| c.is_ascii_digit())
    };
    match names.iter().find(|name| !is_name(name)) {
        None => Ok(names),
        Some(other) => {
            let problem = format!(
                "found {other:?}, expected names of environment variables without values, such as \
                 AWS_PROFILE"
            );
            Err(layers.invalid("nix.environment", problem))
        }
    }
}

/// What an evaluation may fetch and read besides its source.
fn allowed_uris(raw: &Nix, layers: &Layers) -> Result<Vec<String>, ConfigError> {
    let uris = raw.allowed_uris.clone().unwrap_or_default();
    let is_one = |uri: &&String| {
        let scheme = uri.split_once(':').map_or("", |(scheme, _)| scheme);
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_lowercase())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
        (is_scheme || Path::new(uri).is_absolute())
            && !uri.contains(|c: char| c.is_whitespace() || c.is_control())
    };
    match uris.iter().find(|uri| !is_one(uri)) {
        None => Ok(uris),
        Some(other) => {
            let problem = format!(
                "found {other:?}, expected beginnings of URLs, such as \
                 https://github.com/NixOS/nixpkgs/, or absolute paths"
            );
            Err(layers.invalid("nix.allowed_uris", problem))
        }
    }
}
