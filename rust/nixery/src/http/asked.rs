//! Which image a path of the pages and of the API is about.

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use std::sync::Arc;

use super::Shared;
use super::error::ApiError;
use super::gate::Visitor;
use crate::assemble::{Asked, Progress};
use crate::image::ImageName;
use crate::source::{LATEST, Tag};

impl Shared {
    /// Takes `IMAGE/TAG` apart, where IMAGE has slashes of its own.
    pub(super) fn asked(&self, path: &str) -> Result<Asked, ApiError> {
        let (name, tag) = path
            .rsplit_once('/')
            .filter(|(_, tag)| !tag.is_empty() && !tag.contains(':'))
            .ok_or_else(|| ApiError::NoTag(meant(path).unwrap_or_else(|| "git/latest".into())))?;
        self.asked_for(name.parse()?, tag.parse()?).map_err(|error| match error {
            ApiError::UnknownTag(error) => match path.parse() {
                Ok(image) => ApiError::TagOrPackage { error, image },
                Err(_) => error.into(),
            },
            other => other,
        })
    }

    /// What a name and a tag mean on this server.
    pub(super) fn asked_for(&self, name: ImageName, tag: Tag) -> Result<Asked, ApiError> {
        let source = self.registry.source.at(&tag, &self.registry.tag_rules)?;
        let spec = name.expand(self.registry.default_platform)?;
        Ok(Asked { name, tag, spec, source })
    }

    /// The builds that run and the last ones that ended, of what a visitor may pull. They
    /// are shown, unless the operator doesn't want that.
    pub(super) fn builds_for(&self, visitor: &Visitor) -> Result<Vec<Arc<Progress>>, ApiError> {
        if !self.registry.shows_builds {
            return Err(ApiError::BuildsNotShown);
        }
        // Of those who may see something without, it can't be told whether they want more.
        if !self.has_for_anonymous() {
            visitor.enter()?;
        }
        let mut builds = self.registry.assembler.builds();
        builds.retain(|build| self.sees(visitor, &build.asked().spec));
        Ok(builds)
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

/// What must have been meant by a path that has no tag behind a slash: the newest image, or
/// the one whose tag is written as clients of registries do, as `IMAGE/TAG`.
pub(super) fn meant(path: &str) -> Option<String> {
    let (name, tag) = match path.split_once(':') {
        Some(parts) => parts,
        None if path.contains('/') => (path.strip_suffix('/')?, LATEST),
        None => (path, LATEST),
    };
    let (name, tag) = (name.parse::<ImageName>().ok()?, tag.parse::<Tag>().ok()?);
    Some(format!("{}/{}", name.as_str(), tag.as_str()))
}

/// The path of an image's page. Names and tags have no characters that mean something in
/// a URL.
pub(super) fn page_of(name: &ImageName, tag: &Tag) -> String {
    format!("/builds/{}/{}", name.as_str(), tag.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_that_was_forgotten_is_latest() {
        for (path, whole) in [
            ("git", "git/latest"),
            ("git/", "git/latest"),
            ("shell/git/", "shell/git/latest"),
            ("shell/git:v1", "shell/git/v1"),
            ("git:latest", "git/latest"),
        ] {
            assert_eq!(meant(path).as_deref(), Some(whole), "{path}");
        }
        // Whole ones, and those that are no name of an image.
        for path in
            ["shell/git", "", "/", "//", "Git", "git//", "//host/git:x", "git:", "git:-", "a:b:c"]
        {
            assert_eq!(meant(path), None, "{path}");
        }
    }
}
