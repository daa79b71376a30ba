//! Logging in with a browser.
//!
//! A browser that is told to log in asks its user for a password, also when it was a script
//! of a page that has asked for something; nobody who only looks at a page wants to be asked
//! that. And what it was told it sends of its own accord only for what is below the path
//! where it was asked (RFC 7617, 2.2). So
//!
//! - scripts are never told to log in in a way that browsers know how to,
//! - there is a place at the top for it, where pages lead that need it.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};

use super::Shared;
use super::builds::NO_STORE;
use super::gate::Visitor;
use super::layout::error_page;

/// Where browsers log in.
pub(super) const LOGIN_PATH: &str = "/login";

/// Which page is to be shown after that, as it is in its own URL.
const TO: &str = "to=";

/// What browsers say of how a request came about, on connections with TLS and to this
/// machine (W3C, "Fetch Metadata Request Headers").
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// What the scripts of these pages say of themselves, for the other connections.
const REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");

/// What scripts are told: it is true, and browsers ask nobody for a token.
const FOR_SCRIPTS: HeaderValue = HeaderValue::from_static("Bearer realm=\"nixery\"");

/// What has sent a request.
pub(super) enum Sender {
    /// A registry client, for example.
    Program,
    /// A script of a page.
    Script,
    /// Somebody with a browser, who has not logged in for this.
    Reader {
        /// Of the page that they want.
        path: String,
    },
}

impl Sender {
    pub(super) fn of(request: &Request) -> Self {
        let headers = request.headers();
        let mode = headers.get(FETCH_MODE);
        if headers.contains_key(REQUESTED_WITH) || mode.is_some_and(|mode| mode != "navigate") {
            Self::Script
        } else if mode.is_some() && !headers.contains_key(AUTHORIZATION) && is_page(request.uri()) {
            Self::Reader { path: request.uri().path().to_owned() }
        } else {
            Self::Program
        }
    }

    /// What it is answered instead of `response`, if that asks it to log in.
    pub(super) fn answer(self, mut response: Response) -> Response {
        if response.status() != StatusCode::UNAUTHORIZED {
            return response;
        }
        match self {
            Self::Program => response,
            Self::Script => {
                response.headers_mut().insert(WWW_AUTHENTICATE, FOR_SCRIPTS);
                response
            }
            Self::Reader { path } => {
                let place = format!("{LOGIN_PATH}?{TO}{path}");
                ([NO_STORE], Redirect::to(&place)).into_response()
            }
        }
    }
}

/// Whether it is one of the pages that may need a login. `/builds` with something else
/// after it is none, but leads nowhere else either.
fn is_page(uri: &Uri) -> bool {
    uri.path().starts_with("/builds")
}

/// Asks for a password, and leads those who have one back to where they came from.
pub(super) async fn login(
    State(shared): State<Arc<Shared>>,
    visitor: Visitor,
    uri: Uri,
) -> Response {
    if let Err(error) = visitor.enter() {
        return error_page(&shared, &error);
    }
    let page = uri.query().and_then(|query| query.strip_prefix(TO)).and_then(|to| to.parse().ok());
    // Nowhere else, whoever has made the link.
    let page = page.filter(|page: &Uri| page.authority().is_none() && is_page(page));
    let place = page.map_or_else(|| "/".to_owned(), |page| page.path().to_owned());
    ([NO_STORE], Redirect::to(&place)).into_response()
}
