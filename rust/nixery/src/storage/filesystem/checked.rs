//! Opening blobs, and finding out whether they are what their names say.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use super::Shared;
use super::temporary::create_temporary;
use crate::oci::Digest;
use crate::storage::blob::{open, open_now};
use crate::storage::verified::Stamp;
use crate::storage::{Blob, ReadNow, StorageError};

/// An open blob, and whether it is known to be what its name says.
pub(super) struct Opened {
    pub(super) file: File,
    pub(super) stamp: Stamp,
    pub(super) verified: bool,
}

impl Shared {
    /// Opens a blob and says whether it is known to be what its name says.
    pub(super) fn open(&self, digest: &Digest) -> Result<Option<Opened>, StorageError> {
        let path = self.blob_path(digest);
        let file = match open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StorageError::io("open", path)(error)),
        };
        if !file.metadata().map_err(StorageError::io("inspect", &path))?.is_file() {
            tracing::error!(path = %path.display(), "removing what is no file, but has a blob's name");
            let removed = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
            return removed.map(|()| None).map_err(StorageError::io("remove", path));
        }
        self.inspect(digest, file).map(Some).map_err(StorageError::io("inspect", path))
    }

    /// The same for callers that must not wait for the disk; `None` where it would
    /// have to be waited for, and where it failed.
    pub(super) fn open_now(&self, digest: &Digest) -> Option<Opened> {
        let file = self.tells_cached.then(|| open_now(&self.blob_path(digest)).ok())??;
        self.inspect(digest, file).ok()
    }

    fn inspect(&self, digest: &Digest, file: File) -> io::Result<Opened> {
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let stamp = Stamp::of(&metadata);
        let verified = self.verified.contains(digest, stamp);
        Ok(Opened { file, stamp, verified })
    }

    /// Hashes a blob; one that isn't what its name says is removed, so that it
    /// is made again.
    pub(super) fn verify(
        &self,
        digest: &Digest,
        file: &File,
        stamp: Stamp,
    ) -> Result<bool, StorageError> {
        let path = self.blob_path(digest);
        let found = Digest::of_reader(file).map_err(StorageError::io("read", &path))?;
        if found == *digest {
            self.verified.insert(*digest, stamp);
            return Ok(true);
        }
        let now = fs::metadata(&path).map(|metadata| Stamp::of(&metadata));
        if now.is_ok_and(|now| now != stamp) {
            // Somebody has put another file there meanwhile, a good one perhaps.
            return Ok(false);
        }
        tracing::error!(%digest, %found, path = %path.display(), "removing a damaged blob");
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StorageError::io("remove the damaged", path)(error))
            }
            Ok(()) | Err(_) => Ok(false),
        }
    }
}

/// Whether the file system below `directory` tells what it has in memory from what
/// must come from elsewhere. Those that can't, such as a network's, are asked only
/// where it doesn't matter how long they take to answer.
pub(super) fn tells_cached(directory: &Path) -> bool {
    let ask = || {
        let mut file = create_temporary(directory).ok()?;
        file.write_all(b"cached").ok()?;
        let blob = Blob::in_file(Arc::new(file.reopen().ok()?), 6);
        blob.read_now(&mut [0; 6], 0).ok()
    };
    matches!(ask(), Some(ReadNow::Read(_)))
}
