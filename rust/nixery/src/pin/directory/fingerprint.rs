//! The fingerprint of a directory: a hash over the names, kinds and contents of
//! everything in it, the same wherever and whenever it is.
//!
//! Contents are read once and remembered as long as the file has the same inode, size
//! and times, so that another look takes only a `stat` for each file.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};

use super::LookError;
use crate::oci::Digest;
use crate::source::Fingerprint;

/// The most files and directories that are looked at; nixpkgs has 50,000.
pub(super) const MAX_ENTRIES: usize = 200_000;

/// The most bytes of files that are looked at.
pub(super) const MAX_BYTES: u64 = 1 << 30;

/// What git keeps for itself. Packages don't depend on it.
const GIT: &str = ".git";

/// A file that changed in this time before it was read may change again without
/// another time to show for it: clocks of file systems are coarse.
const COARSE: Duration = Duration::from_millis(100);

/// Hashes of files' contents, by their path.
#[derive(Debug, Default)]
pub(super) struct Hashes(Mutex<HashMap<PathBuf, (Stamp, Digest)>>);

/// Seconds and nanoseconds since 1970.
type Time = (i64, i64);

/// What changes when a file's content changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: Time,
    changed: Time,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether the file has not changed for a while, so that its next change shows.
    fn is_settled(&self) -> bool {
        let seconds = u64::try_from(self.changed.0).unwrap_or_default();
        let nanoseconds = u32::try_from(self.changed.1).unwrap_or_default();
        let changed = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds);
        changed.elapsed().is_ok_and(|age| age > COARSE)
    }
}

impl Hashes {
    /// The fingerprint of a directory. May wait for the disk.
    pub(super) fn fingerprint(&self, directory: &Path) -> Result<Fingerprint, LookError> {
        // One look at a time: another one finds then what this one has read.
        let mut hashes = self.lock();
        let known = std::mem::take(&mut *hashes);
        let mut look = Look {
            root: directory,
            known,
            seen: HashMap::new(),
            outside: Vec::new(),
            hasher: Sha256::new(),
            entries: 0,
            bytes: 0,
            changed: (0, 0),
        };
        let result = look.directory(directory);
        *hashes = look.seen;
        result?;
        let digest = Digest::from_bytes(look.hasher.finalize().into());
        let (seconds, nanoseconds) = look.changed;
        Ok(Fingerprint { content: digest.hex(), changed: format!("{seconds}.{nanoseconds:09}") })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, (Stamp, Digest)>> {
        // A map of plain values is whole after any panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One look through a directory.
struct Look<'a> {
    root: &'a Path,
    known: HashMap<PathBuf, (Stamp, Digest)>,
    seen: HashMap<PathBuf, (Stamp, Digest)>,
    /// The directories outside of the root that links have led to.
    outside: Vec<PathBuf>,
    hasher: Sha256,
    entries: usize,
    bytes: u64,
    /// The newest change of anything.
    changed: Time,
}

impl Look<'_> {
    fn directory(&mut self, directory: &Path) -> Result<(), LookError> {
        let fail = |source| LookError::Read { path: directory.to_owned(), source };
        let entries: Result<Vec<_>, _> = fs::read_dir(directory).map_err(fail)?.collect();
        let mut entries = entries.map_err(fail)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name();
            if name == GIT {
                continue;
            }
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return Err(LookError::TooLarge);
            }
            let path = entry.path();
            let fail = |source| LookError::Read { path: path.clone(), source };
            let metadata = fs::symlink_metadata(&path).map_err(fail)?;
            self.changed = self.changed.max((metadata.ctime(), metadata.ctime_nsec()));
            if metadata.is_dir() {
                self.field(b"directory", name.as_bytes());
                self.directory(&path)?;
                self.field(b"end", b"");
            } else if metadata.is_symlink() {
                let target = fs::read_link(&path).map_err(fail)?;
                self.field(b"link", name.as_bytes());
                self.field(b"to", target.as_os_str().as_bytes());
                self.follow(&path)?;
            } else if metadata.is_file() {
                self.field(b"file", name.as_bytes());
                self.file(&path, &metadata)?;
            }
            // Sockets and the like are nothing that Nix could read.
        }
        Ok(())
    }

    /// What a link leads to counts too, unless it is in the directory anyway.
    fn follow(&mut self, link: &Path) -> Result<(), LookError> {
        let Ok(target) = fs::canonicalize(link) else { return Ok(()) };
        if let Ok(inside) = target.strip_prefix(self.root) {
            // Perhaps by a way that leads through the outside.
            self.field(b"inside", inside.as_os_str().as_bytes());
            return Ok(());
        }
        self.field(b"at", target.as_os_str().as_bytes());
        if target.starts_with("/nix/store") || self.outside.contains(&target) {
            return Ok(());
        }
        let fail = |source| LookError::Read { path: target.clone(), source };
        let metadata = fs::metadata(&target).map_err(fail)?;
        if metadata.is_dir() {
            self.outside.push(target.clone());
            self.directory(&target)?;
            self.field(b"end", b"");
        } else if metadata.is_file() {
            self.file(&target, &metadata)?;
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, metadata: &Metadata) -> Result<(), LookError> {
        let stamp = Stamp::of(metadata);
        self.bytes = self.bytes.saturating_add(stamp.size);
        if self.bytes > MAX_BYTES {
            return Err(LookError::TooLarge);
        }
        let digest = match self.known.get(path) {
            Some((known, digest)) if *known == stamp => *digest,
            _ => {
                let fail = |source| LookError::Read { path: path.to_owned(), source };
                File::open(path).and_then(Digest::of_reader).map_err(fail)?
            }
        };
        if stamp.is_settled() {
            self.seen.insert(path.to_owned(), (stamp, digest));
        }
        let is_executable = metadata.permissions().mode() & 0o100 != 0;
        self.field(if is_executable { b"executable" } else { b"plain" }, digest.as_bytes());
        Ok(())
    }

    /// Adds to the hash, so that no two sequences of fields are the same bytes.
    fn field(&mut self, kind: &[u8], content: &[u8]) {
        for part in [kind, content] {
            self.hasher.update((part.len() as u64).to_le_bytes());
            self.hasher.update(part);
        }
    }
}

#[cfg(test)]
mod tests;
