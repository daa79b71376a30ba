//! Blobs and records as files.
//!
//! Every file is written under a temporary name beside its own and renamed, so that
//! under its name there is either all of it or nothing. Blobs are synced before that.
//! A file's media type isn't stored: what asks for a blob knows it.

mod checked;
mod collect;
mod temporary;
mod writer;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::verified::Verified;
use super::{
    Blob, BlobWriter, MAX_RECORD, Object, RecordKey, RecordKind, Removal, Storage, StorageError,
    Stored,
};
use crate::oci::Digest;
use crate::small_file;
use checked::{Opened, tells_cached};
use temporary::{create_temporary, remove_abandoned, rename};
use writer::Writer;

/// The directory of blobs.
const BLOBS: &str = "layers";

/// Up to this length, files are hashed at once: it takes less than a millisecond.
const SMALL: u64 = 1 << 20;

/// Longer files hashed at the same time.
const HASHERS: usize = 2;

/// A directory with blobs and records.
#[derive(Debug)]
pub struct Filesystem {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    root: PathBuf,
    verified: Verified,
    hashers: Semaphore,
    /// Whether the file system can tell what it has in memory.
    tells_cached: bool,
}

/// All that are below the root.
fn directories() -> impl Iterator<Item = &'static str> {
    [BLOBS].into_iter().chain(RecordKind::ALL.map(RecordKind::directory))
}

impl Filesystem {
    /// Uses `root`, makes it and what belongs in it where missing, and removes
    /// what writers that were killed have left.
    pub fn open(root: &Path) -> Result<Self, StorageError> {
        for directory in directories() {
            let directory = root.join(directory);
            fs::create_dir_all(&directory)
                .map_err(StorageError::io("create directory", &directory))?;
        }
        let shared = Shared {
            root: root.to_owned(),
            verified: Verified::default(),
            hashers: Semaphore::new(HASHERS),
            tells_cached: tells_cached(&root.join(BLOBS)),
        };
        let storage = Self { shared: Arc::new(shared) };
        storage.remove_abandoned()?;
        Ok(storage)
    }

    /// Removes what writers have left that were killed over a minute ago, or could not
    /// remove it as the disk was read-only. May wait for the disk.
    pub fn remove_abandoned(&self) -> Result<(), StorageError> {
        for directory in directories() {
            let directory = self.shared.root.join(directory);
            match remove_abandoned(&directory) {
                // Somebody has removed it: it is made again when it is needed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other.map_err(StorageError::io("clean up", &directory))?,
            }
        }
        Ok(())
    }

    fn record_path(&self, key: &RecordKey) -> PathBuf {
        self.shared.path(&Object::Record(key.clone()))
    }
}

impl Shared {
    fn path(&self, object: &Object) -> PathBuf {
        match object {
            Object::Blob(digest) => self.blob_path(digest),
            Object::Record(key) => self.root.join(key.kind.directory()).join(key.key.hex()),
        }
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join(BLOBS).join(digest.hex())
    }
}

#[async_trait]
impl Storage for Filesystem {
    async fn check(&self) -> Result<(), StorageError> {
        let root = self.shared.root.clone();
        blocking(move || {
            for directory in directories() {
                let mut file = create_temporary(&root.join(directory))?;
                let path = file.path().to_owned();
                file.write_all(b"check").map_err(StorageError::io("write", &path))?;
                fs::read(&path).map(drop).map_err(StorageError::io("read", path))?;
            }
            Ok(())
        })
        .await
    }

    async fn read_record(&self, key: &RecordKey) -> Result<Option<Bytes>, StorageError> {
        let path = self.record_path(key);
        blocking(move || match small_file::read(&path, MAX_RECORD) {
            Ok(content) => Ok(Some(content.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if is_no_record(&error) => {
                tracing::error!(path = %path.display(), %error, "not read: it is no record");
                Ok(None)
            }
            Err(error) => Err(StorageError::io("read", path)(error)),
        })
        .await
    }

    async fn write_record(&self, key: &RecordKey, content: &[u8]) -> Result<(), StorageError> {
        let path = self.record_path(key);
        let content = content.to_vec();
        blocking(move || {
            let directory = path.parent().unwrap_or(&path);
            let mut file = create_temporary(directory)?;
            file.write_all(&content).map_err(StorageError::io("write", &path))?;
            // Not synced: a record that a crash tears is made again, and to sync all
            // those of an image takes longer than to make it from known layers.
            rename(file, &path).map(drop)
        })
        .await
    }

    async fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, StorageError> {
        let path = self.shared.blob_path(digest);
        blocking(move || match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StorageError::io("inspect", path)(error)),
        })
        .await
    }

    async fn open_blob(&self, digest: &Digest) -> Result<Option<Blob>, StorageError> {
        let (shared, digest) = (Arc::clone(&self.shared), *digest);
        let opened = match shared.open_now(&digest) {
            Some(opened) => Some(opened),
            None => blocking(move || shared.open(&digest)).await?,
        };
        let Some(Opened { file, stamp, verified }) = opened else { return Ok(None) };
        let size = stamp.size();
        let file = Arc::new(file);
        if verified {
            return Ok(Some(Blob::in_file(file, size)));
        }
        // What is small doesn't wait until large layers are hashed. Never closed, so
        // acquiring can't fail.
        let _permit = match size {
            ..=SMALL => None,
            _ => Some(self.shared.hashers.acquire().await),
        };
        let (shared, hashed) = (Arc::clone(&self.shared), Arc::clone(&file));
        let good = blocking(move || {
            Ok(shared.verified.contains(&digest, stamp)
                || shared.verify(&digest, &hashed, stamp)?)
        })
        .await?;
        Ok(good.then(|| Blob::in_file(file, size)))
    }

    async fn put_blob(&self, content: &[u8], _media_type: &str) -> Result<Digest, StorageError> {
        let digest = Digest::of(content);
        let (shared, content) = (Arc::clone(&self.shared), content.to_vec());
        blocking(move || {
            let mut writer = Writer::create(shared)?;
            let path = writer.file.path().to_owned();
            writer.write_all(&content).map_err(StorageError::io("write", path))?;
            writer.keep(&digest)
        })
        .await?;
        Ok(digest)
    }

    async fn touch(&self, object: &Object) -> Result<bool, StorageError> {
        let (shared, object) = (Arc::clone(&self.shared), object.clone());
        blocking(move || shared.touch(&object)).await
    }

    async fn list(&self) -> Result<Vec<Stored>, StorageError> {
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.list()).await
    }

    async fn remove(
        &self,
        object: &Object,
        not_used_since: SystemTime,
    ) -> Result<Removal, StorageError> {
        let (shared, object) = (Arc::clone(&self.shared), object.clone());
        blocking(move || shared.remove(&object, not_used_since)).await
    }

    fn create_blob(&self) -> Result<Box<dyn BlobWriter>, StorageError> {
        Ok(Box::new(Writer::create(Arc::clone(&self.shared))?))
    }
}

/// Whether something else has a record's name.
fn is_no_record(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::FileTooLarge)
}

/// Runs what may wait for the disk on a thread for that.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    match spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only at shutdown, when nobody waits for the answer.
            Err(_) => Err(StorageError::io("reach", "storage")(io::ErrorKind::Interrupted.into())),
        },
    }
}

#[cfg(test)]
mod tests;
