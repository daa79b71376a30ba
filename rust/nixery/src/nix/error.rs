//! What went wrong, in words for whoever asked for an image.

use std::time::Duration;

use thiserror::Error;

use super::protocol::{Missing, Problem, RefusalReason};
use crate::image::{ALWAYS, META_PACKAGES};
use crate::process::{ProcessError, without_escapes};
use crate::source::without_credentials;

/// Why there are no packages.
#[derive(Debug, Error)]
pub enum NixError {
    /// The package set has no such attributes.
    #[error("{}", describe_missing(.packages))]
    PackagesNotFound {
        /// All that were missing.
        packages: Vec<Missing>,
    },
    /// The attribute is something else.
    #[error("{name} is not a package: {reason}")]
    NotAPackage {
        /// The attribute.
        name: String,
        /// What it is.
        reason: String,
    },
    /// The package set says no.
    #[error("the package {name} is refused: {message}")]
    Refused {
        /// The attribute.
        name: String,
        /// What for.
        reason: RefusalReason,
        /// The package set's words.
        message: String,
    },
    /// The package set, or the branch or tag of it, doesn't exist.
    #[error("{message}")]
    SourceNotFound {
        /// What doesn't exist.
        message: String,
    },
    /// The package set can't be reached now.
    #[error("the package source can't be reached: {message}")]
    SourceUnavailable {
        /// Why.
        message: String,
    },
    /// A derivation failed.
    #[error("{message}{}", describe_log(.log))]
    BuildFailed {
        /// Says which, and why where there is no log.
        message: String,
        /// The last lines of its log.
        log: Vec<String>,
    },
    /// The package set, or what one package is in it, is broken.
    #[error("{message}")]
    EvaluationFailed {
        /// Nix's words.
        message: String,
    },
    /// It took too long.
    #[error(
        "Nix was not done with this image after {} seconds. Packages that were finished by then \
         are kept, so trying again goes on from there; if a single one takes longer, the \
         server's NIX_TIMEOUT has to be raised",
        .limit.as_secs()
    )]
    TimedOut {
        /// What it was given.
        limit: Duration,
    },
    /// The server is being stopped.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// The builder, or how it was called, is broken.
    #[error("the builder is broken: {problem}")]
    BuilderBroken {
        /// What it did.
        problem: String,
    },
    /// The builder can't be run, or not be heard.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// There is no place for garbage collector roots.
    #[error("can't make a directory for garbage collector roots")]
    Roots(#[source] std::io::Error),
}

impl From<Problem> for NixError {
    fn from(problem: Problem) -> Self {
        // Package sets say what they like.
        let redact = |text: String| without_credentials(&without_escapes(&text));
        match problem {
            Problem::NotFound { packages } => Self::PackagesNotFound { packages },
            Problem::NotAPackage { name, reason } => {
                Self::NotAPackage { name, reason: redact(reason) }
            }
            Problem::Refused { name, reason, message } => {
                Self::Refused { name, reason, message: redact(message) }
            }
            Problem::SourceNotFound { message } => {
                Self::SourceNotFound { message: redact(message) }
            }
            Problem::SourceUnavailable { message } => {
                Self::SourceUnavailable { message: redact(message) }
            }
            Problem::BuildFailed { message, log } => Self::BuildFailed {
                message: redact(message),
                log: log.into_iter().map(redact).collect(),
            },
            Problem::EvaluationFailed { message } => {
                Self::EvaluationFailed { message: redact(message) }
            }
            Problem::InvalidRequest { message } => {
                Self::BuilderBroken { problem: format!("it refused the request: {message}") }
            }
        }
    }
}

fn describe_missing(packages: &[Missing]) -> String {
    let names: Vec<String> = packages
        .iter()
        .map(|package| match &package.near[..] {
            _ if META_PACKAGES.contains(&package.name.as_str()) => {
                format!(
                    "{name} (write {name} at the front of the image's name)",
                    name = package.name
                )
            }
            [] => package.name.clone(),
            // Image names have no upper case.
            near => {
                let near = near.join(" or ").to_lowercase();
                format!("{} (did you mean {near}?)", package.name)
            }
        })
        .collect();
    let mut text = format!("Could not find Nix packages: {}", names.join(", "));
    if packages.iter().any(|package| ALWAYS.contains(&package.name.as_str())) {
        // Nobody asked for these by name.
        let always = ALWAYS.join(" and ");
        text = format!("{text}; the package set must have {always}, as every image has them");
    }
    text
}

fn describe_log(log: &[String]) -> String {
    if log.is_empty() {
        return String::new();
    }
    format!("; the last lines of its log:\n{}", log.join("\n"))
}
