//! The whole way from what an image consists of to its manifests.
//!
//! [`Assembler::image`] answers from this process's memory, from the storage,
//! or by a build: one at a time for each image, however many clients ask.

mod build;
mod environment;
mod error;
mod flights;
mod image;
mod known;
mod packing;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;

pub use error::{AssembleError, Failure};
pub use image::{Image, StoredManifest};
pub use packing::Packer;

use crate::cache::{ManifestInputs, ManifestRecord, Records, manifest_key};
use crate::image::{ImageName, ImageSpec};
use crate::layers::Popularity;
use crate::nix::Builder;
use crate::oci::{Digest, Format, Manifest};
use crate::source::SourceAt;
use crate::storage::{RecordKey, Storage, StorageError};
use flights::{Flights, Outcome};
use known::{Known, KnownImage};

/// Largest manifest that is read from the storage, in bytes; the distribution
/// specification asks registries to take at least 4 MiB.
const MAX_MANIFEST: u64 = 4 << 20;

/// For how long a failure is the answer to whoever asks again. Some clients ask
/// by HEAD first and then by GET for what it says: that shall not start another
/// build.
const FAILURE_IS_KEPT: Duration = Duration::from_secs(5);

/// For how long any source is taken to be where it was, at least. A directory may
/// change at any time, and nobody says when; but clients ask for a tag by HEAD
/// and then by GET, and mean the same image.
const SOURCE_IS_TRUSTED: Duration = Duration::from_secs(5);

/// Bounds and parameters of builds.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Builds at the same time.
    pub max_builds: usize,
    /// Builds that may wait for that.
    pub max_queue: usize,
    /// The most layers with store paths.
    pub max_layers: usize,
    /// For how long a source that may move is taken to be where it was.
    pub refresh: Duration,
}

/// Which image: its packages, from where.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImageRequest {
    /// The packages and the platform.
    pub spec: ImageSpec,
    /// The package set.
    pub source: SourceAt,
}

/// Makes images.
#[derive(Clone, Debug)]
pub struct Assembler(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    storage: Arc<dyn Storage>,
    records: Records,
    builder: Builder,
    packer: Packer,
    popularity: Arc<Popularity>,
    popularity_digest: Digest,
    limits: Limits,
    known: Known,
    flights: Flights,
    builds: Semaphore,
    /// Builds that run or wait.
    in_flight: AtomicUsize,
}

impl Assembler {
    /// Puts the parts together. `popularity_digest` identifies the table.
    pub fn new(
        storage: Arc<dyn Storage>,
        builder: Builder,
        packer: Packer,
        (popularity, popularity_digest): (Popularity, Digest),
        limits: Limits,
    ) -> Self {
        Self(Arc::new(Inner {
            records: Records::new(Arc::clone(&storage)),
            storage,
            builder,
            packer,
            popularity: Arc::new(popularity),
            popularity_digest,
            builds: Semaphore::new(limits.max_builds),
            limits,
            known: Known::default(),
            flights: Flights::default(),
            in_flight: AtomicUsize::new(0),
        }))
    }

    /// The manifests of an image, which is made where it isn't known.
    ///
    /// The build goes on when the caller leaves. `name` is for the log.
    pub async fn image(&self, name: &ImageName, request: ImageRequest) -> Outcome {
        let failed = |error| Failure::logged(name.as_str(), error);
        if let Some(known) = self.0.known.image(&request)
            && self.0.is_whole(&known).await.map_err(failed)?
        {
            return Ok(known.image);
        }
        let (assembler, name) = (self.clone(), name.clone());
        let build = |request: ImageRequest| async move {
            match assembler.0.find_or_build(&name, &request).await {
                Ok(image) => {
                    let image = Arc::new(image);
                    assembler.0.remember(request, Arc::clone(&image));
                    Ok(image)
                }
                Err(error) => Err(Failure::logged(name.as_str(), error)),
            }
        };
        self.0.flights.join(request, FAILURE_IS_KEPT, build).await
    }

    /// The manifest with this digest, if it is one and is stored.
    pub async fn manifest(&self, digest: &Digest) -> Result<Option<Arc<StoredManifest>>, Failure> {
        if let Some(manifest) = self.0.known.manifest(digest) {
            return Ok(Some(manifest));
        }
        let read = self.0.read_manifest(digest).await;
        let manifest = read.map_err(|error| Failure::logged(&digest.to_string(), error))?;
        if let Some(manifest) = &manifest {
            self.0.known.add_manifest(manifest);
        }
        Ok(manifest)
    }

    /// Waits until no build runs or waits. New ones are not kept from starting.
    pub async fn idle(&self) {
        let all = u32::try_from(self.0.limits.max_builds).unwrap_or(u32::MAX);
        // Never closed, so acquiring can't fail; those that wait come first.
        let _all = self.0.builds.acquire_many(all).await;
    }

