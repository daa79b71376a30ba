//! Where blobs and records are kept.
//!
//! Blobs are named by their content, so they never change; what is served
//! under a digest always hashes to it. Records are small documents about
//! blobs, and are written after the blobs that they name.

mod blob;
#[cfg(test)]
mod contract;
mod filesystem;
mod memory;
mod verified;

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use thiserror::Error;

pub use blob::{Blob, ReadNow};
pub use filesystem::Filesystem;
pub use memory::Memory;

use crate::oci::Digest;

/// A place that keeps blobs and records. All methods may be called from any
/// number of tasks, and several processes may use one place at a time.
#[async_trait]
pub trait Storage: fmt::Debug + Send + Sync + 'static {
    /// Checks that something can be stored here, and read back.
    async fn check(&self) -> Result<(), StorageError>;

    /// The content of a record; `None` where there is none.
    async fn read_record(&self, key: &RecordKey) -> Result<Option<Bytes>, StorageError>;

    /// Stores a record, in one step, in place of an earlier one.
    async fn write_record(&self, key: &RecordKey, content: &[u8]) -> Result<(), StorageError>;

    /// The length in bytes of what is stored as this blob; `None` where it is
    /// missing. Quick, as its content isn't read: a length other than expected
    /// shows a damaged blob, the expected one doesn't show a good one.
    async fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, StorageError>;

    /// A blob to read; `None` where it is missing, or damaged and so as good
    /// as missing.
    async fn open_blob(&self, digest: &Digest) -> Result<Option<Blob>, StorageError>;

    /// Stores a small blob.
    async fn put_blob(&self, content: &[u8]) -> Result<Digest, StorageError>;

    /// Starts a blob whose digest is known only at its end. The writer is for
    /// a thread that may block; dropped before `commit`, it leaves nothing.
    fn create_blob(&self) -> Result<Box<dyn BlobWriter>, StorageError>;
}

/// A blob that is being written.
pub trait BlobWriter: Write + Send {
    /// Makes what was written durable and visible under `digest`, which the
    /// caller computed from the very bytes it wrote.
    fn commit(self: Box<Self>, digest: &Digest) -> Result<(), StorageError>;
}

/// The name of a record: what it is about, and the key for that.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RecordKey {
    /// What the record is about.
    pub kind: RecordKind,
    /// Hash over everything that decides its content.
    pub key: Digest,
}

/// What records are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// The manifests of an image.
    Manifest,
    /// The blob that holds a group of store paths.
    Build,
}

impl RecordKind {
    /// The directory, or prefix, of such records.
    fn directory(self) -> &'static str {
        match self {
            Self::Manifest => "manifests",
            Self::Build => "builds",
        }
    }
}

/// Why something could not be stored or read.
#[derive(Debug, Error)]
pub enum StorageError {
    /// The disk is full, or a quota reached.
    #[error("no space left to write {path}", path = .path.display())]
    Full {
        /// What was to be written.
        path: PathBuf,
    },
    /// Anything else that the file system said.
    #[error("can't {action} {path}", path = .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl StorageError {
    /// What the writer of a blob said.
    pub(crate) fn while_writing_a_layer(source: io::Error) -> Self {
        Self::io("write", "a layer")(source)
    }

    /// For `map_err`: tells a full disk from other failures.
    fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::Full { path: path.into() }
            }
            _ => Self::Io { action, path: path.into(), source },
        }
    }
}
