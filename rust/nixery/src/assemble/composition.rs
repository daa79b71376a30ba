//! What an image that was made consists of, by what was recorded: Nix is not asked.

use std::sync::Arc;

use super::error::AssembleError;
use super::grouped::Grouping;
use super::packages::{known_packages, package_paths};
use super::{Asked, Assembler, Failure, Image, ImageRequest, Inner};
use crate::cache::{LayerRecord, PackageRecord, layer_key, rootfs_key};
use crate::concurrent::try_all;
use crate::image::ImageName;
use crate::layers::{Closure, group};
use crate::oci::Descriptor;
use crate::store_path::StorePath;

/// Most names of other images that a layer is said to be in.
const MAX_SHARED: usize = 10;

/// An image, with all that is in it.
#[derive(Debug)]
pub struct Composition {
    /// The image.
    pub image: Arc<Image>,
    /// The source at the commit that it was made from, for people.
    pub source: String,
    /// Its packages, in the order of their names.
    pub packages: Vec<Arc<PackageRecord>>,
    /// All that they need, themselves included.
    pub closure: Closure,
    /// The layers, the lowest first; the last one has links to the packages.
    pub layers: Vec<LayerContent>,
}

/// A layer, with all that is in it.
#[derive(Debug)]
pub struct LayerContent {
    /// The blob.
    pub blob: Descriptor,
    /// Bytes of the tar stream.
    pub uncompressed_size: u64,
    /// The store paths; none in the layer of links.
    pub paths: Vec<StorePath>,
    /// Some of the other images that have it and were made or found by this process.
    pub shared_with: Vec<ImageName>,
}

impl Assembler {
    /// What an image consists of that was made before. `None`: it wasn't, or it can't be
    /// known again as its source has no revision.
    pub async fn composition(&self, asked: &Asked) -> Result<Option<Composition>, Failure> {
        let failed = |error| Failure::logged(asked.name.as_str(), error);
        let pin = self.0.pins.pin(asked.source.clone()).await;
        let pin = pin.map_err(|error| failed(error.into()))?;
        let request = ImageRequest { spec: asked.spec.clone(), source: pin.snapshot };
        self.0.composition(&request).await.map_err(failed)
    }
}

impl Inner {
    async fn composition(
        &self,
        request: &ImageRequest,
    ) -> Result<Option<Composition>, AssembleError> {
        let popularity = self.popularity();
        let Some(key) = self.manifest_key(request, &popularity) else { return Ok(None) };
        let image = match self.in_memory(request).await? {
            Some(image) => image,
            None => match self.recorded(&key).await? {
                Some(image) => Arc::new(image),
                None => return Ok(None),
            },
        };
        let Some(packages) = self.all_packages(request).await? else { return Ok(None) };
        let (budget, roots) = (self.limits.max_layers, package_paths(&packages));
        let closures = packages.clone();
        let work = move || {
            let closure = Closure::merge(closures.iter().map(|record| &record.closure));
            let groups = group(&closure, &roots, &popularity.popularity, budget)?;
            let layers = groups.into_iter().map(|layer| layer.paths).collect();
            Ok(Grouping { closure, layers })
        };
        let manifests = image.manifests().iter().map(|manifest| manifest.digest).collect();
        let grouping = self.grouped.of(manifests, work).await?;
        let (closure, mut contents) = (grouping.closure.clone(), grouping.layers.clone());
        let level = self.packer.level();
        let mut keys: Vec<_> = contents.iter().map(|paths| layer_key(level, paths)).collect();
        contents.push(Vec::new());
        keys.push(rootfs_key(level, &package_paths(&packages)));
        let records = keys.iter().map(|key| self.records.read::<LayerRecord>(key));
        let records: Option<Vec<LayerRecord>> = try_all(records).await?.into_iter().collect();
        let Some(records) = records else { return Ok(None) };
        let others = self.history.images();
        let layers = records.into_iter().zip(contents).map(|(record, paths)| LayerContent {
            blob: record.blob,
            uncompressed_size: record.uncompressed_size,
            paths,
            shared_with: others
                .iter()
                // However its name was written, an image shares nothing with itself.
                .filter(|other| other.spec != request.spec)
                .filter(|other| other.blobs.contains(&record.blob.digest))
                .map(|other| other.name.clone())
                .take(MAX_SHARED)
                .collect(),
        });
        let layers = layers.collect();
        let source = match request.source.revision() {
            Some(revision) => format!("{} at {revision}", request.source.source().told()),
            None => request.source.source().told(),
        };
        Ok(Some(Composition { image, source, packages, closure, layers }))
    }

    /// The records of all packages of an image, if there are all.
    async fn all_packages(
        &self,
        request: &ImageRequest,
    ) -> Result<Option<Vec<Arc<PackageRecord>>>, AssembleError> {
        let keys = request.package_keys();
        let mut known = known_packages(&self.records, &request.source, &keys).await?;
        Ok(keys.iter().map(|(name, _)| known.remove(name)).collect())
    }
}
