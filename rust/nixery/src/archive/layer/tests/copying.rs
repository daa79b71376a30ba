//! Layers that are put together from others.

use std::fs;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::storage::Blob;

/// Packs `paths`, each alone or in company, into layers from which it can be copied.
fn stored(pool: &Pool, groups: &[Vec<StorePath>]) -> Vec<PathSource> {
    groups
        .iter()
        .flat_map(|group| {
            let (packed, layer) = pack(pool, group);
            let blob = Blob::in_memory(layer.into());
            let members = packed.members.into_iter();
            members.map(move |members| PathSource::Layer { members, blob: blob.clone() })
        })
        .collect()
}

fn assembled(pool: &Pool, sources: Vec<PathSource>) -> Result<(Packed, Vec<u8>), PackError> {
    let mut layer = Vec::new();
    let packed = put_together(pool, sources, &mut layer, &AtomicBool::new(false))?;
    Ok((packed, layer))
}

#[test]
fn whatever_is_copied_the_layer_is_the_same() {
    let store = Store::new();
    let (pool, mut paths) = (pool(2), some_paths(&store));
    paths.extend((0..4).map(|n| store.add(&format!("small-{n}"), &[("file", "content")])));
    paths.sort();
    // Every path alone, and every subset of the paths copied from there.
    let alone = stored(&pool, &paths.iter().map(|path| vec![path.clone()]).collect::<Vec<_>>());
    let together = stored(&pool, &[paths.clone()]);
    let expected = pack(&pool, &paths);
    for subset in 0..1_u32 << paths.len() {
        let sources =
            paths.iter().enumerate().map(|(index, path)| match (subset >> index & 1, index % 2) {
                (0, _) => PathSource::Store(path.clone()),
                (_, 0) => alone[index].clone(),
                (_, _) => together[index].clone(),
            });
        assert!(assembled(&pool, sources.collect()).unwrap() == expected, "subset {subset:b}");
    }
    // What is copied need not be in the store.
    for path in &paths {
        let aside = path.as_path().with_extension("aside");
        fs::rename(path.as_path(), &aside).unwrap();
    }
    assert!(assembled(&pool, alone).unwrap() == expected);
}

#[test]
fn members_that_are_not_what_they_were_are_refused() {
    let store = Store::new();
    let (pool, paths) = (pool(1), vec![store.add_large("large", 2 * BLOCK_SIZE)]);
    let (packed, layer) = pack(&pool, &paths);
    let good = packed.members[0].clone();
    let blob = |bytes: Vec<u8>| Blob::in_memory(bytes.into());
    let turn_bit = |at: u64| {
        let mut bytes = layer.clone();
        bytes[usize::try_from(good.offset + at).unwrap()] ^= 1;
        blob(bytes)
    };
    let cut = layer[..usize::try_from(good.offset + 5000).unwrap()].to_vec();
    let shifted = PathMembers { offset: good.offset + 1, ..good.clone() };
    let fewer = PathMembers { members: good.members[1..].to_vec(), ..good.clone() };
    let longer = PathMembers { uncompressed: good.uncompressed + 512, ..good.clone() };
    let none = PathMembers { members: Vec::new(), uncompressed: 0, ..good.clone() };
    let [first, second, rest @ ..] = &good.members[..] else { panic!("too few members") };
    let two_in_one = PathMembers {
        members: [&[first + second][..], rest].concat(),
        uncompressed: good.uncompressed - BLOCK_SIZE as u64,
        ..good.clone()
    };
    let other = PathMembers { path: store.path("other"), ..good.clone() };
    let absurd = PathMembers { members: vec![u32::MAX], ..good.clone() };
    for (members, blob) in [
        (good.clone(), turn_bit(0)),
        (good.clone(), turn_bit(5000)),
        (good.clone(), blob(cut)),
        (shifted, blob(layer.clone())),
        (fewer, blob(layer.clone())),
        (longer, blob(layer.clone())),
        (none, blob(layer.clone())),
        (two_in_one, blob(layer.clone())),
        (other, blob(layer.clone())),
        (absurd, blob(layer.clone())),
    ] {
        let wanted = members.path.clone();
        let result = assembled(&pool, vec![PathSource::Layer { members, blob }]);
        let Err(PackError::Damaged { path, .. }) = result else { panic!("{result:?}") };
        assert_eq!(path, wanted);
    }
    let source = PathSource::Layer { members: good, blob: blob(layer.clone()) };
    assert!(assembled(&pool, vec![source]).unwrap().1 == layer);
}

/// Names of store paths can be longer than the archive's field for names.
#[test]
fn paths_with_long_names_are_copied_too() {
    let store = Store::new();
    let (pool, long) = (pool(1), "long".repeat(40));
    let paths = vec![store.add(&long, &[("file", "content")])];
    let expected = pack(&pool, &paths);
    assert!(assembled(&pool, stored(&pool, &[paths])).unwrap() == expected);
}
