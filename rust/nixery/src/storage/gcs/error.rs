//! What can go wrong with a bucket.

use google_cloud_gax::error::CredentialsError;
use google_cloud_storage::error::ReadError;
use thiserror::Error;

use crate::storage::StorageError;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why something in a bucket could not be read or written.
#[derive(Debug, Error)]
pub enum BucketError {
    /// The service refused it.
    #[error("Cloud Storage answered {status}: {message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// What the service said.
        message: String,
    },
    /// There was no answer, or only a part of one.
    #[error("Cloud Storage can't be reached")]
    Unreachable(#[source] Source),
    /// It took too long.
    #[error("Cloud Storage did not answer in time")]
    TimedOut,
    /// There are no credentials at the moment.
    #[error("there are no credentials for Cloud Storage")]
    Credentials {
        /// Whether there may be some in a moment.
        is_temporary: bool,
        /// Why there are none.
        source: Source,
    },
    /// Whoever gives the credentials doesn't answer.
    #[error("no credentials for Cloud Storage came in time")]
    NoToken,
    /// The answer is not what it should be.
    #[error("what Cloud Storage answered can't be understood")]
    Malformed(#[source] Source),
    /// Other bytes arrived than were sent.
    #[error("Cloud Storage has other bytes than were sent")]
    OtherBytes,
    /// Others write the same at the same time, again and again.
    #[error("others write it all the time")]
    Contended,
    /// A URL can't be signed.
    #[error("the URL for it can't be signed")]
    Signing(#[source] Source),
}

impl BucketError {
    /// Whether it may be otherwise in a moment.
    pub fn is_temporary(&self) -> bool {
        match self {
            // https://cloud.google.com/storage/docs/retry-strategy, and 409, where others
            // changed the same object in the same moment.
            Self::Refused { status, .. } => matches!(status, 408 | 409 | 429 | 500..=599),
            Self::Unreachable(_)
            | Self::TimedOut
            | Self::NoToken
            | Self::OtherBytes
            | Self::Contended
            | Self::Signing(_) => true,
            Self::Credentials { is_temporary, .. } => *is_temporary,
            Self::Malformed(_) => false,
        }
    }

    /// Whether the object isn't there.
    pub fn is_gone(&self) -> bool {
        self.status() == Some(404)
    }

    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::Unreachable(_)
            | Self::TimedOut
            | Self::NoToken
            | Self::Credentials { .. }
            | Self::Malformed(_)
            | Self::OtherBytes
            | Self::Contended
            | Self::Signing(_) => None,
        }
    }
}

impl From<CredentialsError> for BucketError {
    fn from(error: CredentialsError) -> Self {
        Self::Credentials { is_temporary: error.is_transient(), source: root_of(&error).into() }
    }
}

/// Whether the SDK found that the checksum of what it read is another.
fn has_other_bytes(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(ReadError::ChecksumMismatch(_)) = error.downcast_ref() {
            return true;
        }
        next = error.source();
    }
    false
}

/// What an error of the libraries comes from in the end. What is above that says little,
/// and says it several times.
fn root_of(error: &dyn std::error::Error) -> String {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root.to_string()
}

impl From<reqwest::Error> for BucketError {
    fn from(error: reqwest::Error) -> Self {
        if error.is_timeout() { Self::TimedOut } else { Self::Unreachable(root_of(&error).into()) }
    }
}

impl From<google_cloud_storage::Error> for BucketError {
    fn from(error: google_cloud_storage::Error) -> Self {
        if let Some(status) = error.http_status_code() {
            let told = error.status().map(|status| status.message.clone());
            let told = told.filter(|told| !told.is_empty());
            let body = || error.http_payload().map(|body| message(body)).unwrap_or_default();
            let message = told.unwrap_or_else(body);
            return Self::Refused { status, message };
        }
        if error.is_authentication() {
            let credentials = std::error::Error::source(&error);
            let credentials = credentials.and_then(|source| source.downcast_ref());
            let is_temporary = credentials.is_some_and(CredentialsError::is_transient);
            Self::Credentials { is_temporary, source: root_of(&error).into() }
        } else if error.is_timeout() {
            Self::TimedOut
        } else if has_other_bytes(&error) {
            Self::OtherBytes
        } else if error.is_deserialization() {
            Self::Malformed(root_of(&error).into())
        } else {
            Self::Unreachable(root_of(&error).into())
        }
    }
}

/// Longest message of the service that is kept, in characters.
const MESSAGE: usize = 500;

/// The message in an error's body
/// (<https://cloud.google.com/storage/docs/json_api/v1/status-codes>).
pub(super) fn message(body: &[u8]) -> String {
    let document = serde_json::from_slice::<serde_json::Value>(body).ok();
    let message = document.as_ref().and_then(|document| document["error"]["message"].as_str());
    let text = message.map_or_else(|| String::from_utf8_lossy(body).into_owned(), str::to_owned);
    text.trim().chars().take(MESSAGE).collect()
}

/// For `map_err`: says what was tried with which object.
pub(super) fn about(
    action: &'static str,
    object: impl Into<String>,
) -> impl FnOnce(BucketError) -> StorageError {
    move |source| StorageError::Bucket { action, object: object.into(), source: source.into() }
}
