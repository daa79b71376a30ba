//! Which image a path of the pages and of the API is about.

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;

use super::Shared;
use super::error::ApiError;
use crate::assemble::Asked;
use crate::image::ImageName;
use crate::source::Tag;

impl Shared {
    /// Takes `IMAGE/TAG` apart, where IMAGE has slashes of its own.
    pub(super) fn asked(&self, path: &str) -> Result<Asked, ApiError> {
        let (name, tag) = path.rsplit_once('/').ok_or(ApiError::NoTag)?;
        self.asked_for(name.parse()?, tag.parse()?)
    }

    /// What a name and a tag mean on this server.
    pub(super) fn asked_for(&self, name: ImageName, tag: Tag) -> Result<Asked, ApiError> {
        let source = self.registry.source.at(&tag, &self.registry.tag_rules)?;
        let spec = name.expand(self.registry.default_platform)?;
        Ok(Asked { name, tag, spec, source })
    }

    /// Builds are shown to everybody, unless the operator doesn't want that.
    pub(super) fn shows_builds(&self) -> Result<(), ApiError> {
        if self.registry.shows_builds { Ok(()) } else { Err(ApiError::BuildsNotShown) }
    }
}

/// What is below a route's own path, decoded: `IMAGE/TAG`.
pub(super) struct Below(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Below {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path: Result<Path<String>, PathRejection> =
            Path::from_request_parts(parts, state).await;
        // Only what isn't UTF-8 is refused.
        path.map(|Path(path)| Self(path)).map_err(|_| ApiError::MalformedPath)
    }
}

/// The path of an image's page. Names and tags have no characters that mean something in
/// a URL.
pub(super) fn page_of(name: &ImageName, tag: &Tag) -> String {
    format!("/builds/{}/{}", name.as_str(), tag.as_str())
}
