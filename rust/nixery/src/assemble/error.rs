//! Why there is no image.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use thiserror::Error;

use super::limits::TooLarge;
use crate::archive::PackError;
use crate::disk::DiskShort;
use crate::error_chain::ErrorChain;
use crate::layers::GroupError;
use crate::nix::NixError;
use crate::pin::PinError;
use crate::storage::StorageError;

/// Why there is no image.
#[derive(Debug, Error)]
pub enum AssembleError {
    /// There are no packages.
    #[error(transparent)]
    Nix(#[from] NixError),
    /// It isn't known what the package source is at.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// A layer couldn't be packed.
    #[error("can't pack a layer")]
    Pack(#[from] PackError),
    /// The storage failed.
    #[error("the storage failed")]
    Storage(#[from] StorageError),
    /// The builder's graph makes no sense.
    #[error("the builder's closure graph can't be grouped into layers")]
    Group(#[from] GroupError),
    /// A layer that was there was removed while others were made.
    #[error("a layer was removed while the image was being made")]
    LayerGone,
    /// Too many builds wait already.
    #[error(
        "{most} images are being made or wait for that, which is as many as may \
         (nix.max_builds, nix.max_queue): try again in a while"
    )]
    Busy {
        /// How many may.
        most: usize,
    },
    /// Too many builds of one client wait already.
    #[error(
        "{most} images that were asked for from your address are being made or wait for that, \
         which is as many as may of one client: try again in a while"
    )]
    BusyForClient {
        /// How many may.
        most: usize,
    },
    /// The image is larger than it may be.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// There is too little room for it.
    #[error(transparent)]
    DiskShort(#[from] DiskShort),
    /// A task ended without a result, which is a defect of this program.
    #[error("a task of the server crashed")]
    Crashed,
}

/// What a failure lies in.
enum Cause {
    /// In what was asked for: the client can do something about it.
    Image,
    /// In the moment: it goes away by itself.
    Moment,
    /// In the server, or what it was given: its operator has to do something.
    Server,
    /// In what the log has already, as it is so for all images.
    Logged,
}

impl AssembleError {
    fn cause(&self) -> Cause {
        match self {
            Self::Nix(error) => match error {
                NixError::PackagesNotFound { .. }
                | NixError::NotAPackage { .. }
                | NixError::Refused { .. }
                | NixError::SourceNotFound { .. }
                | NixError::BuildFailed { .. }
                | NixError::EvaluationFailed { .. }
                | NixError::TimedOut { .. } => Cause::Image,
                NixError::SourceUnavailable { .. } | NixError::ShuttingDown => Cause::Moment,
                NixError::BuilderBroken { .. } | NixError::Process(_) | NixError::Roots(_) => {
                    Cause::Server
                }
            },
            Self::Pin(error) => match error {
                PinError::NotFound { .. } => Cause::Image,
                PinError::Unavailable { .. } | PinError::ShuttingDown | PinError::Busy => {
                    Cause::Moment
                }
                PinError::Git(_) | PinError::Crashed => Cause::Server,
            },
            Self::TooLarge(_) => Cause::Image,
            Self::Busy { .. } | Self::BusyForClient { .. } => Cause::Moment,
            Self::DiskShort(_) => Cause::Logged,
            Self::Storage(error) if error.is_temporary() => Cause::Moment,
            Self::Pack(_) | Self::Storage(_) | Self::Group(_) | Self::LayerGone | Self::Crashed => {
                Cause::Server
            }
        }
    }
}

/// An error that was logged, and the identifier by which it is found there. All
/// who waited for one build get the same.
#[derive(Clone, Debug)]
pub struct Failure(Arc<(String, AssembleError)>);

impl Failure {
    /// Logs why `what` can't be answered.
    pub fn logged(what: &str, error: AssembleError) -> Self {
        // The one source of random numbers that the standard library has.
        let id = format!("{:016x}", RandomState::new().hash_one(what));
        // What Nix says has several lines; a log entry has one.
        let chain = ErrorChain(&error).to_string().replace('\n', " | ");
        match error.cause() {
            Cause::Image => tracing::info!(what, id, "{chain}"),
            Cause::Moment => tracing::warn!(what, id, "{chain}"),
            Cause::Server => tracing::error!(what, id, "{chain}"),
            Cause::Logged => tracing::debug!(what, id, "{chain}"),
        }
        Self(Arc::new((id, error)))
    }

    /// Whether asking again at once can only have the same answer.
    pub(super) fn is_lasting(&self) -> bool {
        matches!(self.error().cause(), Cause::Image)
    }

    /// Whether what Nix printed says more.
    pub fn has_log(&self) -> bool {
        matches!(
            self.error(),
            AssembleError::Nix(
                NixError::BuildFailed { .. }
                    | NixError::EvaluationFailed { .. }
                    | NixError::TimedOut { .. }
            )
        )
    }

    /// The identifier in the log.
    pub fn id(&self) -> &str {
        &self.0.0
    }

    /// What went wrong.
    pub fn error(&self) -> &AssembleError {
        &self.0.1
    }
}
