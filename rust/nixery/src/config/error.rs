//! Why the server doesn't start.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::origin::how_to_set;

/// Why the server doesn't start.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("configuration file {path}", path = .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A setting has a value that it can't have.
    #[error("{origin}: {problem}")]
    Invalid {
        /// Variable, or file and line.
        origin: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// Nothing says where packages come from.
    #[error(
        "no package source is configured: set one of {}, {} or {}",
        how_to_set("source.channel"),
        how_to_set("source.repo"),
        how_to_set("source.path")
    )]
    NoSource,
    /// More than one source.
    #[error("{} package sources are configured, expected one: {}", .origins.len(), .origins.join("; "))]
    ManySources {
        /// Where each was set.
        origins: Vec<String>,
    },
    /// There is nowhere to keep things.
    #[error(
        "no home directory is known: set {}, {} and {}",
        how_to_set("storage.path"),
        how_to_set("cache.path"),
        how_to_set("nix.roots")
    )]
    NoStateDirectory,
}
