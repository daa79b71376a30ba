//! Images and manifests that this process has seen.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::{Image, ImageRequest, StoredManifest};
use crate::oci::Digest;

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
    manifests: Cache<Digest, Arc<StoredManifest>, Weights>,
    doubts: AtomicU64,
}

/// An image, until when it may be handed out, and when it was last checked.
#[derive(Clone, Debug)]
pub(super) struct KnownImage {
    pub(super) image: Arc<Image>,
    until: Option<Instant>,
    /// The number of doubts when its blobs were last seen to be there.
    checked: Arc<AtomicU64>,
}

impl KnownImage {
    pub(super) fn is_checked(&self, doubts: u64) -> bool {
        self.checked.load(Ordering::Acquire) == doubts
    }

    pub(super) fn set_checked(&self, doubts: u64) {
        self.checked.store(doubts, Ordering::Release);
    }
}

#[derive(Clone, Debug)]
struct Weights;

impl Weighter<ImageRequest, KnownImage> for Weights {
    fn weight(&self, _: &ImageRequest, known: &KnownImage) -> u64 {
        OVERHEAD + known.image.manifests.iter().map(|m| m.content.len() as u64).sum::<u64>()
    }
}

impl Weighter<Digest, Arc<StoredManifest>> for Weights {
    fn weight(&self, _: &Digest, manifest: &Arc<StoredManifest>) -> u64 {
        OVERHEAD + manifest.content.len() as u64
    }
}

impl Default for Known {
    fn default() -> Self {
        Self {
            images: Cache::with_weighter(EXPECTED / 2, CAPACITY / 2, Weights),
            manifests: Cache::with_weighter(EXPECTED, CAPACITY / 2, Weights),
            doubts: AtomicU64::new(0),
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
    /// or for ever.
    pub(super) fn add_image(
        &self,
        request: ImageRequest,
        image: Arc<Image>,
        lifetime: Option<Duration>,
    ) {
        let until = lifetime.map(|lifetime| Instant::now() + lifetime);
        let checked = Arc::new(AtomicU64::new(self.doubts()));
        self.images.insert(request, KnownImage { image, until, checked });
    }

    pub(super) fn manifest(&self, digest: &Digest) -> Option<Arc<StoredManifest>> {
        self.manifests.get(digest)
    }

    pub(super) fn add_manifest(&self, manifest: &Arc<StoredManifest>) {
        self.manifests.insert(manifest.digest, Arc::clone(manifest));
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
