//! Names of packages, for who composes the name of an image: `/api/v1/packages`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::Shared;
use super::builds::NO_STORE;
use super::error::ApiError;
use super::gate::Visitor;
use crate::access::Right;
use crate::catalogue::{self, Completion, Look};
use crate::source::LATEST;

/// Most names in an answer.
const MOST: usize = 100;

/// Names in an answer where no number is given.
const USUAL: usize = 20;

/// Longest beginning of a name; names of images have no more than 255 bytes.
const LONGEST: usize = 255;

/// What is asked for.
#[derive(Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    prefix: String,
    limit: Option<usize>,
    tag: Option<String>,
}

/// Names as JSON.
#[derive(Serialize)]
struct NamesView {
    source: String,
    revision: Option<String>,
    state: &'static str,
    packages: Vec<String>,
    more: bool,
}

/// Names that begin with, or have in them, what was typed.
pub(super) async fn complete(
    State(shared): State<Arc<Shared>>,
    visitor: Visitor,
    query: Result<Query<Wanted>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, ApiError> {
    // Where there is something for those who haven't logged in, it is shown to them.
    if !shared.has_for_anonymous() {
        visitor.enter()?;
    }
    shared.allow_something(&visitor)?;
    let Query(wanted) = query.map_err(|_| {
        ApiError::Query("at most one each of prefix=TEXT, limit=NUMBER and tag=TAG")
    })?;
    let typed = wanted.prefix.to_ascii_lowercase();
    let is_of_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    if typed.len() > LONGEST || !typed.chars().all(is_of_name) {
        return Err(ApiError::Prefix(wanted.prefix.chars().take(LONGEST).collect()));
    }
    let tag = wanted.tag.as_deref().unwrap_or(LATEST).parse()?;
    let source = shared.registry.source.at(&tag, &shared.registry.tag_rules)?;
    let limit = wanted.limit.unwrap_or(USUAL).min(MOST);
    // To list names is work for Nix, of which who may only pull can't have any done.
    let may_build = shared.may_something(&visitor, Right::Build);
    let look = if may_build { Look::Ask } else { Look::Known };
    let shown = |name: &str| shared.shows_package(&visitor, name);
    let catalogue = &shared.registry.catalogue;
    let Completion { revision, state, names, has_more } =
        catalogue.complete(&source, &typed, limit, look, shown).await;
    if names.is_empty() && !may_build {
        // There may be some for those who log in.
        visitor.enter()?;
    }
    let state = match state {
        catalogue::State::Ready => "ready",
        catalogue::State::Indexing => "indexing",
        catalogue::State::Unavailable => "unavailable",
    };
    let view =
        NamesView { source: source.told(), revision, state, packages: names, more: has_more };
    Ok(([NO_STORE], Json(view)).into_response())
}
