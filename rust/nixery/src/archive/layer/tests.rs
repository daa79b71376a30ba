use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::archive::fixture::{Store, entries, gunzip, pack, pool};
use crate::archive::{BLOCK_SIZE, tar::TRAILER_LENGTH};
use crate::oci::hex;
use crate::storage::Blob;

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

/// Packs with a sink that does `write` at each write, on a pool that must be
/// able to pack something else afterwards.
fn pack_into(
    write: impl FnMut(&[u8]) -> io::Result<()>,
    cancelled: &AtomicBool,
) -> Result<Packed, PackError> {
    struct Sink<F>(F);
    impl<F: FnMut(&[u8]) -> io::Result<()>> Write for Sink<F> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            (self.0)(bytes).map(|()| bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (store, pool) = (Store::new(), pool(2));
    let paths = [store.add_large("large", 20 * BLOCK_SIZE)];
    let result = pack_layer(&pool, &paths, &mut Sink(write), cancelled);
    pack(&pool, &paths);
    result
}

#[test]
fn a_failing_sink_fails_the_layer() {
    let mut left = 3;
    let write = |_: &[u8]| {
        left -= 1;
        if left == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    };
    let result = pack_into(write, &AtomicBool::new(false));
    assert!(matches!(result, Err(PackError::Sink(e)) if e.kind() == io::ErrorKind::StorageFull));
    assert_eq!(left, 0, "it went on after the failure");
}

#[test]
fn cancelling_stops_soon() {
    let cancelled = AtomicBool::new(false);
    let mut writes = 0;
    let write = |_: &[u8]| {
        writes += 1;
        cancelled.store(true, Ordering::Relaxed);
        Ok(())
    };
    let result = pack_into(write, &cancelled);
    assert!(matches!(result, Err(PackError::Cancelled)));
    assert!(writes < 8, "{writes} blocks were still written");
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

/// Says that it was written to, then waits until the other end is dropped.
struct Hanging(mpsc::Receiver<()>, mpsc::Sender<()>);
impl Write for Hanging {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.1.send(());
        let _ = self.0.recv();
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_sink_that_hangs_does_not_keep_others_from_packing() {
    let (store, pool) = (Store::new(), pool(1));
    let paths = [store.add_large("large", 30 * BLOCK_SIZE)];
    let (release, hang) = mpsc::channel::<()>();
    let (started, start) = mpsc::channel();
    thread::scope(|scope| {
        let (pool, paths) = (&pool, &paths);
        let mut sink = Hanging(hang, started);
        let hanging =
            scope.spawn(move || pack_layer(pool, paths, &mut sink, &AtomicBool::new(false)));
        start.recv_timeout(Duration::from_mins(1)).unwrap();
        let expected = pack(pool, paths).0;
        drop(release);
        assert_eq!(hanging.join().unwrap().unwrap(), expected);
    });
}

#[test]
fn what_is_no_file_is_refused_with_its_path() {
    let store = Store::new();
    let path = store.add("sockets", &[("run/ok", "")]);
    let socket = path.as_path().join("run/socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    let result = pack_layer(&pool(1), &[path], &mut io::sink(), &AtomicBool::new(false));
    assert!(matches!(&result, Err(PackError::Unsupported { path }) if *path == socket));

    let path = store.add("pipes", &[]);
    let pipe = path.as_path().join("pipe");
    let mkfifo = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(mkfifo.success());
    let result = pack_layer(&pool(1), &[path], &mut io::sink(), &AtomicBool::new(false));
    assert!(matches!(&result, Err(PackError::Unsupported { path }) if *path == pipe));
}

#[test]
fn a_missing_path_is_an_error_with_its_path() {
    let store = Store::new();
    let path = store.path("missing");
    let missing = path.as_path().to_owned();
    let result = pack_layer(&pool(1), &[path], &mut io::sink(), &AtomicBool::new(false));
    let Err(error @ PackError::Read { .. }) = result else { panic!("{result:?}") };
    assert_eq!(error.to_string(), format!("cannot read {}", missing.display()));
}

/// Nix has everything in its store be readable by all; what isn't was changed by hand.
#[test]
fn an_unreadable_file_is_an_error_with_its_path() {
    let store = Store::new();
    let path = store.add("unreadable", &[("a", ""), ("secret", ""), ("z", "")]);
    let file = path.as_path().join("secret");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(path.as_path().parent().unwrap(), fs::Permissions::from_mode(0o755))
        .unwrap();
    let pool = pool(1);
    let result = thread::scope(|scope| {
        let packing = scope.spawn(|| {
            // Root reads everything: this thread becomes somebody else.
            if rustix::process::geteuid().is_root() {
                rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(65_534)).unwrap();
            }
            pack_layer(&pool, &[path], &mut io::sink(), &AtomicBool::new(false))
        });
        packing.join().unwrap()
    });
    let Err(PackError::Read { path, source }) = result else { panic!("{result:?}") };
    assert_eq!((path, source.kind()), (file, io::ErrorKind::PermissionDenied));
}

/// A device can be made by root only.
#[test]
fn a_device_is_refused_with_its_path() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let store = Store::new();
    let path = store.add("devices", &[]);
    let device = path.as_path().join("null");
    let status = std::process::Command::new("mknod").arg(&device).args(["c", "1", "3"]).status();
    assert!(status.unwrap().success());
    let result = pack_layer(&pool(1), &[path], &mut io::sink(), &AtomicBool::new(false));
    assert!(matches!(&result, Err(PackError::Unsupported { path }) if *path == device));
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
