//! The server's face: the registry protocol below `/v2/`, and a page for people
//! elsewhere.

mod accept;
mod blobs;
mod body;
mod error;
mod listing;
mod manifests;
mod range;
mod route;
mod web;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{ALLOW, HeaderName, HeaderValue};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::assemble::Assembler;
use crate::platform::Platform;
use crate::source::Source;
use crate::storage::Storage;
use body::Buffers;
use error::ApiError;
use route::Route;

/// What every answer of a registry says of itself; old Docker clients look for
/// it.
const API_VERSION: (HeaderName, HeaderValue) = (
    HeaderName::from_static("docker-distribution-api-version"),
    HeaderValue::from_static("registry/2.0"),
);

/// What the handlers need.
#[derive(Debug)]
pub struct Registry {
    /// Makes and knows images.
    pub assembler: Assembler,
    /// Has the blobs.
    pub storage: Arc<dyn Storage>,
    /// Where packages come from.
    pub source: Source,
    /// For names that choose none.
    pub default_platform: Platform,
}

struct Shared {
    registry: Registry,
    buffers: Buffers,
}

/// The map of everything that is served.
pub fn router(registry: Registry) -> Router {
    let shared = Arc::new(Shared { registry, buffers: Buffers::default() });
    Router::new()
        .route("/", get(web::index))
        .route("/healthz", get(web::health))
        .route("/readyz", get(web::readiness))
        .fallback(everything_else)
        .with_state(shared)
}

/// Names of images have slashes in them, so paths below `/v2/` are taken apart
/// from their end and not by the router.
async fn everything_else(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (request, _body) = request.into_parts();
    let path = request.uri.path();
    if path != "/v2" && !path.starts_with("/v2/") {
        return (StatusCode::NOT_FOUND, "There is nothing here. See / for usage.\n")
            .into_response();
    }
    let mut response = if matches!(request.method, Method::GET | Method::HEAD) {
        registry(&shared, &request).await.unwrap_or_else(IntoResponse::into_response)
    } else {
        let mut response = ApiError::ReadOnly.into_response();
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        response
    };
    let (name, value) = API_VERSION;
    response.headers_mut().insert(name, value);
    response
}

async fn registry(shared: &Shared, request: &Parts) -> Result<Response, ApiError> {
    let Parts { method, uri, headers, .. } = request;
    match Route::parse(uri.path())? {
        Route::Base => Ok(listing::base()),
        Route::Manifest { name, reference } => {
            manifests::serve(shared, &name, &reference, headers).await
        }
        Route::Blob { digest, .. } => blobs::serve(shared, &digest, method, headers).await,
        Route::Tags { name } => Ok(listing::tags(&name, uri.query())),
        Route::Referrers { .. } => Ok(listing::referrers(uri.query())),
    }
}
