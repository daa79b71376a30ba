//! Making an image.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::task::spawn_blocking;

use super::error::AssembleError;
use super::packages::{Ingredients, package_paths};
use super::packing::{Content, Plan};
use super::progress::{Progress, Step};
use super::turn::Turn;
use super::{Image, ImageRequest, Inner, PopularityTable, StoredManifest, environment};
use crate::archive::PackError;
use crate::cache::LayerRecord;
use crate::concurrent::try_all;
use crate::error_chain::ErrorChain;
use crate::layers::{Layer, group};
use crate::oci::{Descriptor, Format, ImageConfig, LayerHistory, Manifest};
use crate::source::Snapshot;
use crate::store_path::StorePath;

/// Names of a layer's paths that its history entry lists.
const NAMES_IN_HISTORY: usize = 30;

/// An image that was made.
pub(super) struct Built {
    pub(super) image: Image,
    /// Whether it is what the source will always have under this name.
    pub(super) is_fixed: bool,
}

/// The making of one image.
pub(super) struct Build<'a> {
    pub(super) inner: &'a Inner,
    pub(super) request: &'a ImageRequest,
    /// What the client calls it, for the log.
    pub(super) name: &'a str,
    pub(super) turn: Turn<'a>,
    /// Who watches it.
    pub(super) progress: Arc<Progress>,
    /// The table that its record is to be found by.
    pub(super) popularity: Arc<PopularityTable>,
}

impl Build<'_> {
    /// Has the packages made, packed and stored, as far as they aren't.
    pub(super) async fn run(mut self) -> Result<Built, AssembleError> {
        let begin = Instant::now();
        let ingredients = self.ingredients().await?;
        let prepared = begin.elapsed();
        self.inner.may_be_packed(&ingredients.closure).await?;
        let groups = self.group(&ingredients).await?;
        tracing::info!(
            image = self.name,
            store_paths = ingredients.closure.len(),
            layers = groups.len(),
            bytes = ingredients.closure.total_nar_size(),
            "packing"
        );
        self.progress.has_layers(groups.len() + 1);
        let layers = self.layers_at_last(&ingredients, &groups).await?;
        let image = self.describe(&ingredients, layers).await?;
        tracing::info!(
            image = self.name,
            nix = ingredients.in_store.is_some(),
            prepare_ms = millis(prepared),
            total_ms = millis(begin.elapsed()),
            "made"
        );
        Ok(Built { image, is_fixed: ingredients.are_fixed })
    }

    /// Waits until Nix may run for this image.
    pub(super) async fn take_turn(&mut self) {
        self.progress.step(Step::Waiting);
        self.turn.take(self.name).await;
        self.progress.step(Step::Nix);
    }

    /// All layers, made once more if what they were to be made from is not what it was.
    async fn layers_at_last(
        &mut self,
        ingredients: &Ingredients,
        groups: &[Layer],
    ) -> Result<Vec<(LayerRecord, String)>, AssembleError> {
        let reuse = match self.layers(ingredients, groups, true).await {
            Err(AssembleError::Pack(error @ PackError::Damaged { .. })) => {
                let error = ErrorChain(&error).to_string();
                tracing::warn!(
                    image = self.name,
                    error,
                    "a record is wrong: packing all paths again"
                );
                false
            }
            Err(AssembleError::LayerGone) => {
                tracing::warn!(image = self.name, "a layer was removed meanwhile: made again");
                true
            }
            other => return other,
        };
        self.layers(ingredients, groups, reuse).await
    }

    /// Large closures take tens of milliseconds, which others shall not wait for.
    async fn group(&self, ingredients: &Ingredients) -> Result<Vec<Layer>, AssembleError> {
        let (closure, popularity) =
            (Arc::clone(&ingredients.closure), Arc::clone(&self.popularity));
        let (roots, budget) = (package_paths(&ingredients.packages), self.inner.limits.max_layers);
        let work = spawn_blocking(move || group(&closure, &roots, &popularity.popularity, budget));
        Ok(work.await.map_err(|_| AssembleError::Crashed)??)
    }

    /// All layers, the root file system on top of the others, each with its history.
    /// With `reuse`, what other layers have is copied from there.
    async fn layers(
        &mut self,
        ingredients: &Ingredients,
        groups: &[Layer],
        reuse: bool,
    ) -> Result<Vec<(LayerRecord, String)>, AssembleError> {
        let contents = groups
            .iter()
            .map(|layer| Content::StorePaths(layer.paths.clone()))
            .chain([Content::RootFs(ingredients.packages.clone())]);
        let plans = self.inner.packer.plan(contents.collect(), reuse).await?;
        let missing: Vec<StorePath> = plans
            .iter()
            .flat_map(Plan::paths_to_pack)
            .filter(|path| {
                let prepared = ingredients.in_store.as_ref();
                !prepared.is_some_and(|prepared| prepared.closure.contains(path))
            })
            .cloned()
            .collect();
        let _kept = self.put_into_store(ingredients, &missing).await?;
        self.progress.has_layers(plans.len());
        let records = self.inner.packer.make(plans, &|| self.progress.layer_is_stored()).await?;
        let links = "nixery: links to the packages".to_owned();
        let history = groups.iter().map(history).chain([links]);
        Ok(records.into_iter().zip(history).collect())
    }

    /// Writes the image configuration, and a manifest in each format.
    async fn describe(
        &self,
        ingredients: &Ingredients,
        layers: Vec<(LayerRecord, String)>,
    ) -> Result<Image, AssembleError> {
        let blobs: Vec<Descriptor> = layers.iter().map(|(record, _)| record.blob).collect();
        let locales = ingredients.packages.iter().flat_map(|record| &record.locales);
        let config = ImageConfig {
            platform: self.request.spec.platform(),
            command: if self.request.spec.has_shell() {
                vec!["bash".to_owned()]
            } else {
                Vec::new()
            },
            environment: environment::variables(locales),
            labels: labels(&self.request.source),
            layers: layers
                .into_iter()
                .map(|(record, created_by)| LayerHistory { diff_id: record.diff_id, created_by })
                .collect(),
        }
        .to_json();
        let mut manifests = Vec::new();
        for format in Format::ALL {
            let manifest = Manifest::new(format, Descriptor::of(&config), &blobs);
            manifests.push(Arc::new(StoredManifest::new(manifest)));
        }
        let documents = manifests
            .iter()
            .map(|manifest| (manifest.format.manifest_type(), &manifest.content[..]));
        let documents = [(Format::Oci.config_type(), &config[..])].into_iter().chain(documents);
        let storage = self.inner.records.storage();
        try_all(documents.map(|(media_type, document)| storage.put_blob(document, media_type)))
            .await?;
        Ok(Image { manifests })
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What `docker history` shows for a layer: first what the rest is there for.
fn history(layer: &Layer) -> String {
    let roots = layer.roots.iter().filter(|root| layer.paths.contains(root));
    let others = layer.paths.iter().filter(|path| !layer.roots.contains(path));
    let names = roots.chain(others).map(StorePath::name);
    let names: Vec<&str> = names.take(NAMES_IN_HISTORY).collect();
    let more = match layer.paths.len().saturating_sub(NAMES_IN_HISTORY) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("nixery: {}{more}", names.join(", "))
}

/// Where the image comes from (OCI image specification, "Pre-Defined
/// Annotation Keys").
fn labels(source: &Snapshot) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    if let Some(address) = source.source().address() {
        labels.insert("org.opencontainers.image.source".to_owned(), address);
    }
    if let Some(revision) = source.revision() {
        labels.insert("org.opencontainers.image.revision".to_owned(), revision.to_owned());
    }
    labels
}
