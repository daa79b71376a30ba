//! Images and manifests that this process has seen.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::{Image, ImageRequest, StoredManifest};
use crate::oci::Digest;
use crate::storage::{MARK_INTERVAL, Object};

/// Bytes of manifests that are kept in memory. An image of 95 layers has two of
/// about 20 KB each.
const CAPACITY: u64 = 16 << 20;

/// How many manifests are expected, to size the tables.
const EXPECTED: usize = 2000;

/// Bytes that an entry takes besides the manifest itself, roughly.
const OVERHEAD: u64 = 1024;

/// What this process has seen; the least used goes first.
#[derive(Debug)]
pub(super) struct Known {
    images: Cache<ImageRequest, KnownImage, Weights>,
    manifests: Cache<Digest, KnownManifest, Weights>,
    doubts: AtomicU64,
    begin: Instant,
}

/// An image, until when it may be handed out, and when it was last checked.
#[derive(Clone, Debug)]
pub(super) struct KnownImage {
    pub(super) image: Arc<Image>,
    until: Option<Instant>,
    state: Arc<State>,
}

/// A manifest that clients may ask for by its digest.
#[derive(Clone, Debug)]
pub(super) struct KnownManifest {
    pub(super) manifest: Arc<StoredManifest>,
    state: Arc<State>,
}

/// What is known of the use of an image or a manifest.
#[derive(Debug)]
pub(super) struct State {
    /// What is marked as used when it is handed out.
    pub(super) marks: Vec<Object>,
    /// One marks for all who come at the same time; they wait until it is known to be
    /// there still.
    pub(super) turn: tokio::sync::Mutex<()>,
    /// The number of doubts when all blobs were last seen to be there.
    checked: AtomicU64,
    /// Seconds of this process when that was marked.
    marked: AtomicU64,
}

impl KnownManifest {
    pub(super) fn state(&self) -> &State {
        &self.state
    }
}

impl KnownImage {
    pub(super) fn state(&self) -> &State {
        &self.state
    }

    pub(super) fn is_checked(&self, doubts: u64) -> bool {
        self.state.checked.load(Ordering::Acquire) == doubts
    }

    pub(super) fn set_checked(&self, doubts: u64) {
        self.state.checked.store(doubts, Ordering::Release);
    }
}

#[derive(Clone, Debug)]
struct Weights;

impl Weighter<ImageRequest, KnownImage> for Weights {
    fn weight(&self, _: &ImageRequest, known: &KnownImage) -> u64 {
        OVERHEAD + known.image.manifests.iter().map(|m| m.content.len() as u64).sum::<u64>()
    }
}

impl Weighter<Digest, KnownManifest> for Weights {
    fn weight(&self, _: &Digest, known: &KnownManifest) -> u64 {
        OVERHEAD + known.manifest.content.len() as u64
    }
}

impl Default for Known {
    fn default() -> Self {
        Self {
            images: Cache::with_weighter(EXPECTED / 2, CAPACITY / 2, Weights),
            manifests: Cache::with_weighter(EXPECTED, CAPACITY / 2, Weights),
            doubts: AtomicU64::new(0),
            begin: Instant::now(),
        }
    }
}

impl Known {
    /// An image that may be handed out for as long as its source is trusted to
    /// be where it was.
    pub(super) fn image(&self, request: &ImageRequest) -> Option<KnownImage> {
        let known = self.images.get(request)?;
        known.until.is_none_or(|until| Instant::now() < until).then_some(known)
    }

    /// Keeps an image whose blobs were all just stored or seen; for `lifetime`,
    /// or for ever. `marks` are what tells garbage collection of its use.
    pub(super) fn add_image(
        &self,
        request: ImageRequest,
        image: Arc<Image>,
        marks: Vec<Object>,
        lifetime: Option<Duration>,
    ) {
        let until = lifetime.map(|lifetime| Instant::now() + lifetime);
        self.images.insert(request, KnownImage { image, until, state: self.state(marks) });
    }

    pub(super) fn forget_images(&self) {
        self.images.clear();
    }

    pub(super) fn forget_image(&self, request: &ImageRequest) {
        self.images.remove(request);
    }

    pub(super) fn manifest(&self, digest: &Digest) -> Option<KnownManifest> {
        self.manifests.get(digest)
    }

    pub(super) fn add_manifest(&self, manifest: &Arc<StoredManifest>) {
        let state = self.state(vec![Object::Blob(manifest.digest)]);
        let known = KnownManifest { manifest: Arc::clone(manifest), state };
        self.manifests.insert(manifest.digest, known);
    }

    pub(super) fn forget_manifest(&self, digest: &Digest) {
        self.manifests.remove(digest);
    }

    fn state(&self, marks: Vec<Object>) -> Arc<State> {
        let (checked, marked) = (self.doubts().into(), self.seconds().into());
        Arc::new(State { marks, turn: tokio::sync::Mutex::default(), checked, marked })
    }

    /// Whether what this is of was marked as used a short while ago.
    pub(super) fn is_marked(&self, state: &State) -> bool {
        self.seconds() < state.marked.load(Ordering::Acquire) + MARK_INTERVAL.as_secs()
    }

    pub(super) fn set_marked(&self, state: &State) {
        state.marked.store(self.seconds(), Ordering::Release);
    }

    fn seconds(&self) -> u64 {
        self.begin.elapsed().as_secs()
    }

    /// How often something that should have been there was not.
    pub(super) fn doubts(&self) -> u64 {
        self.doubts.load(Ordering::Acquire)
    }

    /// Makes every image be checked before it is handed out again, if any is
    /// known that needs the blob. Without that condition, whoever asks for made-up
    /// digests could have everything checked all the time.
    pub(super) fn doubt(&self, digest: &Digest) {
        let needs_it = |known: &KnownImage| known.image.manifests.iter().any(|m| m.needs(digest));
        if self.images.iter().any(|(_, known)| needs_it(&known)) {
            self.doubts.fetch_add(1, Ordering::AcqRel);
        }
    }
}
