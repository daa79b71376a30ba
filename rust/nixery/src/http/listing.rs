//! What there is: the base of the API, tags and referrers.

use axum::Json;
use axum::http::header::{CONTENT_TYPE, HeaderName, LINK};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;
use serde_json::json;

use crate::image::ImageName;
use crate::oci::empty_index;
use crate::source::LATEST;

/// Says that this is a registry. Never waits for anything.
pub(super) fn base() -> Response {
    Json(json!({})).into_response()
}

/// The tags of an image, sorted, by pages of `n` after `last` (OCI distribution
/// specification, "Listing Tags"). All images have the same ones, which are
/// known without making any.
pub(super) fn tags(name: &ImageName, query: Option<&str>) -> Response {
    let all = [LATEST];
    let last = parameter(query, "last").unwrap_or_default();
    let n = parameter(query, "n").and_then(|n| n.parse::<usize>().ok()).unwrap_or(usize::MAX);
    let after: Vec<&str> = all.into_iter().filter(|tag| **tag > *last).collect();
    let page = &after[..n.min(after.len())];
    let mut response = Json(json!({ "name": name.as_str(), "tags": page })).into_response();
    if let Some(last) = page.last().filter(|_| page.len() < after.len())
        && let Ok(link) =
            HeaderValue::try_from(format!("</v2/{name}/tags/list?n={n}&last={last}>; rel=\"next\""))
    {
        response.headers_mut().insert(LINK, link);
    }
    response
}

/// Nothing refers to any image here, which is an empty list and not an error.
pub(super) fn referrers(query: Option<&str>) -> Response {
    let (media_type, content) = empty_index();
    let mut response = (StatusCode::OK, content).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    if parameter(query, "artifactType").is_some() {
        let filters = HeaderName::from_static("oci-filters-applied");
        headers.insert(filters, HeaderValue::from_static("artifactType"));
    }
    response
}

/// The value of a parameter in a query.
fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    query?.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then(|| percent_decode_str(value).decode_utf8_lossy().into_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fuzzed() {
        let name: ImageName = "git".parse().unwrap();
        let seeds =
            ["n=1&last=latest", "n=0", "last=a%20b&n=3", "artifactType=a/b", "ns=docker.io"];
        crate::fuzz::parser("queries", seeds).words(["n=", "last=", "artifactType=", "&"]).run(
            |input| {
                let query = std::str::from_utf8(input).ok()?;
                let _ = referrers(Some(query));
                Some((parameter(Some(query), "n"), tags(&name, Some(query))))
            },
            |_, parsed| {
                let Some((n, response)) = parsed else { return };
                assert_eq!(response.status(), StatusCode::OK);
                if let Some(link) = response.headers().get(LINK) {
                    assert!(
                        n.is_some() && link.to_str().unwrap().starts_with("</v2/git/tags/list?n=")
                    );
                }
            },
        );
    }
}
