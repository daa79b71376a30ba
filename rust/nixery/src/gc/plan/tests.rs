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
