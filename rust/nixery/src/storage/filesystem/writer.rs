//! Writing blobs.

use std::io::{self, Write};
use std::sync::Arc;

use tempfile::NamedTempFile;

use super::temporary::{create_temporary, persist};
use super::{BLOBS, Shared};
use crate::oci::Digest;
use crate::storage::blob::{BlobSink, append_in_kernel};
use crate::storage::verified::Stamp;
use crate::storage::{Blob, BlobWriter, StorageError};

/// A blob under a temporary name.
pub(super) struct Writer {
    shared: Arc<Shared>,
    pub(super) file: NamedTempFile,
}

impl Writer {
    pub(super) fn create(shared: Arc<Shared>) -> Result<Self, StorageError> {
        let file = create_temporary(&shared.root.join(BLOBS))?;
        Ok(Self { shared, file })
    }

    pub(super) fn keep(self, digest: &Digest) -> Result<(), StorageError> {
        let path = self.shared.blob_path(digest);
        if self.shared.renew(digest, self.file.as_file())? {
            return Ok(());
        }
        // A blob of that name is replaced: it may be damaged.
        let file = persist(self.file, &path)?;
        let metadata = file.metadata().map_err(StorageError::io("inspect", path))?;
        self.shared.verified.insert(*digest, Stamp::of(&metadata));
        Ok(())
    }
}

impl Write for Writer {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.file.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl BlobSink for Writer {
    fn share(&mut self, source: &Blob, offset: u64, length: u64) -> io::Result<bool> {
        append_in_kernel(self.file.as_file(), source, offset, length)
    }
}

impl BlobWriter for Writer {
    fn commit(self: Box<Self>, digest: &Digest, _md5: &[u8; 16]) -> Result<(), StorageError> {
        self.keep(digest)
    }
}
