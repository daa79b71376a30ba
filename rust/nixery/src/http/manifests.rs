//! Manifests, by tag or by digest.

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY, WARNING,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};

use super::asked::page_of;
use super::error::ApiError;
use super::forwarded::Client;
use super::gate::Visitor;
use super::route::Reference;
use super::{Shared, accept};
use crate::access::Right;
use crate::assemble::{Asked, Failure, StoredManifest};
use crate::counters;
use crate::image::ImageName;

/// The digest of what is sent. Without it, clients that resolve a tag by HEAD
/// fetch the tag a second time.
pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// What has a digest in its address never changes.
pub(super) const IMMUTABLE: HeaderValue =
    HeaderValue::from_static("public, max-age=31536000, immutable");

/// Answers GET and HEAD alike; the server leaves the body of the latter out.
pub(super) async fn serve(
    shared: &Shared,
    visitor: &Visitor,
    client: Client,
    name: &ImageName,
    reference: &Reference,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let registry = &shared.registry;
    match reference {
        Reference::Digest(digest) => {
            let manifest = registry.assembler.manifest(digest).await?;
            let manifest = manifest.ok_or(ApiError::ManifestUnknown(*digest))?;
            let mut response = respond(&manifest, method, headers);
            response.headers_mut().insert(CACHE_CONTROL, IMMUTABLE);
            Ok(response)
        }
        Reference::Tag(tag) => {
            let asked = shared.asked_for(name.clone(), tag.clone())?;
            let may_build = shared.allow(visitor, Right::Build, name).is_ok();
            let answer = if may_build {
                registry.assembler.image(&asked, client.0).await.map(Some)
            } else {
                registry.assembler.made(&asked).await
            };
            let answer = answer.map_err(|failure| failed(shared, &asked, failure, headers))?;
            let answer = answer.ok_or_else(|| visitor.not_made(name))?;
            let format = accept::choose(headers);
            // An image has a manifest in each format.
            let manifest = answer.image.manifest(format).ok_or(ApiError::NoSuchEndpoint)?;
            let mut response = respond(manifest, method, headers);
            response.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
            if let Some(warning) = answer.warning.as_deref().and_then(warning) {
                response.headers_mut().insert(WARNING, warning);
            }
            Ok(response)
        }
    }
}

/// The error, with the address of the page that has the whole log.
fn failed(shared: &Shared, asked: &Asked, failure: Failure, headers: &HeaderMap) -> ApiError {
    let has_page = shared.registry.shows_builds && failure.has_log();
    if !has_page || shared.registry.assembler.progress(asked).is_none() {
        return failure.into();
    }
    let page = page_of(&asked.name, &asked.tag);
    ApiError::Build { failure, page: format!("{}{page}", shared.address(headers)) }
}

/// The header that shows a text to the client's user (OCI distribution
/// specification, "Warnings").
fn warning(text: &str) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("299 - \"{}\"", text.replace(['"', '\\'], "'"))).ok()
}

fn respond(manifest: &Arc<StoredManifest>, method: &Method, headers: &HeaderMap) -> Response {
    let mut response = if is_known(headers, &manifest.digest_text) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        if method == Method::GET {
            counters::served(manifest.content.len() as u64);
        }
        Response::new(Body::from(manifest.content.clone()))
    };
    name_content(response.headers_mut(), &manifest.digest_text);
    let media_type = HeaderValue::from_static(manifest.format.manifest_type());
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    // Also with 304: there it is the length that 200 would have (RFC 9110, 8.6).
    response.headers_mut().insert(CONTENT_LENGTH, manifest.content.len().into());
    response
}

/// Says which content is sent, for registry clients and for HTTP caches.
pub(super) fn name_content(headers: &mut HeaderMap, digest: &str) {
    if let Ok(value) = HeaderValue::from_str(digest) {
        headers.insert(CONTENT_DIGEST, value);
    }
    if let Ok(value) = HeaderValue::try_from(format!("\"{digest}\"")) {
        headers.insert(ETAG, value);
    }
}

/// Whether the client says that it has this content (RFC 9110, 13.1.2).
pub(super) fn is_known(headers: &HeaderMap, digest: &str) -> bool {
    let values = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).any(|tag| {
        let tag = tag.strip_prefix("W/").unwrap_or(tag);
        tag == "*" || tag.trim_matches('"') == digest
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Digest;

    #[test]
    fn fuzzed() {
        let digest = Digest::of(b"").to_string();
        let seeds = [format!("\"{digest}\""), format!("W/\"{digest}\", \"x\""), "*".to_owned()];
        crate::fuzz::parser("If-None-Match", seeds).words([&digest[..], "W/", "*"]).run(
            |input| {
                let value = HeaderValue::from_bytes(input).ok()?;
                let headers: HeaderMap = [(IF_NONE_MATCH, value)].into_iter().collect();
                Some(is_known(&headers, &digest))
            },
            |input, known| {
                let text = String::from_utf8_lossy(input);
                assert!(known != Some(true) || text.contains(&digest) || text.contains('*'));
            },
        );
    }

    #[test]
    fn fuzzed_warnings() {
        crate::fuzz::parser("Warning", ["the source does not answer: this is of \"x\""]).run(
            |input| warning(std::str::from_utf8(input).ok()?),
            |_, header| {
                // One quoted string, and nothing after it (RFC 9110, 5.6.4).
                let Some(header) = header else { return };
                let text = String::from_utf8_lossy(header.as_bytes()).into_owned();
                let inner = text.strip_prefix("299 - \"").unwrap().strip_suffix('"').unwrap();
                assert!(!inner.contains(['"', '\\', '\r', '\n']));
            },
        );
    }
}
