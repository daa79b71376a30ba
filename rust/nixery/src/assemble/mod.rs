//! The whole way from an image's packages to its manifests.
//!
//! Whatever was made before is found: whole images, in this process, on this machine or
//! in the storage; packages, so that Nix need not run; layers; and the bytes of store
//! paths in layers. The rest is made, once for all clients that wait for it.

mod asked;
mod build;
mod composition;
mod environment;
mod error;
mod find;
mod grouped;
mod history;
mod image;
mod known;
mod limits;
mod made;
mod packages;
mod packing;
mod progress;
mod realise;
mod turn;

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

pub use asked::{Answer, Asked, ImageRequest};
pub use composition::{Composition, LayerContent};
pub use error::{AssembleError, Failure};
pub use image::{Image, StoredManifest};
pub use limits::{Limits, TooLarge};
pub use packing::Packer;
pub use progress::{Ended, Progress, State, Step};

use crate::cache::{Directory, ManifestRecord, Records};
use crate::counters;
use crate::disk::Disk;
use crate::flights::Flights;
use crate::image::ImageName;
use crate::layers::Popularity;
use crate::nix::{Builder, NixError};
use crate::oci::Digest;
use crate::pin::{Pin, Pins, TRUSTED};
use crate::places::Places;
use crate::storage::{Object, RecordKey, Storage};
use build::{Build, Built};
use grouped::Grouped;
use history::{EndsAtLast, History};
use known::Known;
use turn::{Turn, Turns};

/// For how long a failure is the answer to whoever asks again. Some clients ask
/// by HEAD first and then by GET for what it says: that shall not start another
/// build.
const FAILURE_IS_KEPT: Duration = Duration::from_secs(5);

/// What an assembler works with.
#[derive(Debug)]
pub struct Parts {
    /// Has records, and the storage that they are in.
    pub records: Records,
    /// Has manifests, on this machine.
    pub directory: Arc<Directory>,
    /// Knows what sources are at.
    pub pins: Pins,
    /// Calls Nix.
    pub builder: Arc<Builder>,
    /// Makes layers.
    pub packer: Packer,
    /// How popular packages are.
    pub popularity: PopularityTable,
    /// Has room for images, or not.
    pub disk: Disk,
}

/// A popularity table.
#[derive(Debug)]
pub struct PopularityTable {
    /// What is in it.
    pub popularity: Popularity,
    /// What identifies it: it decides which layers images have.
    pub digest: Digest,
}

/// What a build comes to.
type Outcome = Result<Arc<Image>, Failure>;

/// Makes images.
#[derive(Clone, Debug)]
pub struct Assembler(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    storage: Arc<dyn Storage>,
    directory: Arc<Directory>,
    records: Records,
    pins: Pins,
    builder: Arc<Builder>,
    packer: Packer,
    popularity: RwLock<Arc<PopularityTable>>,
    limits: Limits,
    disk: Disk,
    known: Known,
    history: History,
    grouped: Grouped,
    flights: Flights<ImageRequest, Outcome>,
    /// Builds that run or wait.
    places: Semaphore,
    /// Those of each client.
    shares: Places,
    /// Builds for which Nix may run.
    turns: Turns,
}

impl Assembler {
    /// Puts the parts together.
    pub fn new(parts: Parts, limits: Limits) -> Self {
        let Parts { records, directory, pins, builder, packer, popularity, disk } = parts;
        Self(Arc::new(Inner {
            storage: Arc::clone(records.storage()),
            records,
            directory,
            pins,
            builder,
            packer,
            popularity: RwLock::new(Arc::new(popularity)),
            places: Semaphore::new(limits.max_builds + limits.max_queue),
            shares: Places::new(limits.max_builds + limits.max_queue, limits.share()),
            turns: Turns::new(limits.max_builds),
            history: History::new(limits.log_lines, limits.keep_builds),
            limits,
            disk,
            known: Known::default(),
            grouped: Grouped::default(),
            flights: Flights::default(),
        }))
    }

    /// The manifests of an image, which is made where it isn't known.
    ///
    /// The build goes on when the caller leaves. `client` is whose share of the builds it is
    /// of; `None` if that is not known.
    pub async fn image(&self, asked: &Asked, client: Option<IpAddr>) -> Result<Answer, Failure> {
        let failed = |error| Failure::logged(asked.name.as_str(), error);
        let source = &asked.source;
        let pin = self.0.pins.pin(source.clone()).await.map_err(|error| failed(error.into()))?;
        let answer = self.of_pin(asked, pin.clone(), client).await;
        let other = match answer.as_ref().map_err(Failure::error) {
            // A branch that was forced elsewhere leaves nothing where it was.
            Err(AssembleError::Nix(NixError::SourceNotFound { .. })) => {
                self.0.pins.ask_again(source, &pin.snapshot).await.or_else(|| pin.back())
            }
            Err(AssembleError::Nix(NixError::SourceUnavailable { .. })) => pin.back(),
            _ => None,
        };
        match other {
            Some(other) => self.of_pin(asked, other, client).await.or(answer),
            None => answer,
        }
    }

