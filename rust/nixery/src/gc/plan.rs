//! What garbage collection removes: decided here, from what is stored.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime};

use super::Limits;
use crate::cache::{LayerRecord, PathRecord};
use crate::oci::Digest;
use crate::storage::RecordKey;
use crate::store_path::StorePath;

/// What was used in this time is left alone: clients may be pulling it, and builds
/// may be making something of it. Marks of use are at most five minutes behind.
pub(super) const IN_USE: Duration = Duration::from_mins(65);

/// An image: what is kept or removed as a whole.
#[derive(Clone, Debug)]
pub(super) struct StoredImage {
    /// What it is, for people.
    pub(super) name: String,
    /// Under which it is found; none where that is gone, and clients know it only by
    /// its digest.
    pub(super) record: Option<RecordKey>,
    /// Its manifests.
    pub(super) manifests: Vec<Digest>,
    /// These and everything that they name.
    pub(super) blobs: Vec<Digest>,
    /// When it was last asked for.
    pub(super) used: SystemTime,
}

/// A blob, as it is stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct StoredBlob {
    pub(super) size: u64,
    pub(super) used: SystemTime,
}

/// A record that names a blob.
#[derive(Clone, Debug)]
pub(super) struct Pointer {
    pub(super) key: RecordKey,
    pub(super) used: SystemTime,
    pub(super) blob: Digest,
    pub(super) about: About,
}

/// What a record is about that names a blob.
#[derive(Clone, Debug)]
pub(super) enum About {
    /// A layer: where each store path is in it.
    Layer(Box<LayerRecord>),
    /// A store path, at a compression level.
    Path(StorePath, u8),
    /// Nobody can tell.
    Nothing,
}

/// Everything that is stored.
#[derive(Clone, Debug, Default)]
pub(super) struct Stock {
    pub(super) images: Vec<StoredImage>,
    pub(super) blobs: HashMap<Digest, StoredBlob>,
    /// Of layers and of store paths.
    pub(super) pointers: Vec<Pointer>,
}

/// What is to be removed, in this order.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    pub(super) images: Vec<StoredImage>,
    /// Records of store paths whose blobs are removed, or are gone, and which another
    /// blob has that stays.
    pub(super) moved: Vec<(RecordKey, PathRecord)>,
    /// Other records of such blobs.
    pub(super) pointers: Vec<Pointer>,
    pub(super) blobs: Vec<(Digest, u64)>,
}

impl Plan {
    /// How many bytes the blobs have.
    pub(super) fn bytes(&self) -> u64 {
        self.blobs.iter().map(|(_, size)| size).sum()
    }
}

/// Decides what goes: images that nobody asked for within `limits.keep`; while there is
/// more than `limits.max_bytes`, or less than `limits.missing` has gone, the image that was
/// asked for least recently; and every blob that no image is left for. Nothing that was
/// used lately.
pub(super) fn plan(mut stock: Stock, limits: &Limits, now: SystemTime) -> Plan {
    let age = |used: SystemTime| now.duration_since(used).unwrap_or_default();
    let in_use = |used| age(used) < IN_USE;
    // Least recently used last, to be taken from the end; ties by name, for the same
    // answer each time.
    stock.images.sort_by(|a, b| (b.used, &b.blobs).cmp(&(a.used, &a.blobs)));

    // A layer that was found by its record lately may be for an image to come.
    let mut needed: HashMap<Digest, usize> = HashMap::new();
    let lately = stock.pointers.iter().filter(|pointer| in_use(pointer.used));
    let young = stock.blobs.iter().filter(|(_, blob)| in_use(blob.used)).map(|(digest, _)| digest);
    let of_images = stock.images.iter().flat_map(|image| &image.blobs);
    for digest in lately.map(|pointer| &pointer.blob).chain(young).chain(of_images) {
        *needed.entry(*digest).or_default() += 1;
    }
    let size = |digest: &Digest| stock.blobs.get(digest).map_or(0, |blob| blob.size);
    let mut left: u64 = needed.keys().map(size).sum();
    let stored: u64 = stock.blobs.values().map(|blob| blob.size).sum();
    let most = limits.max_bytes.unwrap_or(u64::MAX).min(stored.saturating_sub(limits.missing));

    let mut plan = Plan::default();
    while let Some(image) = stock.images.pop() {
        let is_old = age(image.used) > limits.keep;
        let is_too_much = left > most;
        if in_use(image.used) || !(is_old || is_too_much) {
            // All others were used later; but their blobs may be gone already.
            stock.images.push(image);
            break;
        }
        for digest in &image.blobs {
            if let Some(count) = needed.get_mut(digest) {
                *count -= 1;
                if *count == 0 {
                    left -= size(digest);
                    needed.remove(digest);
                }
            }
        }
        plan.images.push(image);
    }
    let mut blobs: Vec<(Digest, u64)> = stock
        .blobs
        .iter()
        .filter(|(digest, _)| !needed.contains_key(digest))
        .map(|(digest, blob)| (*digest, blob.size))
        .collect();
    blobs.sort_unstable();
    let goes: HashSet<Digest> = blobs.iter().map(|(digest, _)| *digest).collect();
    let is_void = |blob: &Digest| goes.contains(blob) || !stock.blobs.contains_key(blob);
    let void: Vec<Pointer> =
        stock.pointers.extract_if(.., |pointer| is_void(&pointer.blob)).collect();
    (plan.moved, plan.pointers) = move_paths(void, &stock.pointers);
    plan.blobs = blobs;
    plan
}

/// Finds other places for the store paths of `void`: a path that is packed stays so for
/// as long as any layer has it. Returns the new records, and the pointers that are left.
fn move_paths(
    void: Vec<Pointer>,
    kept: &[Pointer],
) -> (Vec<(RecordKey, PathRecord)>, Vec<Pointer>) {
    let layers = kept.iter().filter_map(|pointer| match &pointer.about {
        About::Layer(layer) => Some(layer),
        About::Path(..) | About::Nothing => None,
    });
    let mut places: HashMap<(&StorePath, u8), PathRecord> = HashMap::new();
    for layer in layers {
        let (blob, level) = (layer.blob, layer.level);
        for members in &layer.members {
            let record = || PathRecord { blob, level, members: members.clone() };
            places.entry((&members.path, level)).or_insert_with(record);
        }
    }
    let (mut moved, mut left) = (Vec::new(), Vec::new());
    for pointer in void {
        let place = match &pointer.about {
            About::Path(path, level) => places.get(&(path, *level)),
            About::Layer(_) | About::Nothing => None,
        };
        match place {
            Some(place) => moved.push((pointer.key, place.clone())),
            None => left.push(pointer),
        }
    }
    (moved, left)
}

#[cfg(test)]
mod tests;
