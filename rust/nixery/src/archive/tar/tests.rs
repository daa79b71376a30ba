use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;
use crate::archive::fixture::{Store, entries, make_removable, noise, pipe};

/// Collects an archive in buffers of an odd size, and does something when a
/// part begins.
struct Collected<F> {
    archive: Vec<u8>,
    buffer: [u8; 1000],
    parts: usize,
    on_part: F,
}

impl<F: FnMut(usize)> Output for Collected<F> {
    fn space(&mut self) -> Result<&mut [u8], PackError> {
        let used = self.archive.len() % self.buffer.len();
        Ok(&mut self.buffer[used..])
    }

    fn advance(&mut self, length: usize) {
        let used = self.archive.len() % self.buffer.len();
        self.archive.extend_from_slice(&self.buffer[used..][..length]);
    }

    fn begin_part(&mut self) -> Result<(), PackError> {
        (self.on_part)(self.parts);
        self.parts += 1;
        Ok(())
    }
}

fn archive_with(path: &StorePath, on_part: impl FnMut(usize)) -> Result<Vec<u8>, PackError> {
    let mut out = Collected { archive: Vec::new(), buffer: [0xaa; 1000], parts: 0, on_part };
    write_store_paths(&[path], &mut out)?;
    Ok(out.archive)
}

fn archive(path: &StorePath) -> Vec<u8> {
    archive_with(path, |_| {}).unwrap()
}

/// A random thing to pack.
#[derive(Clone, Debug)]
enum Tree {
    File { mode: u32, size: usize },
    Symlink(Vec<u8>),
    Directory { mode: u32, entries: BTreeMap<Vec<u8>, Tree> },
}

