//! Builds, for programs: `/api/v1/builds`.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::{CACHE_CONTROL, LOCATION};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::sse::{KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::asked::{Below, page_of};
use super::error::ApiError;
use super::events::{events, last_line};
use super::forwarded::Client;
use super::gate::Visitor;
use super::{Shared, accept};
use crate::access::Right;
use crate::assemble::{
    Asked, AssembleError, Ended, Failure, Image, Progress, Step, StoredManifest,
};
use crate::counters::{self, Full, Refused};

/// For how long POST waits whether there is an answer at once.
const PATIENCE: Duration = Duration::from_secs(1);

/// Nothing of this is to be kept by anybody in between.
pub(super) const NO_STORE: (HeaderName, HeaderValue) =
    (CACHE_CONTROL, HeaderValue::from_static("no-store"));

/// A build as JSON.
#[derive(Serialize)]
pub(super) struct BuildView {
    pub(super) image: String,
    pub(super) tag: String,
    pub(super) platform: String,
    pub(super) packages: Vec<String>,
    pub(super) source: String,
    pub(super) state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) begun: Option<String>,
    pub(super) seconds: f64,
    pub(super) layers: usize,
    pub(super) layers_stored: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    manifests: Vec<ManifestView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<ErrorView>,
}

/// A manifest as JSON.
#[derive(Serialize)]
pub(super) struct ManifestView {
    media_type: &'static str,
    digest: String,
    size: usize,
}

/// An error as JSON, as registry clients get it.
#[derive(Serialize)]
pub(super) struct ErrorView {
    pub(super) code: &'static str,
    pub(super) message: String,
}

/// A build with the end of its log.
#[derive(Serialize)]
struct WithLog {
    #[serde(flatten)]
    build: BuildView,
    /// Number of the first line.
    log_begin: u64,
    log: Vec<String>,
}

/// From which line on the log is wanted.
#[derive(Deserialize)]
pub(super) struct From {
    #[serde(default)]
    from: u64,
}

impl Shared {
    /// A build as it is shown to somebody who has asked for it: under the name that they
    /// know. That of whoever had it begun is theirs, and so is when that was, where builds
    /// are private.
    pub(super) fn view(&self, build: &Progress, asked: &Asked) -> BuildView {
        let view = BuildView::new(build);
        BuildView {
            image: asked.name.as_str().to_owned(),
            tag: asked.tag.as_str().to_owned(),
            begun: view.begun.filter(|_| self.registry.shows_builds),
            ..view
        }
    }
}

impl BuildView {
    pub(super) fn new(progress: &Progress) -> Self {
        let (state, asked) = (progress.state(), progress.asked());
        let (name, manifests, error) = match &state.ended {
            Some(Ended::Made(image)) => ("made", manifests(image), None),
            Some(Ended::Failed(failure)) => {
                let error = ApiError::from(failure.clone());
                let (_, code) = error.classify();
                ("failed", Vec::new(), Some(ErrorView { code, message: error.to_string() }))
            }
            None => (step(state.step), Vec::new(), None),
        };
        Self {
            image: asked.name.as_str().to_owned(),
            tag: asked.tag.as_str().to_owned(),
            platform: asked.spec.platform().to_string(),
            packages: asked.spec.packages().map(str::to_owned).collect(),
            source: progress.source().told(),
            state: name,
            begun: Some(begun(progress)),
            seconds: (state.elapsed.as_secs_f64() * 10.0).round() / 10.0,
            layers: state.layers,
            layers_stored: state.layers_stored,
            manifests,
            error,
        }
    }
}

impl BuildView {
    pub(super) fn seconds_are_final(&self) -> bool {
        matches!(self.state, "made" | "failed")
    }
}

/// To the second.
fn begun(progress: &Progress) -> String {
    let time = Timestamp::try_from(progress.begun()).unwrap_or_default();
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}

pub(super) fn step(step: Step) -> &'static str {
    match step {
        Step::Looking => "looking",
        Step::Waiting => "waiting",
        Step::Nix => "nix",
        Step::Packing => "packing",
    }
}

pub(super) fn manifests(image: &Image) -> Vec<ManifestView> {
    let view = |manifest: &Arc<StoredManifest>| ManifestView {
        media_type: manifest.format.manifest_type(),
        digest: manifest.digest_text.clone(),
        size: manifest.content.len(),
    };
    image.manifests().iter().map(view).collect()
}

/// The builds that run and the last ones that ended.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    visitor: Visitor,
) -> Result<Response, ApiError> {
    let builds = shared.builds_for(&visitor)?;
    let builds: Vec<BuildView> = builds.iter().map(|build| BuildView::new(build)).collect();
    Ok(([NO_STORE], Json(json!({ "builds": builds }))).into_response())
}

/// One build: as it is, or as it goes on for whoever wants events.
pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    visitor: Visitor,
    client: Client,
    Below(path): Below,
    query: Result<Query<From>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let Query(From { from }) =
        query.map_err(|_| ApiError::Query("at most one from=NUMBER, the first line of the log"))?;
    let asked = shared.asked(&path)?;
    shared.allow(&visitor, Right::Pull, &asked.name)?;
    let build = shared.registry.assembler.progress(&asked);
    let build = build.ok_or(ApiError::NoBuild)?;
    if accept::names(&headers, "text/event-stream") {
        let last = headers.get("last-event-id").map(|id| last_line(&build, id));
        let place = shared.watchers.enter(client.0).map_err(|full| {
            counters::request_refused(Refused::Watchers);
            match full {
                Full::Total => ApiError::TooManyWatchers,
                Full::Address => ApiError::TooManyWatchersOfClient,
            }
        })?;
        let from = last.unwrap_or(from);
        let events = Sse::new(events(Arc::clone(&shared), asked, build, from, place));
        return Ok(([NO_STORE], events.keep_alive(KeepAlive::default())).into_response());
    }
    let (log, end) = build.log(from);
    let log_begin = end - log.len() as u64;
    let build = shared.view(&build, &asked);
    Ok(([NO_STORE], Json(WithLog { build, log_begin, log })).into_response())
}

/// Begins a build, or finds the image, and answers at once.
pub(super) async fn start(
    State(shared): State<Arc<Shared>>,
    visitor: Visitor,
    client: Client,
    Below(path): Below,
) -> Result<Response, ApiError> {
    let asked = shared.asked(&path)?;
    shared.allow(&visitor, Right::Build, &asked.name)?;
    let assembler = shared.registry.assembler.clone();
    let (image, tag) = (asked.name.as_str(), asked.tag.as_str());
    let answer = {
        let (assembler, asked) = (assembler.clone(), asked.clone());
        tokio::spawn(async move { assembler.image(&asked, client.0).await })
    };
    let (status, state) = if let Ok(answer) = tokio::time::timeout(PATIENCE, answer).await {
        let crashed = |_| Failure::logged(image, AssembleError::Crashed);
        let manifests = manifests(&answer.map_err(crashed)??.image);
        (
            StatusCode::OK,
            json!({ "image": image, "tag": tag, "state": "made", "manifests": manifests }),
        )
    } else {
        let build = assembler.progress(&asked).map(|build| shared.view(&build, &asked));
        // Without a build, it is still asked which commit the source is at.
        let state = build.map_or_else(
            || json!({ "image": image, "tag": tag, "state": "looking" }),
            |build| json!(build),
        );
        (StatusCode::ACCEPTED, state)
    };
    let mut response = (status, [NO_STORE], Json(state)).into_response();
    let location = format!("/api/v1{}", page_of(&asked.name, &asked.tag));
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}
