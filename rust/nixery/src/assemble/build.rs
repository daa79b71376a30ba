//! Making an image.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::try_join_all;
use tokio::task::spawn_blocking;

use super::error::AssembleError;
use super::packing::Content;
use super::{Image, ImageRequest, Inner, StoredManifest, environment};
use crate::cache::LayerRecord;
use crate::image::ImageName;
use crate::layers::{Layer, group};
use crate::nix::Prepared;
use crate::oci::{Descriptor, Format, ImageConfig, LayerHistory, Manifest};
use crate::store_path::StorePath;

/// Names of a layer's paths that its history entry lists.
const NAMES_IN_HISTORY: usize = 30;

impl Inner {
    /// Has the packages made, packed and stored.
    pub(super) async fn build(
        &self,
        name: &ImageName,
        request: &ImageRequest,
    ) -> Result<Image, AssembleError> {
        tracing::info!(image = %name, "preparing packages");
        let prepared =
            Arc::new(self.builder.prepare(name.as_str(), &request.spec, &request.source).await?);
        let groups = self.group(&prepared).await?;
        tracing::info!(
            image = %name,
            store_paths = prepared.closure.len(),
            layers = groups.len(),
            bytes = prepared.closure.total_nar_size(),
            "packing"
        );
        let layers = self.pack(&prepared, groups).await?;
        let image = self.describe(request, prepared, layers).await?;
        tracing::info!(image = %name, "made");
        Ok(image)
    }

    /// Large closures take tens of milliseconds, which others shall not wait for.
    async fn group(&self, prepared: &Arc<Prepared>) -> Result<Vec<Layer>, AssembleError> {
        let (prepared, popularity) = (Arc::clone(prepared), Arc::clone(&self.popularity));
        let budget = self.limits.max_layers;
        let work = spawn_blocking(move || {
            group(&prepared.closure, &package_paths(&prepared), &popularity, budget)
        });
        Ok(work.await.map_err(|_| AssembleError::Crashed)??)
    }

    /// Packs all layers, the root file system on top of the others.
    async fn pack(
        &self,
        prepared: &Arc<Prepared>,
        groups: Vec<Layer>,
    ) -> Result<Vec<(LayerRecord, String)>, AssembleError> {
        let packages = package_paths(prepared);
        let contents = groups
            .into_iter()
            .map(|layer| (history(&layer), Content::StorePaths(layer.paths)))
            .chain([("nixery: links to the packages".to_owned(), Content::RootFs(packages))]);
        try_join_all(contents.map(|(created_by, content)| async move {
            let record = self.packer.layer(content, &self.storage, &self.records).await?;
            Ok((record, created_by))
        }))
        .await
    }

    /// Writes the image configuration, and a manifest in each format.
    async fn describe(
        &self,
        request: &ImageRequest,
        prepared: Arc<Prepared>,
        layers: Vec<(LayerRecord, String)>,
    ) -> Result<Image, AssembleError> {
        let labels = labels(request, &prepared);
        let environment = spawn_blocking(move || environment::variables(&prepared.closure));
        let blobs: Vec<Descriptor> = layers.iter().map(|(record, _)| record.blob).collect();
        let config = ImageConfig {
            platform: request.spec.platform(),
            command: if request.spec.has_shell() { vec!["bash".to_owned()] } else { Vec::new() },
            environment: environment.await.map_err(|_| AssembleError::Crashed)?,
            labels,
            layers: layers
                .into_iter()
                .map(|(record, created_by)| LayerHistory { diff_id: record.diff_id, created_by })
                .collect(),
        }
        .to_json();
        self.storage.put_blob(&config).await?;
        let mut manifests = Vec::new();
        for format in Format::ALL {
            let manifest = Manifest::new(format, Descriptor::of(&config), &blobs);
            self.storage.put_blob(&manifest.content).await?;
            manifests.push(Arc::new(StoredManifest::new(manifest)));
        }
        Ok(Image { manifests })
    }
}

/// The store paths of what was asked for, sorted, each once.
fn package_paths(prepared: &Prepared) -> Vec<StorePath> {
    let mut paths: Vec<StorePath> =
        prepared.packages.iter().map(|package| package.path.clone()).collect();
    paths.sort_unstable();
    paths.dedup();
    paths
}

/// What `docker history` shows for a layer: first what the rest is there for.
fn history(layer: &Layer) -> String {
    let others = layer.paths.iter().filter(|path| !layer.roots.contains(path));
    let names = layer.roots.iter().chain(others).map(StorePath::name);
    let names: Vec<&str> = names.take(NAMES_IN_HISTORY).collect();
    let more = match layer.paths.len().saturating_sub(NAMES_IN_HISTORY) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("nixery: {}{more}", names.join(", "))
}

/// Where the image comes from (OCI image specification, "Pre-Defined
/// Annotation Keys").
fn labels(request: &ImageRequest, prepared: &Prepared) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    if let Some(address) = request.source.address() {
        labels.insert("org.opencontainers.image.source".to_owned(), address);
    }
    if let Some(revision) = &prepared.revision {
        labels.insert("org.opencontainers.image.revision".to_owned(), revision.clone());
    }
    labels
}
