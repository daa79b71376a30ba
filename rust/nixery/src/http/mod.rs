//! The server's face: the registry protocol below `/v2/`, and a page for people
//! elsewhere.

mod accept;
mod asked;
mod blobs;
mod body;
mod builds;
mod contents;
mod crash;
mod error;
mod events;
mod figures;
mod foreign;
mod forwarded;
mod front_page;
mod gate;
mod images;
mod layout;
mod limits;
mod listing;
mod login;
mod manifests;
mod packages;
mod pages;
mod progress;
mod range;
mod rates;
mod rights;
mod route;
mod verify;
mod web;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{ALLOW, HeaderName, HeaderValue};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use metrics::Histogram;
use tower_http::services::ServeDir;

use crate::access::Right;
use crate::assemble::Assembler;
use crate::catalogue::Catalogue;
use crate::counters::{self, request_seconds};
use crate::disk::Disk;
use crate::flights::Flights;
use crate::places::Places;
use crate::platform::Platform;
use crate::source::{LATEST, Source, SourceAt, TagRules};
use crate::storage::Storage;
use body::Buffers;
use error::ApiError;
use forwarded::Client;
pub use gate::Gate;
use gate::Visitor;
use route::{Reference, Route};
use web::Readiness;

pub use limits::{Limiter, RequestLimits};

/// What every answer of a registry says of itself; old Docker clients look for
/// it.
const API_VERSION: (HeaderName, HeaderValue) = (
    HeaderName::from_static("docker-distribution-api-version"),
    HeaderValue::from_static("registry/2.0"),
);

/// What the handlers need.
pub struct Registry {
    /// Makes and knows images.
    pub assembler: Assembler,
    /// Knows the names of packages.
    pub catalogue: Catalogue,
    /// Has the blobs.
    pub storage: Arc<dyn Storage>,
    /// Has room for more of them, or not.
    pub disk: Disk,
    /// Where packages come from.
    pub source: Source,
    /// Which tags choose something of that.
    pub tag_rules: TagRules,
    /// Writes what was counted, in Prometheus' text format.
    pub metrics: Box<dyn Fn() -> String + Send + Sync>,
    /// For names that choose none.
    pub default_platform: Platform,
    /// Whether everybody may see what is being made.
    pub shows_builds: bool,
    /// The port at which it is reached, for clients that don't say how they came; `None`:
    /// the usual one of the protocol, or none at all.
    pub port: Option<u16>,
    /// Most clients that watch builds at a time.
    pub max_watchers: usize,
    /// Most blobs that are sent at a time.
    pub max_downloads: usize,
    /// Most of those that are sent to one client.
    pub max_downloads_per_address: usize,
    /// Has web pages that are served beside the server's own.
    pub web_directory: Option<PathBuf>,
    /// Knows who may do what; `None`: everybody may everything.
    pub gate: Option<Arc<Gate>>,
}

/// One client may have one place in so many of those for watchers.
const WATCHERS_SHARE: usize = 4;

struct Shared {
    registry: Registry,
    buffers: Buffers,
    durations: Durations,
    files: Option<ServeDir>,
    watchers: Places,
    downloads: Places,
    readiness: Flights<(), Readiness>,
}

impl Registry {
    /// The package set of the tag `latest`.
    pub fn newest(&self) -> Option<SourceAt> {
        // That there is this tag was checked when the server was started.
        self.source.at(&LATEST.parse().ok()?, &self.tag_rules).ok()
    }
}

/// How long it takes until an answer begins, by route.
struct Durations {
    base: Histogram,
    tag: Histogram,
    digest: Histogram,
    blob: Histogram,
    listing: Histogram,
}

impl Durations {
    fn new() -> Self {
        Self {
            base: request_seconds("base"),
            tag: request_seconds("manifest by tag"),
            digest: request_seconds("manifest by digest"),
            blob: request_seconds("blob"),
            listing: request_seconds("listing"),
        }
    }

    fn of(&self, route: &Route) -> &Histogram {
        match route {
            Route::Base => &self.base,
            Route::Manifest { reference: Reference::Tag(_), .. } => &self.tag,
            Route::Manifest { reference: Reference::Digest(_), .. } => &self.digest,
            Route::Blob { .. } => &self.blob,
            Route::Tags { .. } | Route::Referrers { .. } => &self.listing,
        }
    }
}

