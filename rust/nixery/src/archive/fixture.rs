//! What the tests of this module share: store paths in a temporary directory,
//! and programs that read layers independently of this one.

use std::fs::{self, Permissions};
use std::io::Write;
use std::num::NonZeroUsize;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::thread;

use tempfile::TempDir;

use super::{Level, Packed, Pool, pack_layer};
use crate::store_path::StorePath;

/// A directory of store paths.
pub(super) struct Store(TempDir);

impl Store {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// The store path called `name`, which is not made yet.
    pub(super) fn path(&self, name: &str) -> StorePath {
        let hash = format!("{name:0>32}").replace('-', "0");
        let base = format!("{}-{name}", &hash[hash.len() - 32..]);
        StorePath::new(self.0.path().join(base).to_str().unwrap()).unwrap()
    }

    /// A store path with `files`, by their names and contents. A name that ends
    /// in `/` is a directory, and contents that begin with `-> ` are a link.
    pub(super) fn add(&self, name: &str, files: &[(&str, &str)]) -> StorePath {
        let path = self.path(name);
        fs::create_dir(path.as_path()).unwrap();
        for (name, content) in files {
            let file = path.as_path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            if name.ends_with('/') {
                fs::create_dir_all(file).unwrap();
            } else if let Some(target) = content.strip_prefix("-> ") {
                std::os::unix::fs::symlink(target, file).unwrap();
            } else {
                fs::write(file, content).unwrap();
            }
        }
        path
    }

    /// A store path with one file of `size` bytes that compress a little.
    pub(super) fn add_large(&self, name: &str, size: usize) -> StorePath {
        let path = self.add(name, &[]);
        fs::write(path.as_path().join("large"), noise(name.len(), size)).unwrap();
        path
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        make_removable(self.0.path());
    }
}

/// Lets everything below `directory` be removed by its owner.
pub(super) fn make_removable(directory: &Path) {
    fs::set_permissions(directory, Permissions::from_mode(0o755)).unwrap();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            make_removable(&entry.path());
        }
    }
}

/// Bytes of some entropy.
pub(super) fn noise(seed: usize, size: usize) -> Vec<u8> {
    let mut state = seed as u64 + 1;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
        state.to_be_bytes()[0] % 50
    };
    std::iter::repeat_with(next).take(size).collect()
}

pub(super) fn pool(threads: usize) -> Pool {
    Pool::new(NonZeroUsize::new(threads).unwrap(), Level::default()).unwrap()
}

/// Packs `paths` into memory.
pub(super) fn pack(pool: &Pool, paths: &[StorePath]) -> (Packed, Vec<u8>) {
    let mut layer = Vec::new();
    let packed = pack_layer(pool, paths, &mut layer, &AtomicBool::new(false)).unwrap();
    (packed, layer)
}

/// What `gzip` finds in `compressed`.
pub(super) fn gunzip(compressed: &[u8]) -> Vec<u8> {
    pipe(Command::new("gzip").arg("-dc"), compressed)
}

/// What `command` prints when `input` is its standard input. It must succeed
/// and say nothing else.
pub(super) fn pipe(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let output = thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        child.wait_with_output().unwrap()
    });
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{command:?}: {errors}");
    output.stdout
}

/// One entry as another implementation reads it: name, type, mode, link target
/// and contents.
pub(super) type Seen = (String, tar::EntryType, u32, String, Vec<u8>);

/// The entries of an archive.
pub(super) fn entries(archive: &[u8]) -> Vec<Seen> {
    let mut archive = tar::Archive::new(archive);
    let see = |mut entry: tar::Entry<'_, &[u8]>| {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
        assert_eq!(entry.header().uid().unwrap() + entry.header().gid().unwrap(), 0);
        assert_eq!(entry.header().mtime().unwrap(), 1);
        let target = entry.link_name_bytes().map(|target| text(&target)).unwrap_or_default();
        let header = entry.header();
        let (kind, mode) = (header.entry_type(), header.mode().unwrap());
        (text(&entry.path_bytes()), kind, mode, target, content)
    };
    archive.entries().unwrap().map(|entry| see(entry.unwrap())).collect()
}