    async fn of_pin(
        &self,
        asked: &Asked,
        pin: Pin,
        client: Option<IpAddr>,
    ) -> Result<Answer, Failure> {
        let failed = |error| Failure::logged(asked.name.as_str(), error);
        let request = ImageRequest { spec: asked.spec.clone(), source: pin.snapshot };
        if let Some(image) = self.0.in_memory(&request).await.map_err(failed)? {
            return Ok(Answer { image, warning: pin.warning });
        }
        self.0.history.add_name(&request, &asked.source);
        let (inner, first) = (Arc::clone(&self.0), asked.clone());
        let keep = |outcome: &Outcome| {
            outcome.as_ref().is_err_and(Failure::is_lasting).then_some(FAILURE_IS_KEPT)
        };
        let build = |request: ImageRequest| async move {
            let ends = EndsAtLast { inner: Arc::clone(&inner), request: request.clone() };
            let found = inner.find_or_build(&first, request, client).await;
            let outcome = found.map_err(|error| Failure::logged(first.name.as_str(), error));
            inner.history.end(&ends.request, &outcome);
            outcome
        };
        let outcome = self.0.flights.join(request, keep, build).await;
        let image = outcome.unwrap_or_else(|| Err(failed(AssembleError::Crashed)))?;
        Ok(Answer { image, warning: pin.warning })
    }

    /// The last build of an image in this process, if it is remembered.
    pub fn progress(&self, asked: &Asked) -> Option<Arc<Progress>> {
        self.0.history.of(&asked.spec, &asked.source)
    }

    /// The builds that run and the last ones that ended, the last begun first.
    pub fn builds(&self) -> Vec<Arc<Progress>> {
        self.0.history.builds()
    }

    /// The manifest with this digest, if it is one and is stored.
    pub async fn manifest(&self, digest: &Digest) -> Result<Option<Arc<StoredManifest>>, Failure> {
        let manifest = self.0.manifest(digest).await;
        manifest.map_err(|error| Failure::logged(&digest.to_string(), error))
    }

    /// Has images be layered by another table from now on. Builds that run end with the
    /// one that they began with.
    pub fn set_popularity(&self, table: PopularityTable) {
        *self.0.popularity.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
        self.0.known.forget_images();
    }

    /// Waits until no build runs or waits. New ones are not kept from starting.
    pub async fn idle(&self) {
        let all = self.0.limits.max_builds + self.0.limits.max_queue;
        // Never closed, so acquiring can't fail; those that wait come first.
        let _all = self.0.places.acquire_many(u32::try_from(all).unwrap_or(u32::MAX)).await;
    }

    /// Says that a blob was asked for which is not there: images are checked
    /// once more before they are handed out again.
    pub fn blob_is_missing(&self, digest: &Digest) {
        self.0.known.doubt(digest);
    }
}

impl Inner {
    fn popularity(&self) -> Arc<PopularityTable> {
        Arc::clone(&self.popularity.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Answers from the records, or builds, and remembers the image.
    async fn find_or_build(
        &self,
        asked: &Asked,
        request: ImageRequest,
        client: Option<IpAddr>,
    ) -> Result<Arc<Image>, AssembleError> {
        let name = &asked.name;
        let popularity = self.popularity();
        let key = self.manifest_key(&request, &popularity);
        if let Some(key) = &key
            && let Some(image) = self.recorded(key).await?
        {
            return Ok(self.remember(name, request, image, Some(key.clone()), None));
        }
        self.may_be_made(&request).await?;
        let _place = self.places.try_acquire().map_err(|_| self.busy())?;
        let _share = self.shares.enter(client).map_err(|_| self.busy_for_client())?;
        let _running = counters::build_running();
        let begin = Instant::now();
        let turn = Turn::new(&self.turns, client);
        let progress = self.history.begin(asked, &request);
        let name_text = name.as_str();
        let build =
            Build { inner: self, request: &request, name: name_text, turn, progress, popularity };
        let result = build.run().await;
        counters::build_ended(result.is_ok(), begin.elapsed());
        let Built { image, is_fixed } = result?;
        let Some(key) = key.filter(|_| is_fixed) else {
            return Ok(self.remember(name, request, image, None, Some(TRUSTED)));
        };
        let manifests = image.manifests.iter().map(|manifest| manifest.descriptor()).collect();
        let record = ManifestRecord { image: request.description(), manifests };
        self.records.write(&key, &record).await?;
        self.keep_in_directory(key.key, &image).await;
        Ok(self.remember(name, request, image, Some(key), None))
    }

    fn remember(
        &self,
        name: &ImageName,
        request: ImageRequest,
        image: Image,
        record: Option<RecordKey>,
        lifetime: Option<Duration>,
    ) -> Arc<Image> {
        // The manifests too: another server may have others under the same key.
        let manifests = image.manifests.iter().map(|manifest| Object::Blob(manifest.digest));
        let marks = record.map(Object::Record).into_iter().chain(manifests).collect();
        for manifest in &image.manifests {
            self.known.add_manifest(manifest);
        }
        let blobs = image.blobs().iter().map(|blob| blob.digest).collect();
        self.history.add_image(&request.spec, name, blobs);
        let image = Arc::new(image);
        self.known.add_image(request, Arc::clone(&image), marks, lifetime);
        image
    }
}
