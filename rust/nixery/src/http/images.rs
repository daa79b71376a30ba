//! What images consist of, for programs: `/api/v1/images`.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::Shared;
use super::asked::Below;
use super::builds::{ManifestView, NO_STORE, manifests};
use super::error::ApiError;
use super::gate::Visitor;
use crate::access::Right;
use crate::assemble::{Asked, Composition};
use crate::image::ImageName;

/// An image as JSON.
#[derive(Serialize)]
pub(super) struct ImageView {
    image: String,
    pub(super) platform: String,
    pub(super) source: String,
    manifests: Vec<ManifestView>,
    pub(super) packages: Vec<PackageView>,
    /// Bytes of all store paths together.
    pub(super) nar_size: u64,
    /// Bytes of all blobs of layers together.
    pub(super) size: u64,
    pub(super) layers: Vec<LayerView>,
}

/// A package as JSON.
#[derive(Serialize)]
pub(super) struct PackageView {
    pub(super) attribute: String,
    pub(super) name: String,
    pub(super) version: String,
    store_path: String,
}

/// A layer as JSON.
#[derive(Serialize)]
pub(super) struct LayerView {
    pub(super) digest: String,
    pub(super) size: u64,
    pub(super) uncompressed_size: u64,
    pub(super) store_paths: Vec<PathView>,
    pub(super) shared_with: Vec<String>,
}

/// A store path as JSON.
#[derive(Serialize)]
pub(super) struct PathView {
    pub(super) path: String,
    #[serde(skip)]
    pub(super) name: String,
    pub(super) nar_size: u64,
}

/// An image that was made.
pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    visitor: Visitor,
    Below(path): Below,
) -> Result<Response, ApiError> {
    let view = find(&shared, &visitor, &shared.asked(&path)?).await?;
    Ok(([NO_STORE], Json(view)).into_response())
}

pub(super) async fn find(
    shared: &Shared,
    visitor: &Visitor,
    asked: &Asked,
) -> Result<ImageView, ApiError> {
    shared.allow(visitor, Right::Pull, &asked.name)?;
    let composition = shared.registry.assembler.composition(asked).await?;
    let mut composition = composition.ok_or(ApiError::NotMade)?;
    if !shared.registry.shows_builds {
        // Which images others have made is told nowhere then.
        composition.layers.iter_mut().for_each(|layer| layer.shared_with.clear());
    }
    for layer in &mut composition.layers {
        layer.shared_with.retain(|other| shared.allow(visitor, Right::Pull, other).is_ok());
    }
    Ok(ImageView::new(asked, &composition))
}

impl ImageView {
    fn new(asked: &Asked, composition: &Composition) -> Self {
        let sizes: HashMap<&str, u64> = composition
            .closure
            .nodes()
            .iter()
            .map(|node| (node.path.as_str(), node.nar_size))
            .collect();
        let packages = composition.packages.iter().map(|record| PackageView {
            attribute: record.package.attribute.clone(),
            name: record.package.name.clone(),
            version: record.package.version.clone().unwrap_or_default(),
            store_path: record.package.path.as_str().to_owned(),
        });
        let layers = composition.layers.iter().map(|layer| LayerView {
            digest: layer.blob.digest.to_string(),
            size: layer.blob.size,
            uncompressed_size: layer.uncompressed_size,
            store_paths: layer
                .paths
                .iter()
                .map(|path| PathView {
                    path: path.as_str().to_owned(),
                    name: path.name().to_owned(),
                    nar_size: sizes.get(path.as_str()).copied().unwrap_or_default(),
                })
                .collect(),
            shared_with: layer
                .shared_with
                .iter()
                .map(ImageName::as_str)
                .map(str::to_owned)
                .collect(),
        });
        Self {
            image: asked.name.as_str().to_owned(),
            platform: asked.spec.platform().to_string(),
            source: composition.source.clone(),
            manifests: manifests(&composition.image),
            packages: packages.collect(),
            nar_size: composition.closure.total_nar_size(),
            size: composition.layers.iter().map(|layer| layer.blob.size).sum(),
            layers: layers.collect(),
        }
    }
}

#[cfg(test)]
impl ImageView {
    /// For tests of what is shown of layers.
    pub(super) fn of_layers(layers: Vec<LayerView>) -> Self {
        Self {
            image: "one".to_owned(),
            platform: "amd64".to_owned(),
            source: "a test".to_owned(),
            manifests: Vec::new(),
            packages: Vec::new(),
            nar_size: 0,
            size: layers.iter().map(|layer| layer.size).sum(),
            layers,
        }
    }
}
