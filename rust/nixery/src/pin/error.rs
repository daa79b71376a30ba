//! Why it isn't known what a package source is at.

use std::sync::Arc;

use thiserror::Error;

use crate::process::ProcessError;

/// Why it isn't known what a package source is at.
#[derive(Clone, Debug, Error)]
pub enum PinError {
    /// The source says that it has no such thing.
    #[error("{message}")]
    NotFound {
        /// What it hasn't.
        message: String,
    },
    /// The source doesn't answer.
    #[error("the package source can't be reached: {message}")]
    Unavailable {
        /// Why.
        message: String,
    },
    /// Git can't be run.
    #[error("can't ask the package source")]
    Git(#[source] Arc<ProcessError>),
    /// The server is being stopped.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// Too much is being asked already.
    #[error("too many branches and tags are being asked for: try again in a while")]
    Busy,
    /// A task ended without a result, which is a defect of this program.
    #[error("a task of the server crashed")]
    Crashed,
}

impl PinError {
    /// Whether asking again at once can only have the same answer.
    pub(super) fn is_lasting(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Whether the source was asked and didn't answer, so that it may still be where it
    /// was.
    pub(super) fn is_silence(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::Git(_) => true,
            Self::NotFound { .. } | Self::ShuttingDown | Self::Busy | Self::Crashed => false,
        }
    }
}
