//! What is asked for, and answered.

use std::sync::Arc;

use super::Image;
use crate::image::{ImageName, ImageSpec};
use crate::source::{Snapshot, SourceAt, Tag};

/// What a client asks for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What it calls the image.
    pub name: ImageName,
    /// The tag.
    pub tag: Tag,
    /// The packages and the platform that the name means.
    pub spec: ImageSpec,
    /// The package set that the tag means.
    pub source: SourceAt,
}

/// Which image: its packages, from where.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImageRequest {
    /// The packages and the platform.
    pub spec: ImageSpec,
    /// The package set.
    pub source: Snapshot,
}

impl ImageRequest {
    /// What an image is, for people who look at the storage.
    pub(super) fn description(&self) -> String {
        let packages: Vec<&str> = self.spec.packages().collect();
        let source = self.source.source();
        let address = source.address().unwrap_or_else(|| "a directory".to_owned());
        let revision = self.source.revision().map(|revision| format!(" at {revision}"));
        format!(
            "{} for {} from {address}{}",
            packages.join(" "),
            self.spec.platform(),
            revision.unwrap_or_default()
        )
    }
}

/// An image for a client.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The image.
    pub image: Arc<Image>,
    /// What the client should know about it, for people.
    pub warning: Option<Arc<str>>,
}
