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
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::archive::PathMembers;
    use crate::oci::Descriptor;
    use crate::storage::RecordKind;

    const HOUR: Duration = Duration::from_hours(1);
    const DAY: Duration = Duration::from_hours(24);

    fn digest(name: u32) -> Digest {
        Digest::of(&name.to_le_bytes())
    }

    fn key(name: u32) -> RecordKey {
        RecordKey { kind: RecordKind::Build, key: digest(name) }
    }

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + 1000 * DAY
    }

    /// Images of blobs of 10 bytes each, and when they were used.
    fn stock(images: &[(&[u32], Duration)], others: &[(u32, Duration)]) -> Stock {
        let mut stock = Stock::default();
        for (number, (blobs, age)) in images.iter().enumerate() {
            stock.images.push(StoredImage {
                name: number.to_string(),
                record: None,
                manifests: Vec::new(),
                blobs: blobs.iter().copied().map(digest).collect(),
                used: now() - *age,
            });
        }
        let of_images = images.iter().flat_map(|(blobs, _)| blobs.iter().map(|&b| (b, 99 * DAY)));
        for (blob, age) in of_images.chain(others.iter().copied()) {
            stock.blobs.insert(digest(blob), StoredBlob { size: 10, used: now() - age });
        }
        stock
    }

    fn pointer(blob: u32, age: Duration, about: About) -> Pointer {
        Pointer { key: key(blob), blob: digest(blob), used: now() - age, about }
    }

    #[test]
    fn a_path_that_another_layer_has_is_found_there() {
        let path = StorePath::new(format!("/nix/store/{}-a", "0".repeat(32))).unwrap();
        let members =
            |offset| PathMembers { path: path.clone(), offset, members: vec![1], uncompressed: 1 };
        let layer = |blob, level, offset| {
            let record = LayerRecord {
                diff_id: digest(0),
                blob: Descriptor { digest: digest(blob), size: 10 },
                md5: [0; 16],
                uncompressed_size: 10,
                level,
                members: vec![members(offset)],
            };
            pointer(blob, DAY, About::Layer(Box::new(record)))
        };
        let at = |blob, level| pointer(blob, DAY, About::Path(path.clone(), level));
        let mut stock = stock(&[(&[1, 2], DAY)], &[(3, DAY)]);
        stock.pointers = vec![layer(1, 5, 7), layer(2, 6, 8), layer(3, 5, 9), at(3, 5), at(4, 6)];
        let lost = pointer(9, DAY, About::Path(path.clone(), 7));
        stock.pointers.push(lost);
        let plan = plan(stock, &Limits { keep: 30 * DAY, max_bytes: None, missing: 0 }, now());
        let moved: Vec<_> = plan.moved.iter().map(|(key, to)| (key, to.blob.digest)).collect();
        assert_eq!(moved, [(&key(3), digest(1)), (&key(4), digest(2))], "of the same level");
        assert_eq!(plan.moved[0].1.members.offset, 7);
        let left: Vec<_> = plan.pointers.into_iter().map(|pointer| pointer.key).collect();
        assert_eq!(left, [key(3), key(9)], "the layer, and a path that nobody has");
    }

    fn images(plan: &Plan) -> Vec<&str> {
        plan.images.iter().map(|image| &image.name[..]).collect()
    }

    fn blobs(plan: &Plan) -> HashSet<Digest> {
        plan.blobs.iter().map(|(digest, _)| *digest).collect()
    }

    #[test]
    fn what_nobody_asked_for_goes_with_what_only_it_needs() {
        let stock = stock(
            &[(&[1, 2], DAY), (&[2, 3], 40 * DAY), (&[3, 4], 41 * DAY)],
            &[(5, 2 * HOUR), (6, HOUR)],
        );
        let limits = Limits { keep: 30 * DAY, max_bytes: None, missing: 0 };
        let plan = plan(stock, &limits, now());
        assert_eq!(images(&plan), ["2", "1"], "the oldest first");
        assert_eq!(blobs(&plan), [3, 4, 5].map(digest).into(), "6 may be for a build");
        assert_eq!(plan.bytes(), 30);
    }

    #[test]
    fn above_the_limit_what_was_used_least_recently_goes() {
        let all: [(&[u32], Duration); 4] =
            [(&[1, 2], 2 * DAY), (&[2, 3], 3 * DAY), (&[4], 4 * DAY), (&[5], HOUR)];
        for (max_bytes, expected) in [
            (50, &[][..]),
            (49, &["2"][..]),
            (40, &["2"][..]),
            (39, &["2", "1"][..]),
            (1, &["2", "1", "0"][..]),
        ] {
            let limits = Limits { keep: 30 * DAY, max_bytes: Some(max_bytes), missing: 0 };
            assert_eq!(images(&plan(stock(&all, &[]), &limits, now())), expected, "{max_bytes}");
        }
    }

    #[test]
    fn where_room_is_missing_what_was_used_least_recently_goes() {
        // 60 bytes, of which 10 belong to no image.
        let all: [(&[u32], Duration); 4] =
            [(&[1, 2], 2 * DAY), (&[2, 3], 3 * DAY), (&[4], 4 * DAY), (&[5], HOUR)];
        for (missing, max_bytes, expected) in [
            (0, None, &[][..]),
            (10, None, &[][..]),
            (11, None, &["2"][..]),
            (20, None, &["2"][..]),
            (21, None, &["2", "1"][..]),
            (10, Some(40), &["2"][..]),
            (30, Some(40), &["2", "1"][..]),
            (u64::MAX, None, &["2", "1", "0"][..]),
        ] {
            let limits = Limits { keep: 30 * DAY, max_bytes, missing };
            let plan = plan(stock(&all, &[(6, DAY)]), &limits, now());
            assert_eq!(images(&plan), expected, "{missing} {max_bytes:?}");
            assert!(plan.bytes() >= missing.min(50), "{missing}");
        }
    }

    #[test]
    fn records_go_with_their_blobs_and_keep_them_when_used_lately() {
        let mut stock = stock(&[(&[1], DAY)], &[(2, DAY), (3, DAY)]);
        stock.pointers = [(1, DAY), (2, DAY), (3, HOUR / 2), (9, DAY), (8, HOUR / 2)]
            .map(|(blob, age)| pointer(blob, age, About::Nothing))
            .into();
        let plan = plan(stock, &Limits { keep: 30 * DAY, max_bytes: None, missing: 0 }, now());
        assert_eq!(blobs(&plan), [digest(2)].into());
        let keys: Vec<_> = plan.pointers.into_iter().map(|pointer| pointer.key).collect();
        assert_eq!(keys, [key(2), key(9), key(8)], "the last two lead nowhere");
    }

    proptest! {
        #[test]
        fn what_is_kept_is_whole_and_what_is_used_is_kept(
            images in proptest::collection::vec(
                (proptest::collection::vec(0_u32..20, 1..5), 0_u64..50), 0..12),
            others in proptest::collection::vec((0_u32..25, 0_u64..50), 0..8),
            max in proptest::option::of(0_u64..200),
        ) {
            let hours = |n: u64| Duration::from_hours(n);
            let images: Vec<(&[u32], Duration)> =
                images.iter().map(|(blobs, age)| (&blobs[..], hours(*age))).collect();
            let others: Vec<(u32, Duration)> =
                others.iter().map(|(blob, age)| (*blob, hours(*age))).collect();
            let before = stock(&images, &others);
            let limits = Limits { keep: hours(40), max_bytes: max, missing: 0 };
            let plan = plan(before.clone(), &limits, now());
            let (goes, removed) = (blobs(&plan), super::tests::images(&plan));
            let mut kept_bytes = HashSet::new();
            for image in &before.images {
                let is_removed = removed.contains(&&image.name[..]);
                let age = now().duration_since(image.used).unwrap();
                prop_assert!(!(is_removed && age < IN_USE));
                if !is_removed {
                    prop_assert!(image.blobs.iter().all(|blob| !goes.contains(blob)));
                    prop_assert!(age <= hours(40));
                    kept_bytes.extend(image.blobs.iter().copied());
                }
            }
            for (digest, blob) in &before.blobs {
                let is_young = now().duration_since(blob.used).unwrap() < IN_USE;
                prop_assert_eq!(goes.contains(digest), !is_young && !kept_bytes.contains(digest));
            }
            // Over the limit only if everything left is in use.
            if let Some(max) = max {
                let left = 10 * (before.blobs.len() - goes.len()) as u64;
                let all_in_use = before
                    .images
                    .iter()
                    .filter(|image| !removed.contains(&&image.name[..]))
                    .all(|image| now().duration_since(image.used).unwrap() < IN_USE);
                prop_assert!(left <= max || all_in_use);
            }
        }
    }
}
