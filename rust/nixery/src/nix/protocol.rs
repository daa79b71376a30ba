//! The documents that the server and the builder exchange.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::layers::Closure;
use crate::source::SourceAt;
use crate::store_path::StorePath;

/// The version of the protocol that is spoken here.
pub(super) const VERSION: u32 = 1;

/// What the builder reads.
#[derive(Serialize)]
pub(super) struct Request<'a> {
    pub(super) protocol: u32,
    pub(super) source: &'a SourceAt,
    pub(super) system: &'a str,
    pub(super) packages: Vec<&'a str>,
    pub(super) roots: &'a Path,
}

/// What the builder prints.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Reply {
    Failure { error: Problem },
    Success { revision: Option<String>, packages: Vec<Package>, graph: Closure },
}

/// A package that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Where it is in the package set, such as `python3Packages.requests`.
    pub attribute: String,
    /// Name with version.
    pub name: String,
    /// What to run, where the package says so.
    pub main_program: Option<String>,
    /// Where it is.
    pub path: StorePath,
}

/// A name that the package set doesn't have.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Missing {
    /// As it was asked for.
    pub name: String,
    /// What might have been meant.
    pub near: Vec<String>,
}

/// Why a package set refuses a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalReason {
    /// Its licence is not free.
    Unfree,
    /// It is known not to build.
    Broken,
    /// It has known vulnerabilities.
    Insecure,
    /// It is not for this platform.
    Unsupported,
    /// Anything else.
    #[serde(other)]
    Other,
}

/// Why no packages were made.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Problem {
    NotFound { packages: Vec<Missing> },
    NotAPackage { name: String, reason: String },
    Refused { name: String, reason: RefusalReason, message: String },
    SourceNotFound { message: String },
    SourceUnavailable { message: String },
    BuildFailed { message: String, log: Vec<String> },
    EvaluationFailed { message: String },
    InvalidRequest { message: String },
}
