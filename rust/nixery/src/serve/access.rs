//! Reading the files with users.

use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use thiserror::Error;

use crate::access::{Credentials, InvalidLine};
use crate::config::AccessConfig;
use crate::small_file::{WRITTEN_BY_PEOPLE, read_text};

/// Why a file with users can't be used.
#[derive(Debug, Error)]
pub enum AccessError {
    /// It can't be read.
    #[error("can't read {path}; {setting} names it")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What named it.
        setting: &'static str,
        /// Why.
        source: io::Error,
    },
    /// There is a line in it that can't be used.
    #[error("{path}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Which line, and why.
        source: InvalidLine,
    },
}

/// What clients are compared with from now on. May wait for the disk.
pub(super) fn read(config: &AccessConfig) -> Result<Credentials, AccessError> {
    let credentials = Credentials {
        passwords: parse(config.htpasswd.as_deref(), "NIXERY_ACCESS_HTPASSWD (access.htpasswd)")?,
        tokens: parse(config.tokens.as_deref(), "NIXERY_ACCESS_TOKENS (access.tokens)")?,
    };
    for user in config.rules.users().filter(|user| !credentials.have(user)) {
        tracing::warn!(user, "there is a rule for a user who has no password and no token");
    }
    Ok(credentials)
}

fn parse<T: Default + FromStr<Err = InvalidLine>>(
    path: Option<&Path>,
    setting: &'static str,
) -> Result<T, AccessError> {
    let Some(path) = path else { return Ok(T::default()) };
    let content = read_text(path, WRITTEN_BY_PEOPLE).map_err(|source| AccessError::Unreadable {
        path: path.to_owned(),
        setting,
        source,
    })?;
    content.parse().map_err(|source| AccessError::Invalid { path: path.to_owned(), source })
}
