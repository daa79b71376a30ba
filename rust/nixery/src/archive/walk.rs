//! Walking through store paths in the order of the archive.

use std::collections::VecDeque;
use std::ffi::{CStr, CString};
use std::num::NonZeroU64;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::vec;

use rustix::fs::{
    Advice, AtFlags, CWD, FileType, Mode, OFlags, RawDir, fadvise, fstat, openat, readlinkat,
    statat,
};
use rustix::io::Errno;

use super::error::{PackError, absolute};
use crate::store_path::StorePath;

/// How far the walk is ahead of the reader: so many entries …
const AHEAD_ENTRIES: usize = 32;

/// … or so many bytes of files, whichever is reached first.
const AHEAD_BYTES: u64 = 8 << 20;

/// One thing in a store path.
pub(super) struct Entry {
    /// The absolute path without its leading slash: the name in the archive.
    pub path: Vec<u8>,
    /// Whether this is a store path itself rather than something below one.
    pub is_root: bool,
    pub node: Node,
}

pub(super) enum Node {
    Directory {
        mode: u32,
    },
    Symlink {
        target: Vec<u8>,
    },
    /// An open regular file, read up to nowhere yet.
    File {
        file: OwnedFd,
        mode: u32,
        size: u64,
    },
}

/// The entries of some store paths: each path's own entry, then what lies
/// below it; in every directory by the bytes of the names, and a directory
/// right before its contents. Symbolic links are never followed.
///
/// Entries are fetched ahead of the reader, with the kernel told to read the
/// files' contents, so that a cold disk has several requests at a time.
///
/// Everything is opened relative to its directory's descriptor. One is held
/// for each level, and one for each file ahead.
pub(super) struct Walk<'a> {
    roots: std::slice::Iter<'a, &'a StorePath>,
    levels: Vec<Level>,
    /// Where `levels` stands.
    path: Vec<u8>,
    /// Room for the kernel's directory entries.
    listing: Vec<u8>,
    ahead: VecDeque<Entry>,
    ahead_bytes: u64,
}

/// A directory whose entries are being visited.
struct Level {
    directory: OwnedFd,
    path_length: usize,
    names: vec::IntoIter<(CString, FileType)>,
}

impl<'a> Walk<'a> {
    /// Walks `roots` in the order given.
    pub(super) fn new(roots: &'a [&'a StorePath]) -> Self {
        Self {
            roots: roots.iter(),
            levels: Vec::new(),
            path: Vec::new(),
            listing: Vec::with_capacity(32 << 10),
            ahead: VecDeque::with_capacity(AHEAD_ENTRIES),
            ahead_bytes: 0,
        }
    }

    /// The next entry in order, without looking ahead.
    fn step(&mut self) -> Result<Option<Entry>, PackError> {
        while let Some(level) = self.levels.last_mut() {
            if let Some((name, kind)) = level.names.next() {
                self.path.truncate(level.path_length);
                self.path.push(b'/');
                self.path.extend_from_slice(name.to_bytes());
                let node = open(level.directory.as_fd(), &name, kind, &self.path)?;
                return self.visit(node, false).map(Some);
            }
            self.levels.pop();
        }
        let Some(root) = self.roots.next() else { return Ok(None) };
        self.path.clear();
        self.path.extend_from_slice(&root.as_str().as_bytes()[1..]);
        let name =
            CString::new(root.as_str()).map_err(|_| PackError::read(&self.path, Errno::INVAL))?;
        let node = open(CWD, &name, FileType::Unknown, &self.path)?;
        self.visit(node, true).map(Some)
    }

    /// Makes `opened`, which is at `self.path`, an entry, and goes down into it
    /// if it is a directory.
    fn visit(&mut self, opened: Opened, is_root: bool) -> Result<Entry, PackError> {
        let node = match opened {
            Opened::Node(node) => node,
            Opened::Directory(directory, mode) => {
                let names = names(directory.as_fd(), &mut self.listing)
                    .map_err(|error| PackError::read(&self.path, error))?
                    .into_iter();
                self.levels.push(Level { directory, path_length: self.path.len(), names });
                Node::Directory { mode }
            }
        };
        Ok(Entry { path: self.path.clone(), is_root, node })
    }
}

impl Iterator for Walk<'_> {
    type Item = Result<Entry, PackError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ahead.len() < AHEAD_ENTRIES && self.ahead_bytes < AHEAD_BYTES {
            match self.step() {
                Ok(Some(entry)) => {
                    self.ahead_bytes += entry.size();
                    entry.prefetch();
                    self.ahead.push_back(entry);
                }
                Ok(None) => break,
                Err(error) => return Some(Err(error)),
            }
        }
        let entry = self.ahead.pop_front()?;
        self.ahead_bytes -= entry.size();
        Some(Ok(entry))
    }
}

impl Entry {
    fn size(&self) -> u64 {
        if let Node::File { size, .. } = self.node { size } else { 0 }
    }

    /// Asks the kernel to read the file soon.
    fn prefetch(&self) {
        if let Node::File { file, size, .. } = &self.node
            && let Some(length) = NonZeroU64::new((*size).min(AHEAD_BYTES))
        {
            // Only advice: where it is refused, reading is slower and no worse.
            let _ = fadvise(file, 0, Some(length), Advice::WillNeed);
        }
    }
}

/// What a name in a directory turned out to be.
enum Opened {
    Node(Node),
    Directory(OwnedFd, u32),
}

/// Opens `name` in `parent` without following links. `kind` is what the
/// directory said it is, and `path` is for errors.
fn open(
    parent: BorrowedFd<'_>,
    name: &CStr,
    kind: FileType,
    path: &[u8],
) -> Result<Opened, PackError> {
    let fail = |error: Errno| PackError::read(path, error);
    let kind = match kind {
        // Some file systems leave the kind out of their directories.
        FileType::Unknown => FileType::from_raw_mode(
            statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(fail)?.st_mode,
        ),
        kind => kind,
    };
    // Should a pipe have taken the file's place meanwhile, opening it must not wait.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    match kind {
        FileType::Symlink => {
            let target = readlinkat(parent, name, Vec::new()).map_err(fail)?.into_bytes();
            Ok(Opened::Node(Node::Symlink { target }))
        }
        FileType::Directory => {
            let directory =
                openat(parent, name, flags | OFlags::DIRECTORY, Mode::empty()).map_err(fail)?;
            let mode = fstat(&directory).map_err(fail)?.st_mode & 0o7777;
            Ok(Opened::Directory(directory, mode))
        }
        FileType::RegularFile => {
            let file = openat(parent, name, flags, Mode::empty()).map_err(fail)?;
            let status = fstat(&file).map_err(fail)?;
            if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
                return Err(PackError::changed(path));
            }
            let size = u64::try_from(status.st_size).map_err(|_| PackError::changed(path))?;
            Ok(Opened::Node(Node::File { file, mode: status.st_mode & 0o7777, size }))
        }
        _ => Err(PackError::Unsupported { path: absolute(path) }),
    }
}

/// The names in `directory` and their kinds, sorted by bytes. `room` is scratch
/// space for the kernel.
fn names(directory: BorrowedFd<'_>, room: &mut Vec<u8>) -> Result<Vec<(CString, FileType)>, Errno> {
    let mut names = Vec::new();
    let mut entries = RawDir::new(directory, room.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push((name.to_owned(), entry.file_type()));
        }
    }
    names.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    Ok(names)
}
