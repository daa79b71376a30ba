use std::fs;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Instant;

use super::*;
use crate::archive::fixture::{Store, entries, gunzip, pack, pool};
use crate::archive::{BLOCK_SIZE, tar::TRAILER_LENGTH};
use crate::oci::hex;

mod copying;
mod failures;

/// A few paths of several kinds and sizes.
fn some_paths(store: &Store) -> Vec<StorePath> {
    let file = store.path("file");
    fs::write(file.as_path(), "a store path may be a file").unwrap();
    vec![
        store.add_large("large", 5 * BLOCK_SIZE + 17),
        store.add("bash", &[("bin/bash", "#!"), ("bin/sh", "-> bash"), ("share/empty/", "")]),
        store.add_large("exact", BLOCK_SIZE - 1024),
        file,
    ]
}

#[test]
fn hashes_and_sizes_are_those_of_the_bytes() {
    let store = Store::new();
    let (packed, layer) = pack(&pool(2), &some_paths(&store));
    let archive = gunzip(&layer);
    assert_eq!(packed.size, layer.len() as u64);
    assert_eq!(packed.uncompressed_size, archive.len() as u64);
    assert_eq!(packed.digest, Digest::of(&layer));
    assert_eq!(packed.diff_id, Digest::of(&archive));
    let md5 = crate::archive::fixture::pipe(&mut std::process::Command::new("md5sum"), &layer);
    assert!(md5.starts_with(hex(&packed.md5).as_bytes()));
}

#[test]
fn the_directories_above_come_first_and_a_path_may_be_a_file() {
    let store = Store::new();
    let paths = some_paths(&store);
    let seen = entries(&gunzip(&pack(&pool(1), &paths).1));
    let parents = paths[0].as_str().matches('/').count() - 1;
    for (entry, depth) in seen.iter().zip(1..=parents) {
        assert_eq!(entry.0.matches('/').count(), depth, "{}", entry.0);
        assert_eq!((entry.1, entry.2), (::tar::EntryType::Directory, 0o755));
    }
    let file = seen.iter().find(|entry| entry.0 == paths[3].as_str()[1..]).unwrap();
    assert_eq!(file.4, b"a store path may be a file");
}

#[test]
fn order_repetition_threads_and_company_change_nothing() {
    let store = Store::new();
    let mut paths = some_paths(&store);
    let expected = pack(&pool(1), &paths);
    paths.reverse();
    paths.push(paths[0].clone());
    for threads in [1, 2, 4] {
        let pool = pool(threads);
        thread::scope(|scope| {
            let layers: Vec<_> = (0..4).map(|_| scope.spawn(|| pack(&pool, &paths))).collect();
            for layer in layers {
                assert!(layer.join().unwrap() == expected, "{threads} threads");
            }
        });
    }
}

#[test]
fn a_paths_members_are_whole_and_the_same_in_every_layer() {
    let store = Store::new();
    let (pool, paths) = (pool(2), some_paths(&store));
    let (all, layer) = pack(&pool, &paths);
    let part = |members: &PathMembers, layer: &[u8]| {
        let offset = usize::try_from(members.offset).unwrap();
        layer[offset..][..usize::try_from(members.length()).unwrap()].to_vec()
    };

    // Everything in between the members of paths is theirs.
    let mut sorted = paths.clone();
    sorted.sort();
    let mut offset = all.members[0].offset;
    for (members, path) in all.members.iter().zip(&sorted) {
        assert_eq!((&members.path, members.offset), (path, offset));
        offset += members.length();
        let archive = gunzip(&part(members, &layer));
        assert_eq!(archive.len() as u64, members.uncompressed);
        let name = entries(&archive)[0].0.clone();
        assert_eq!(name.trim_end_matches('/'), &path.as_str()[1..]);
    }
    let end = gunzip(&layer[usize::try_from(offset).unwrap()..]);
    assert_eq!(end, vec![0; usize::try_from(TRAILER_LENGTH).unwrap()]);

    for (members, path) in all.members.iter().zip(sorted) {
        let (alone, other) = pack(&pool, &[path]);
        assert_eq!(part(&alone.members[0], &other), part(members, &layer));
    }
}

/// The path's directory and the file have a header each, so that the first size
/// fills a block to its last byte.
#[test]
fn files_that_end_around_a_blocks_end_are_whole() {
    let (store, pool) = (Store::new(), pool(1));
    for end in [BLOCK_SIZE - 1024, BLOCK_SIZE, 2 * BLOCK_SIZE - 1024] {
        for size in [end - 1, end, end + 1] {
            let path = store.add_large(&format!("size-{size}"), size);
            let content = fs::read(path.as_path().join("large")).unwrap();
            let seen = entries(&gunzip(&pack(&pool, &[path]).1));
            assert!(seen.last().unwrap().4 == content, "{size} bytes");
        }
    }
}

#[test]
fn no_paths_are_an_empty_archive() {
    let (packed, layer) = pack(&pool(1), &[]);
    assert_eq!(gunzip(&layer), [0; 1024]);
    assert!(packed.members.is_empty());
}

/// Memory for a few blocks, and many more layers than that.
#[test]
fn many_layers_at_once_on_one_thread_all_finish() {
    let (store, pool) = (Store::new(), pool(1));
    let layers: Vec<_> = (0..20)
        .map(|number| [store.add_large(&format!("layer-{number:03}"), 3 * BLOCK_SIZE)])
        .collect();
    thread::scope(|scope| {
        for paths in &layers {
            scope.spawn(|| pack(&pool, paths));
        }
    });
}

/// Run by `checks/large-files.sh`: it takes as long as 15 GB of anything.
#[test]
#[ignore = "takes long; run by checks/large-files.sh"]
fn sparse_files_of_gigabytes_are_packed_in_little_memory() {
    let memory = |field: &str| {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    };
    let store = Store::new();
    let path = store.add("sparse", &[]);
    // Over 8 GiB, a size has another form in a header of tar.
    for size in [6_u64 << 30, 9 << 30] {
        let file = fs::File::create(path.as_path().join(size.to_string())).unwrap();
        file.set_len(size).unwrap();
    }
    let (pool, before, begin) = (pool(2), memory("VmHWM:"), Instant::now());
    let mut blob = tempfile::NamedTempFile::new().unwrap();
    let packed = pack_layer(&pool, &[path], &mut blob, &AtomicBool::new(false)).unwrap();
    let (seconds, grown) = (begin.elapsed().as_secs_f64(), memory("VmHWM:") - before);
    println!(
        "packed {} MB to {} MB in {seconds:.1} s, with {grown} MB of memory",
        packed.uncompressed_size / 1_000_000,
        packed.size / 1_000_000
    );
    assert!(grown < 200, "{grown} MB");
    let listing = std::process::Command::new("tar").arg("-tvzf").arg(blob.path()).output().unwrap();
    let listing = String::from_utf8(listing.stdout).unwrap();
    for size in ["6442450944", "9663676416"] {
        assert!(
            listing.lines().any(|line| line.contains(size) && line.ends_with(size)),
            "{listing}"
        );
    }
}
