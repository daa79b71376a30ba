//! Remembering which files were seen to hash to their name.

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, PoisonError};

use crate::oci::Digest;

/// Entries kept; each is about 100 bytes. When there are more, all are
/// forgotten: the price is to hash what is asked for once more.
const CAPACITY: usize = 100_000;

/// Files that were hashed, by what identifies their content as long as nobody
/// writes to them.
#[derive(Debug, Default)]
pub(super) struct Verified(Mutex<HashMap<Digest, Stamp>>);

/// Identity of a file's content. Changes when the file is replaced, cut or
/// written to: the time is that of the last change of anything about the file,
/// which, unlike that of the last write, programs can't set back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }
}

impl Verified {
    /// Whether the file that has `stamp` was seen to hash to `digest`.
    pub(super) fn contains(&self, digest: &Digest, stamp: Stamp) -> bool {
        self.lock().get(digest) == Some(&stamp)
    }

    pub(super) fn insert(&self, digest: Digest, stamp: Stamp) {
        let mut map = self.lock();
        if map.len() >= CAPACITY {
            map.clear();
        }
        map.insert(digest, stamp);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Stamp>> {
        // A map of plain values is whole after any panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
