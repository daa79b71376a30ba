//! Answers that are errors.
//!
//! Clients get a code and a sentence that they can act on (OCI distribution
//! specification, "Error Codes"); what only operators can act on is in the log,
//! under an identifier that the client is told.

use axum::Json;
use axum::http::header::{CONTENT_RANGE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use thiserror::Error;

use crate::assemble::{AssembleError, Failure};
use crate::image::{ImageName, InvalidName};
use crate::nix::NixError;
use crate::oci::{Digest, InvalidDigest};
use crate::pin::PinError;
use crate::source::{InvalidTag, UnknownTag};

/// When clients that came at a bad moment should come again, in seconds.
/// containers/image waits at most a minute.
const RETRY_SECONDS: u16 = 10;

/// Why a request of the registry protocol is not answered with what it asked
/// for.
#[derive(Debug, Error)]
pub(super) enum ApiError {
    #[error(transparent)]
    Name(#[from] InvalidName),
    #[error(transparent)]
    Tag(#[from] InvalidTag),
    #[error(transparent)]
    Digest(#[from] InvalidDigest),
    #[error("the path is not percent-encoded UTF-8")]
    MalformedPath,
    #[error(transparent)]
    UnknownTag(#[from] UnknownTag),
    #[error("{error}; if that is part of the image's name, the path lacks a tag: {image}/latest")]
    TagOrPackage { error: UnknownTag, image: ImageName },
    #[error("no manifest {0} is stored here: pull the image by its tag, so that it is made")]
    ManifestUnknown(Digest),
    #[error("nothing with the digest {digest} is stored here: all digests are SHA-256")]
    OtherAlgorithm { digest: String, code: &'static str },
    #[error("no blob {0} is stored here: pull the image by its tag, so that it is made")]
    BlobUnknown(Digest),
    #[error(
        "there is no such endpoint: this registry has manifests, blobs, tags/list and referrers"
    )]
    NoSuchEndpoint,
    #[error("there is nothing at this path: /api/v1/openapi.json says what there is")]
    NoSuchPath,
    #[error("this can't be done here: the header Allow says what can")]
    OtherMethod,
    #[error("images are made here when they are pulled: nothing can be pushed, changed or deleted")]
    ReadOnly,
    #[error("the blob has only {0} bytes")]
    RangeNotSatisfiable(u64),
    #[error("{}", message(.0))]
    Failure(Failure),
    #[error("{}\nAll that Nix printed: {page}", message(.failure))]
    Build { failure: Failure, page: String },
    #[error("the path has to end with a slash and a tag, such as {0}")]
    NoTag(String),
    #[error("the query can't be read: expected {0}")]
    Query(&'static str),
    #[error(
        "{0:?} is no beginning of a package's name: expected at most 255 letters and digits, with \
         '.', '_' or '-' between them"
    )]
    Prefix(String),
    #[error("no build of this image is remembered: none was begun since the server was started")]
    NoBuild,
    #[error("builds are not shown on this server")]
    BuildsNotShown,
    #[error(
        "what this image consists of is not known: it has not been made yet, or its source has \
         no revision by which it would be known again"
    )]
    NotMade,
    #[error("{message}")]
    Unauthorized { message: String, challenge: String },
    #[error("{message}")]
    Denied { message: String },
    #[error("too many passwords are being checked: try again in a moment")]
    TooManyLogins,
    #[error("this was sent by a page of another site, which can't have anything made here")]
    ForeignPage,
    #[error("the URL is longer than the {0} bytes that are allowed here (limits.url_bytes)")]
    UrlTooLong(usize),
    #[error("the headers have more than the {0} bytes that are allowed here (limits.header_bytes)")]
    HeadersTooLarge(usize),
    #[error("the body has more than the {0} bytes that are allowed here: nothing reads one")]
    BodyTooLarge(u64),
    #[error("too many requests from your address: the next one is answered in {seconds} s")]
    TooManyRequests { seconds: u64 },
    #[error("too many clients watch builds at the moment: ask for the build without its events")]
    TooManyWatchers,
    #[error(
        "too many clients at your address watch builds at the moment: ask for the build without \
         its events"
    )]
    TooManyWatchersOfClient,
    #[error("too many blobs are being sent at the moment")]
    TooManyDownloads,
    #[error("too many blobs are being sent to your address: fetch fewer at a time")]
    TooManyDownloadsOfClient,
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl ApiError {
    /// Status, and the code in the body.
    pub(super) fn classify(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Name(_) | Self::MalformedPath | Self::Query(_) | Self::Prefix(_) => {
                (StatusCode::BAD_REQUEST, "NAME_INVALID")
            }
            Self::Tag(_) | Self::NoTag(_) => (StatusCode::BAD_REQUEST, "TAG_INVALID"),
            Self::Digest(_) => (StatusCode::BAD_REQUEST, "DIGEST_INVALID"),
            Self::UnknownTag(_)
            | Self::TagOrPackage { .. }
            | Self::ManifestUnknown(_)
            | Self::NotMade => (StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"),
            Self::OtherAlgorithm { code, .. } => (StatusCode::NOT_FOUND, code),
            Self::BlobUnknown(_) => (StatusCode::NOT_FOUND, "BLOB_UNKNOWN"),
            Self::NoSuchEndpoint | Self::NoSuchPath | Self::BuildsNotShown => {
                (StatusCode::NOT_FOUND, "UNSUPPORTED")
            }
            Self::ReadOnly | Self::OtherMethod => (StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED"),
            Self::RangeNotSatisfiable(_) => (StatusCode::RANGE_NOT_SATISFIABLE, "SIZE_INVALID"),
            Self::Failure(failure) | Self::Build { failure, .. } => {
                classify_failure(failure.error())
            }
            Self::NoBuild => (StatusCode::NOT_FOUND, "BUILD_UNKNOWN"),
            Self::UrlTooLong(_) => (StatusCode::URI_TOO_LONG, "UNSUPPORTED"),
            Self::HeadersTooLarge(_) => {
                (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "UNSUPPORTED")
            }
            Self::BodyTooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "UNSUPPORTED"),
            Self::TooManyLogins
            | Self::TooManyRequests { .. }
            | Self::TooManyWatchers
            | Self::TooManyWatchersOfClient
            | Self::TooManyDownloadsOfClient => (StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS"),
            Self::TooManyDownloads => (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"),
            Self::Unauthorized { .. } => (StatusCode::UNAUTHORIZED, "UNAUTHORIZED"),
            Self::Denied { .. } | Self::ForeignPage => (StatusCode::FORBIDDEN, "DENIED"),
        }
    }
}

impl ApiError {
    /// Says how to log in, where that is what is missing (RFC 9110, 11.6.1).
    pub(super) fn add_challenge(&self, headers: &mut HeaderMap) {
        if let Self::Unauthorized { challenge, .. } = self
            && let Ok(challenge) = HeaderValue::from_str(challenge)
        {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
    }
}

fn classify_failure(error: &AssembleError) -> (StatusCode, &'static str) {
    match error {
        AssembleError::Nix(error) => classify_nix(error),
        AssembleError::Pin(error) => classify_pin(error),
        AssembleError::TooLarge(_) => (StatusCode::FORBIDDEN, "DENIED"),
        AssembleError::DiskShort(_) => (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"),
        AssembleError::Busy { .. } | AssembleError::BusyForClient { .. } => {
            (StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS")
        }
        AssembleError::Storage(error) if error.is_temporary() || error.is_full() => {
            (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE")
        }
        AssembleError::Pack(_)
        | AssembleError::Storage(_)
        | AssembleError::Group(_)
        | AssembleError::LayerGone
        | AssembleError::Crashed => INTERNAL,
    }
}

const INTERNAL: (StatusCode, &str) = (StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN");

/// A 403 is the one status whose text all clients show to their users, so it is
/// for all that isn't simply absent.
fn classify_nix(error: &NixError) -> (StatusCode, &'static str) {
    match error {
        NixError::PackagesNotFound { .. } | NixError::SourceNotFound { .. } => {
            (StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN")
        }
        NixError::NotAPackage { .. }
        | NixError::Refused { .. }
        | NixError::BuildFailed { .. }
        | NixError::EvaluationFailed { .. }
        | NixError::TimedOut { .. } => (StatusCode::FORBIDDEN, "DENIED"),
        NixError::SourceUnavailable { .. } | NixError::ShuttingDown => {
            (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE")
        }
        NixError::BuilderBroken { .. } | NixError::Process(_) | NixError::Roots(_) => INTERNAL,
    }
}

fn classify_pin(error: &PinError) -> (StatusCode, &'static str) {
    match error {
        PinError::NotFound { .. } => (StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"),
        PinError::Unavailable { .. } | PinError::ShuttingDown => {
            (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE")
        }
        PinError::Busy => (StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS"),
        PinError::Git(_) | PinError::Crashed => INTERNAL,
    }
}

/// What the client is told of a failure.
fn message(failure: &Failure) -> String {
    let error = failure.error();
    match error {
        // What git says may name more than clients should know.
        AssembleError::Nix(NixError::SourceUnavailable { .. })
        | AssembleError::Pin(PinError::Unavailable { .. }) => format!(
            "the package source can't be reached at the moment; the server's log says why, under {}",
            failure.id()
        ),
        AssembleError::Storage(error) if error.is_full() => format!(
            "the server's disk is full: its operator has to make room, or it does so itself by \
             garbage collection; its log says more, under {}",
            failure.id()
        ),
        AssembleError::Storage(error) if error.is_temporary() => format!(
            "the server's storage can't be reached at the moment; its log says why, under {}",
            failure.id()
        ),
        _ if classify_failure(error) == INTERNAL => {
            format!("the server failed; its log says why, under {}", failure.id())
        }
        _ => error.to_string(),
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code) = self.classify();
        let body = json!({ "errors": [{ "code": code, "message": self.to_string() }] });
        let mut response = (status, Json(body)).into_response();
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            response.headers_mut().insert(RETRY_AFTER, RETRY_SECONDS.into());
        }
        self.add_challenge(response.headers_mut());
        if let Self::TooManyRequests { seconds } = self {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        if let Self::RangeNotSatisfiable(size) = self
            && let Ok(range) = HeaderValue::try_from(format!("bytes */{size}"))
        {
            response.headers_mut().insert(CONTENT_RANGE, range);
        }
        response
    }
}

#[cfg(test)]
mod tests;
