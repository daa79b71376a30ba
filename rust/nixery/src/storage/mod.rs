//! Where blobs and records are kept.
//!
//! Blobs are named by their content, so they never change; what is served
//! under a digest always hashes to it. Records are small documents about
//! blobs, and are written after the blobs that they name.

mod blob;
#[cfg(test)]
mod contract;
mod filesystem;
mod gcs;
mod memory;
mod verified;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use thiserror::Error;

pub use blob::{Blob, BlobReader, BlobSink, Pieces, ReadNow};
pub use filesystem::Filesystem;
pub use gcs::{
    BucketError, BucketOptions, Delivery, GOOGLE, Gcs, Identity, KeyError, PATIENCE, SetupError,
};
pub use memory::Memory;

use crate::oci::Digest;

/// A place that keeps blobs and records. All methods may be called from any
/// number of tasks, and several processes may use one place at a time.
#[async_trait]
pub trait Storage: fmt::Debug + Send + Sync + 'static {
    /// Checks that it can be used: a directory by writing and reading; a bucket, which was
    /// tried at start, only by asking for it.
    async fn check(&self) -> Result<(), StorageError>;

    /// Reads the files again that say who the server is, where it has to say that.
    async fn reload(&self) {}

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

    /// Where a client gets a blob; `None` where it is missing. May answer for a blob
    /// that was seen a short while ago and is gone since.
    async fn serve_blob(&self, digest: &Digest) -> Result<Option<Served>, StorageError> {
        Ok(self.open_blob(digest).await?.map(Served::Here))
    }

    /// Stores a small blob.
    async fn put_blob(&self, content: &[u8], media_type: &str) -> Result<Digest, StorageError>;

    /// Marks something as used now, for garbage collection; `false` where it is
    /// missing. May leave the mark that it has if that is younger than
    /// [`MARK_INTERVAL`].
    async fn touch(&self, object: &Object) -> Result<bool, StorageError>;

    /// Everything that is stored, in no particular order. Others may add and remove
    /// meanwhile.
    async fn list(&self) -> Result<Vec<Stored>, StorageError>;

    /// Removes something, unless it was written or marked as used after
    /// `not_used_since`, also in the very moment of its removal.
    async fn remove(
        &self,
        object: &Object,
        not_used_since: SystemTime,
    ) -> Result<Removal, StorageError>;

    /// Starts a blob whose digest is known only at its end. The writer is for
    /// a thread that may block; dropped before `commit`, it leaves nothing.
    fn create_blob(&self) -> Result<Box<dyn BlobWriter>, StorageError>;

    /// Bytes of memory that such a writer takes, at most.
    fn writer_memory(&self) -> usize {
        0
    }
}

/// How long a mark of use may be left as it is: marks are for telling days apart, and
/// pulls of the last hour.
pub const MARK_INTERVAL: Duration = Duration::from_mins(5);

/// Most bytes of a record. Those of the largest images have some megabytes; what is longer
/// is none, and counts as absent.
pub const MAX_RECORD: u64 = 64 << 20;

/// Where a client gets a blob.
#[derive(Clone, Debug)]
pub enum Served {
    /// From this server.
    Here(Blob),
    /// From another, without further ado, at this URL.
    At(String),
}

/// The name of something that is stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Object {
    /// A blob.
    Blob(Digest),
    /// A record.
    Record(RecordKey),
}

/// What a removal came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It is gone.
    Removed,
    /// It was used, and stays.
    Used,
    /// It wasn't there; perhaps only for a moment, in which somebody else looks whether
    /// it was used.
    Absent,
}

/// Something that is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its name.
    pub object: Object,
    /// Its length in bytes.
    pub size: u64,
    /// When it was written or last marked as used.
    pub used: SystemTime,
}

/// A blob that is being written.
pub trait BlobWriter: BlobSink + Send {
    /// Makes what was written durable and visible under `digest`. The caller computed it
    /// from the very bytes it wrote, and their MD5, which object stores compare.
    fn commit(self: Box<Self>, digest: &Digest, md5: &[u8; 16]) -> Result<(), StorageError>;
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
    /// A package of a package set.
    Package,
    /// The blob that holds a store path, and where in it.
    Path,
}

impl RecordKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Manifest, Self::Build, Self::Package, Self::Path];

    /// The directory, or prefix, of such records.
    pub fn directory(self) -> &'static str {
        match self {
            Self::Manifest => "manifests",
            Self::Build => "builds",
            Self::Package => "packages",
            Self::Path => "paths",
        }
    }
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.directory(), self.key.hex())
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
    /// A bucket can't be read or written.
    #[error("can't {action} {object}")]
    Bucket {
        /// What was tried.
        action: &'static str,
        /// With what, as a gs:// URL.
        object: String,
        /// Why it failed.
        source: Box<BucketError>,
    },
}

impl StorageError {
    /// What the writer of a blob said.
    pub(crate) fn while_writing_a_layer(source: io::Error) -> Self {
        source.downcast().unwrap_or_else(Self::io("write", "a layer"))
    }

    /// What the reader of a blob said.
    pub(crate) fn while_reading(object: impl Into<String>, source: io::Error) -> Self {
        let object = object.into();
        match source.downcast::<BucketError>() {
            Ok(source) => Self::Bucket { action: "read", object, source: source.into() },
            Err(source) => Self::io("read", object)(source),
        }
    }

    /// Whether it may be otherwise in a moment.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Bucket { source, .. } => source.is_temporary(),
            Self::Full { .. } | Self::Io { .. } => false,
        }
    }

    /// Whether the disk is full, or a quota reached.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Full { .. } => true,
            Self::Io { .. } | Self::Bucket { .. } => false,
        }
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

/// Whether the reader of a blob, which said this, may go on in a moment.
pub fn is_temporary(error: &io::Error) -> bool {
    bucket_error(error).is_some_and(BucketError::is_temporary)
}

/// Whether the reader of a blob said that it is gone.
pub fn is_gone(error: &io::Error) -> bool {
    bucket_error(error).is_some_and(BucketError::is_gone)
}

fn bucket_error(error: &io::Error) -> Option<&BucketError> {
    error.get_ref()?.downcast_ref()
}
