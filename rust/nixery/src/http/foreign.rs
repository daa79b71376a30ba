//! What pages of other sites have browsers send.

use axum::extract::Request;
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::ApiError;
use super::route::{Reference, Route};

/// How a browser says that a page of another site has sent it.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Where the page is from that sent a POST (RFC 6454, 7.1), `null` if that isn't told.
fn is_of_another_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return false };
    let of_page = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    let own = headers.get(HOST).and_then(|host| host.to_str().ok());
    of_page.is_none_or(|(_, of_page)| own != Some(of_page))
}

/// Stops what another site's page has a browser send and what may have something made:
/// the browser reaches servers that the page's owner doesn't, and sends the password that it
/// was told once. A page of the same site is another one too, as often a whole company is
/// one. Registry clients never send the header, and browsers do on connections with TLS and to
/// this machine (W3C, "Fetch Metadata Request Headers"); on others, they name the origin of
/// a page with what it has them post.
pub(super) async fn keep_pages_out(request: Request, next: Next) -> Response {
    let is_foreign = match request.headers().get(FETCH_SITE) {
        Some(site) => site != "same-origin" && site != "none",
        None => request.method() == Method::POST && is_of_another_origin(request.headers()),
    };
    if is_foreign && may_begin_work(request.method(), request.uri().path()) {
        return ApiError::ForeignPage.into_response();
    }
    next.run(request).await
}

/// Whether Nix may be asked for something by a request.
fn may_begin_work(method: &Method, path: &str) -> bool {
    let is_tag = || {
        let route = Route::parse(path);
        matches!(route, Ok(Route::Manifest { reference: Reference::Tag(_), .. }))
    };
    method == Method::POST || path == "/api/v1/packages" || is_tag()
}