    /// Says that a blob was asked for which is not there: images are checked
    /// once more before they are handed out again.
    pub fn blob_is_missing(&self, digest: &Digest) {
        self.0.known.doubt(digest);
    }
}

impl Inner {
    /// Answers from the storage, or builds when it is this image's turn.
    async fn find_or_build(
        &self,
        name: &ImageName,
        request: &ImageRequest,
    ) -> Result<Image, AssembleError> {
        let key = self.manifest_key(request);
        if let Some(key) = &key
            && let Some(image) = self.find(key).await?
        {
            return Ok(image);
        }
        let _place = Place::take(&self.in_flight, self.limits.max_builds + self.limits.max_queue)
            .ok_or(AssembleError::Busy)?;
        if self.builds.available_permits() == 0 {
            tracing::info!(image = %name, "waiting for other builds");
        }
        // Never closed, so acquiring can't fail.
        let _turn = self.builds.acquire().await;
        let image = self.build(name, request).await?;
        if let Some(key) = &key {
            let manifests = image.manifests.iter().map(|manifest| manifest.descriptor()).collect();
            self.records.write(key, &ManifestRecord { manifests }).await?;
        }
        Ok(image)
    }

    /// The image that a record in the storage promises, if all of it is there.
    async fn find(&self, key: &RecordKey) -> Result<Option<Image>, AssembleError> {
        let Some(record) = self.records.read::<ManifestRecord>(key).await? else {
            return Ok(None);
        };
        let mut manifests = Vec::new();
        for descriptor in record.manifests {
            let Some(manifest) = self.read_manifest(&descriptor.digest).await? else {
                return Ok(None);
            };
            manifests.push(manifest);
        }
        let image = Image { manifests };
        let whole = Format::ALL.into_iter().all(|format| image.manifest(format).is_some())
            && self.records.are_stored(image.blobs()).await?;
        if !whole {
            tracing::warn!(?key, "a known image has lost blobs: made again");
        }
        Ok(whole.then_some(image))
    }

    /// Where an image's manifests are recorded; nowhere when its source may
    /// have moved by the next time.
    fn manifest_key(&self, request: &ImageRequest) -> Option<RecordKey> {
        if !request.source.is_pinned() {
            return None;
        }
        let packages: Vec<&str> = request.spec.packages().collect();
        // Fails only for paths that aren't UTF-8, which then aren't recorded.
        let source = serde_json::to_string(&request.source).ok()?;
        Some(manifest_key(ManifestInputs {
            source: &source,
            system: request.spec.platform().system(),
            packages: &packages,
            level: self.packer.level(),
            max_layers: self.limits.max_layers,
            popularity: &self.popularity_digest,
        }))
    }

    async fn read_manifest(
        &self,
        digest: &Digest,
    ) -> Result<Option<Arc<StoredManifest>>, AssembleError> {
        let Some(blob) = self.storage.open_blob(digest).await? else { return Ok(None) };
        let read = tokio::task::spawn_blocking(move || blob.read_all(MAX_MANIFEST)).await;
        let content = read.map_err(|_| AssembleError::Crashed)?;
        let content = content.map_err(|source| StorageError::Io {
            action: "read",
            path: digest.to_string().into(),
            source,
        })?;
        let manifest = content.and_then(Manifest::recognise);
        Ok(manifest.map(|manifest| Arc::new(StoredManifest::new(manifest))))
    }

    fn remember(&self, request: ImageRequest, image: Arc<Image>) {
        let lifetime = match &request.source {
            source if source.is_pinned() => None,
            SourceAt::Path { .. } => Some(SOURCE_IS_TRUSTED),
            SourceAt::Channel { .. } | SourceAt::Git { .. } => {
                Some(self.limits.refresh.max(SOURCE_IS_TRUSTED))
            }
        };
        for manifest in &image.manifests {
            self.known.add_manifest(manifest);
        }
        self.known.add_image(request, image, lifetime);
    }

    /// Whether all blobs of an image are still there; looked up only once, and
    /// again when any blob was found missing since.
    async fn is_whole(&self, known: &KnownImage) -> Result<bool, AssembleError> {
        let now = self.known.doubts();
        if known.is_checked(now) {
            return Ok(true);
        }
        let whole = self.records.are_stored(known.image.blobs()).await?;
        if whole {
            known.set_checked(now);
        }
        Ok(whole)
    }
}

/// A place among the builds that run or wait.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(counter: &'a AtomicUsize, most: usize) -> Option<Self> {
        let add_one = |taken| (taken < most).then_some(taken + 1);
        let taken = counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, add_one);
        taken.is_ok().then_some(Self(counter))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