/// The map of everything that is served.
pub fn router(registry: Registry) -> Router {
    let (buffers, durations) = (Buffers::default(), Durations::new());
    let files = registry.web_directory.as_ref().map(ServeDir::new);
    let of_one = registry.max_watchers.div_ceil(WATCHERS_SHARE);
    let watchers = Places::new(registry.max_watchers, of_one).counted(counters::watcher);
    let downloads = Places::new(registry.max_downloads, registry.max_downloads_per_address)
        .counted(counters::download);
    let readiness = Flights::default();
    let shared =
        Arc::new(Shared { registry, buffers, durations, files, watchers, downloads, readiness });
    let router = Router::new()
        .route("/", get(front_page::index))
        .route("/assets/{name}", get(layout::asset))
        .route(login::LOGIN_PATH, get(login::login))
        .route("/builds", get(pages::builds))
        .route("/builds/", get(async || Redirect::temporary("/builds")))
        .route("/builds/{*image}", get(pages::build))
        .route("/api/v1/builds", get(builds::list))
        .route("/api/v1/builds/{*image}", get(builds::show).post(builds::start))
        .route("/api/v1/images/{*image}", get(images::show))
        .route("/api/v1/packages", get(packages::complete))
        .route("/api/v1/openapi.json", get(web::description))
        .route("/healthz", get(web::health))
        .route("/readyz", get(web::readiness))
        .route("/metrics", get(web::metrics))
        .fallback(everything_else)
        .method_not_allowed_fallback(other_method);
    let router = match &shared.registry.gate {
        Some(_) => router.layer(from_fn_with_state(Arc::clone(&shared), gate::pass)),
        None => router,
    };
    let router = router.layer(from_fn(foreign::keep_pages_out));
    crash::contained(router.with_state(shared))
}

/// Names of images have slashes in them, so paths below `/v2/` are taken apart
/// from their end and not by the router.
async fn everything_else(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (request, _body) = request.into_parts();
    let path = request.uri.path();
    if is_for_programs(path) {
        return ApiError::NoSuchPath.into_response();
    }
    if path != "/v2" && !path.starts_with("/v2/") {
        return files(&shared, Request::from_parts(request, Body::empty())).await;
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

/// Whether what is answered below a path is JSON, errors too.
fn is_for_programs(path: &str) -> bool {
    path.starts_with("/api/")
}

/// The router adds which methods there are.
async fn other_method(uri: Uri) -> Response {
    if is_for_programs(uri.path()) {
        ApiError::OtherMethod.into_response()
    } else {
        StatusCode::METHOD_NOT_ALLOWED.into_response()
    }
}

/// A file of the operator's directory, if there is one.
async fn files(shared: &Shared, request: Request) -> Response {
    let is_for_people = accept::names(request.headers(), "text/html");
    let Some(files) = &shared.files else { return nothing(shared, is_for_people) };
    match files.clone().try_call(request).await {
        Ok(response) if response.status() == StatusCode::NOT_FOUND => {
            nothing(shared, is_for_people)
        }
        Ok(response) => response.map(Body::new),
        Err(error) => {
            tracing::error!(%error, "can't read the directory of web pages");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn nothing(shared: &Shared, is_for_people: bool) -> Response {
    if is_for_people {
        layout::problem(shared, StatusCode::NOT_FOUND, "<p>There is nothing here.</p>")
    } else {
        (StatusCode::NOT_FOUND, "There is nothing here. See / for usage.\n").into_response()
    }
}

async fn registry(shared: &Shared, request: &Parts) -> Result<Response, ApiError> {
    let Parts { method, uri, headers, extensions, .. } = request;
    let begin = Instant::now();
    let visitor = extensions.get::<Visitor>().unwrap_or(&Visitor::Anybody);
    if uri.path() == gate::TOKEN_PATH {
        return gate::token(visitor, headers);
    }
    let route = Route::parse(uri.path())?;
    match route.name() {
        Some(name) => shared.allow(visitor, Right::Pull, name)?,
        None => visitor.enter()?,
    }
    let result = match &route {
        Route::Base => Ok(listing::base()),
        Route::Manifest { name, reference } => {
            let client = Client::of(extensions);
            manifests::serve(shared, visitor, client, name, reference, method, headers).await
        }
        Route::Blob { digest, .. } => {
            blobs::serve(shared, Client::of(extensions), digest, method, headers).await
        }
        Route::Tags { name } => Ok(listing::tags(name, uri.query())),
        Route::Referrers { .. } => Ok(listing::referrers(uri.query())),
    };
    shared.durations.of(&route).record(begin.elapsed());
    result
}