/// Bytes that may be a name: no NUL, no slash.
fn bytes(length: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Vec<u8>> {
    vec((1..=255_u8).prop_filter("a slash", |byte| *byte != b'/'), length)
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let text = "[a-z. -]{1,12}".prop_map(String::into_bytes);
    prop_oneof![4 => text, 1 => bytes(1..=20), 1 => bytes(95..=105), 1 => bytes(250..=255)]
        .prop_filter("a dot name", |name| !matches!(&name[..], b"." | b".."))
}

fn tree() -> impl Strategy<Value = Tree> {
    let size = prop_oneof![Just(0), Just(511), Just(512), Just(513), 0..5000_usize];
    let mode = prop_oneof![Just(0o444), Just(0o555), Just(0o644), Just(0o755), Just(0o600)];
    let file = (mode, size).prop_map(|(mode, size)| Tree::File { mode, size });
    let link =
        prop_oneof![bytes(1..=30), bytes(98..=102), bytes(300..=1000)].prop_map(Tree::Symlink);
    let leaf = prop_oneof![3 => file, 1 => link];
    let directory = |inner| {
        let mode = prop_oneof![Just(0o555), Just(0o755), Just(0o700)];
        (mode, btree_map(name(), inner, 0..5))
            .prop_map(|(mode, entries)| Tree::Directory { mode, entries })
    };
    let inner = leaf.prop_recursive(5, 24, 5, directory);
    (Just(0o555), btree_map(name(), inner, 0..6))
        .prop_map(|(mode, entries)| Tree::Directory { mode, entries })
}

impl Tree {
    fn create(&self, path: &Path) {
        match self {
            Self::File { mode, size } => {
                fs::write(path, noise(7, *size)).unwrap();
                fs::set_permissions(path, Permissions::from_mode(*mode)).unwrap();
            }
            Self::Symlink(target) => symlink(OsStr::from_bytes(target), path).unwrap(),
            Self::Directory { mode, entries } => {
                fs::create_dir(path).unwrap();
                for (name, tree) in entries {
                    tree.create(&path.join(OsStr::from_bytes(name)));
                }
                fs::set_permissions(path, Permissions::from_mode(*mode)).unwrap();
            }
        }
    }
}

/// What is at and below `path`: mode with kind, and contents or target.
fn found(path: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut todo = vec![PathBuf::new()];
    while let Some(relative) = todo.pop() {
        let full = if relative == Path::new("") { path.to_owned() } else { path.join(&relative) };
        let metadata = fs::symlink_metadata(&full).unwrap();
        let content = if metadata.is_dir() {
            let names = fs::read_dir(&full).unwrap().map(|entry| entry.unwrap().file_name());
            todo.extend(names.map(|name: OsString| relative.join(name)));
            Vec::new()
        } else if metadata.is_symlink() {
            fs::read_link(&full).unwrap().into_os_string().into_vec()
        } else {
            fs::read(&full).unwrap()
        };
        found.insert(relative, (metadata.mode(), content));
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn gnu_tar_unpacks_the_same_tree(tree in tree()) {
        let store = Store::new();
        let path = store.path("tree");
        tree.create(path.as_path());
        let archive = archive(&path);
        prop_assert_eq!(archive.len() % 512, 0);

        let target = tempfile::tempdir().unwrap();
        pipe(Command::new("tar").args(["-xpf", "-", "-C"]).arg(target.path()), &archive);
        let unpacked = target.path().join(&path.as_str()[1..]);
        let (was, is) = (found(path.as_path()), found(&unpacked));
        let mtime = fs::symlink_metadata(&unpacked).unwrap().mtime();
        make_removable(target.path());
        prop_assert_eq!(was, is);
        prop_assert_eq!(mtime, 1);

        // Another reader sees as many entries, and the names in order.
        let below = entries(&archive).len() - path.as_str().matches('/').count() + 1;
        prop_assert_eq!(below, found(path.as_path()).len());
    }
}

#[test]
fn entries_are_sorted_in_each_directory() {
    let store = Store::new();
    let files = [("a-b", "1"), ("a/z", "2"), ("a/b/", ""), ("B", "3"), ("é", "4"), ("a.c", "5")];
    let path = store.add("sorted", &files);
    let prefix = format!("{}/", &path.as_str()[1..]);
    let seen = entries(&archive(&path));
    let names: Vec<_> = seen.iter().filter_map(|entry| entry.0.strip_prefix(&prefix)).collect();
    assert_eq!(names, ["", "B", "a/", "a/b/", "a/z", "a-b", "a.c", "é"]);
}

#[test]
fn hard_links_are_files_of_their_own() {
    let store = Store::new();
    let path = store.add("links", &[("a", "same"), ("b", "same")]);
    let separate = archive(&path);
    fs::remove_file(path.as_path().join("b")).unwrap();
    fs::hard_link(path.as_path().join("a"), path.as_path().join("b")).unwrap();
    assert!(archive(&path) == separate);
}

#[test]
fn every_size_around_a_buffers_end_is_whole() {
    let store = Store::new();
    let path = store.add("sizes", &[]);
    for size in 1960..2100 {
        fs::write(path.as_path().join(format!("{size}")), noise(size, size)).unwrap();
    }
    let seen = entries(&archive(&path));
    let files: Vec<_> = seen.iter().filter(|entry| entry.1.is_file()).collect();
    assert_eq!(files.len(), 140);
    for file in files {
        let size: usize = file.0.rsplit('/').next().unwrap().parse().unwrap();
        assert!(file.4 == noise(size, size), "{size}");
    }
}

/// The second part to begin is the store path's own. The walk has looked ahead
/// by then, so sizes are known and directories listed.
const OWN_PART: usize = 1;

#[test]
fn a_file_that_changes_its_size_is_an_error() {
    for (before, after) in [(5000, 4000), (5000, 6000), (5000, 0), (0, 1), (512, 513), (512, 511)] {
        let store = Store::new();
        let path = store.add("changing", &[]);
        let file = path.as_path().join("file");
        fs::write(&file, vec![1; before]).unwrap();
        let result = archive_with(&path, |part| {
            if part == OWN_PART {
                fs::write(&file, vec![2; after]).unwrap();
            }
        });
        let is_right = matches!(&result, Err(PackError::Changed { path }) if *path == file);
        assert!(is_right, "{before} to {after}: {:?}", result.map(|archive| archive.len()));
    }
}

#[test]
fn a_file_that_vanishes_is_an_error() {
    let store = Store::new();
    let path = store.add("vanishing", &[]);
    for number in 0..100 {
        fs::write(path.as_path().join(format!("{number:02}")), "").unwrap();
    }
    let file = path.as_path().join("90");
    let result = archive_with(&path, |part| {
        if part == OWN_PART {
            fs::remove_file(&file).unwrap();
        }
    });
    assert!(matches!(&result, Err(PackError::Read { path, .. }) if *path == file));
}

#[test]
fn names_above_100_bytes_reach_other_readers_whole() {
    let store = Store::new();
    let long = "n".repeat(255);
    let deep = format!("{long}/{long}/{long}/{long}");
    let target = format!("-> {deep}");
    let path = store.add("long", &[(&deep, "deep"), ("link", &target)]);
    let seen = entries(&archive(&path));
    let prefix = &path.as_str()[1..];
    assert!(seen.iter().any(|entry| entry.0 == format!("{prefix}/{deep}") && entry.4 == b"deep"));
    assert!(seen.iter().any(|entry| entry.0 == format!("{prefix}/link") && entry.3 == deep));
}
