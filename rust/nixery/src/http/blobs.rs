//! Configurations and layers.

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, IF_RANGE, LOCATION,
    RANGE,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};

use super::Shared;
use super::body::BlobBody;
use super::error::ApiError;
use super::forwarded::Client;
use super::manifests::{IMMUTABLE, is_known, name_content};
use super::range::{Selection, select};
use crate::assemble::Failure;
use crate::counters::{self, Full, Refused};
use crate::oci::Digest;
use crate::places::Place;
use crate::storage::{Served, StorageError, is_gone};

/// Answers GET and HEAD.
pub(super) async fn serve(
    shared: &Shared,
    client: Client,
    digest: &Digest,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let text = digest.to_string();
    let storage = &shared.registry.storage;
    // Who asks only whether it is there, or has it, needs no other server for that.
    let is_for_content = method == Method::GET && !is_known(headers, &text);
    // Taken before a file is opened.
    let place = if is_for_content { Some(Arc::new(shared.download(client)?)) } else { None };
    let found = if is_for_content {
        storage.serve_blob(digest).await
    } else {
        storage.open_blob(digest).await.map(|blob| blob.map(Served::Here))
    };
    let blob = match found.map_err(|error| Failure::logged("a blob", error.into()))? {
        Some(Served::Here(blob)) => blob,
        Some(Served::At(url)) => return Ok(redirect(&url)),
        None => return Err(shared.missing(digest)),
    };
    let size = blob.size();
    let (status, start, end) = if is_known(headers, &text) {
        (StatusCode::NOT_MODIFIED, 0, size)
    } else {
        // Ranges are defined for GET only (RFC 9110, 14.2).
        let range = if method == Method::GET { range_header(headers, &text) } else { None };
        match select(range, size) {
            Selection::Whole => (StatusCode::OK, 0, size),
            Selection::Part(start, end) => (StatusCode::PARTIAL_CONTENT, start, end),
            Selection::NotSatisfiable => return Err(ApiError::RangeNotSatisfiable(size)),
        }
    };
    let mut response = match place {
        // Only asked about.
        None => status.into_response(),
        Some(place) => {
            match BlobBody::open(blob, start, end, shared.buffers.clone(), place).await {
                Ok(body) => (status, Body::new(body)).into_response(),
                Err(error) if is_gone(&error) => return Err(shared.missing(digest)),
                Err(error) => {
                    let error = StorageError::while_reading(text, error);
                    return Err(Failure::logged("a blob", error.into()).into());
                }
            }
        }
    };
    let headers = response.headers_mut();
    name_content(headers, &text);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CACHE_CONTROL, IMMUTABLE);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    // Also with 304: there it is the length that 200 would have (RFC 9110, 8.6).
    headers.insert(CONTENT_LENGTH, (end - start).into());
    if status == StatusCode::PARTIAL_CONTENT
        && let Ok(range) = HeaderValue::try_from(format!("bytes {start}-{}/{size}", end - 1))
    {
        headers.insert(CONTENT_RANGE, range);
    }
    Ok(response)
}

impl Shared {
    /// What is said of a blob that is not there, of which the assembler is to know.
    fn missing(&self, digest: &Digest) -> ApiError {
        self.registry.assembler.blob_is_missing(digest);
        ApiError::BlobUnknown(*digest)
    }

    /// A place among those that blobs are sent to.
    fn download(&self, client: Client) -> Result<Place, ApiError> {
        self.downloads.enter(client.0).map_err(|full| {
            counters::request_refused(Refused::Downloads);
            match full {
                Full::Total => ApiError::TooManyDownloads,
                Full::Address => ApiError::TooManyDownloadsOfClient,
            }
        })
    }
}

/// Sends a client elsewhere (OCI distribution specification, "Pulling blobs"). The URL may
/// be good for a short while only, so nobody is to keep it.
fn redirect(url: &str) -> Response {
    let mut response = StatusCode::TEMPORARY_REDIRECT.into_response();
    if let Ok(url) = HeaderValue::try_from(url) {
        response.headers_mut().insert(LOCATION, url);
    }
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The range that is asked for, unless the client wants it of other content
/// only (RFC 9110, 13.1.5).
fn range_header<'a>(headers: &'a HeaderMap, digest: &str) -> Option<&'a str> {
    let of_this = headers
        .get(IF_RANGE)
        .is_none_or(|tag| tag.to_str().is_ok_and(|tag| tag.trim_matches('"') == digest));
    headers.get(RANGE).filter(|_| of_this)?.to_str().ok()
}
