//! What was made before, and under which key it is found.
//!
//! Records live in the storage and so are shared by all servers that use it.
//! Each names the version of its form: one of another version counts as absent.

mod directory;
mod key;
mod record;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

pub use directory::Directory;
pub use key::{ManifestInputs, layer_key, manifest_key, package_key, path_key, rootfs_key};
pub use record::{LayerRecord, ManifestRecord, PackageRecord, PathRecord};

use crate::concurrent::try_all;
use crate::counters::{self, CacheLayer};
use crate::oci::{Descriptor, Digest, Manifest};
use crate::storage::{Object, RecordKey, Storage, StorageError, is_gone};
use key::VERSION;

/// Largest manifest that is read, in bytes; the distribution specification asks
/// registries to take at least 4 MiB.
pub const MAX_MANIFEST: u64 = 4 << 20;

/// Bytes of package records that are kept in memory, as they are written.
const PACKAGES_CAPACITY: u64 = 32 << 20;

/// After this time a package record is read again, which marks it as used.
const PACKAGES_LIFETIME: Duration = Duration::from_hours(12);

/// How many package records are expected, to size the table.
const PACKAGES_EXPECTED: usize = 500;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Versioned<T> {
    version: u32,
    record: T,
}

/// What a record says, if nothing else can be read of it.
#[derive(Deserialize)]
struct OnlyVersion {
    version: u32,
}

/// Records in a storage.
#[derive(Clone, Debug)]
pub struct Records(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    storage: Arc<dyn Storage>,
    packages: Cache<RecordKey, KnownPackage, Weights>,
}

/// A package record in memory.
#[derive(Clone, Debug)]
struct KnownPackage {
    record: Arc<PackageRecord>,
    bytes: u64,
    /// When it was read or written, and so marked as used.
    marked: Instant,
}

#[derive(Clone, Debug)]
struct Weights;

impl Weighter<RecordKey, KnownPackage> for Weights {
    fn weight(&self, _: &RecordKey, known: &KnownPackage) -> u64 {
        known.bytes
    }
}

impl Records {
    /// The records in `storage`.
    pub fn new(storage: Arc<dyn Storage>) -> Self {
        let packages = Cache::with_weighter(PACKAGES_EXPECTED, PACKAGES_CAPACITY, Weights);
        Self(Arc::new(Inner { storage, packages }))
    }

    /// Where they are.
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.0.storage
    }

    /// The record under `key`; `None` where there is none, or none that can be
    /// read, which then is made again.
    pub async fn read<T: DeserializeOwned>(
        &self,
        key: &RecordKey,
    ) -> Result<Option<T>, StorageError> {
        let found = self.read_uncounted(key).await?;
        counters::looked_up(CacheLayer::Record(key.kind.directory()), found.is_some());
        Ok(found)
    }

    /// The same, where the caller counts the lookup, or it is another one of the same.
    pub async fn read_uncounted<T: DeserializeOwned>(
        &self,
        key: &RecordKey,
    ) -> Result<Option<T>, StorageError> {
        let content = self.0.storage.read_record(key).await?;
        Ok(content.and_then(|content| parse(key, &content)))
    }

    /// The record of a package, from memory where it was read before.
    pub async fn package(
        &self,
        key: &RecordKey,
    ) -> Result<Option<Arc<PackageRecord>>, StorageError> {
        let known = self.0.packages.get(key);
        if let Some(known) = known.filter(|known| known.marked.elapsed() < PACKAGES_LIFETIME) {
            counters::looked_up(CacheLayer::Record(key.kind.directory()), true);
            return Ok(Some(known.record));
        }
        let content = self.0.storage.read_record(key).await?;
        let for_parsing = key.clone();
        // Megabytes, for a package that needs much.
        let parsing = spawn_blocking(move || {
            let content = content?;
            Some((parse::<PackageRecord>(&for_parsing, &content)?, content.len() as u64))
        });
        // Fails only at shutdown.
        let found = parsing.await.unwrap_or(None);
        counters::looked_up(CacheLayer::Record(key.kind.directory()), found.is_some());
        let Some((record, bytes)) = found else { return Ok(None) };
        // Packages that nobody asks for are removed some day.
        self.0.storage.touch(&Object::Record(key.clone())).await?;
        Ok(Some(self.keep_package(key, record, bytes)))
    }

    /// Stores the record of a package.
    pub async fn write_package(
        &self,
        key: &RecordKey,
        record: PackageRecord,
    ) -> Result<Arc<PackageRecord>, StorageError> {
        let encoding = spawn_blocking(move || {
            let content = encode(&record);
            (record, content)
        });
        let (record, content) = encoding.await.map_err(|error| StorageError::Io {
            action: "encode",
            path: key.to_string().into(),
            source: io::Error::other(error),
        })?;
        self.0.storage.write_record(key, &content).await?;
        Ok(self.keep_package(key, record, content.len() as u64))
    }

    fn keep_package(
        &self,
        key: &RecordKey,
        record: PackageRecord,
        bytes: u64,
    ) -> Arc<PackageRecord> {
        let record = Arc::new(record);
        let known = KnownPackage { record: Arc::clone(&record), bytes, marked: Instant::now() };
        self.0.packages.insert(key.clone(), known);
        record
    }

    /// Stores `record`. What it names must be stored already.
    pub async fn write<T: Serialize + Sync>(
        &self,
        key: &RecordKey,
        record: &T,
    ) -> Result<(), StorageError> {
        self.0.storage.write_record(key, &encode(record)).await
    }

    /// The manifest with this digest; `None` where it is missing, or another blob.
    pub async fn manifest(&self, digest: &Digest) -> Result<Option<Manifest>, StorageError> {
        let Some(blob) = self.0.storage.open_blob(digest).await? else { return Ok(None) };
        let read = spawn_blocking(move || blob.read_all(MAX_MANIFEST)).await;
        let content = match read.map_err(io::Error::other).flatten() {
            // Since it was opened.
            Err(error) if is_gone(&error) => return Ok(None),
            other => other,
        };
        let content =
            content.map_err(|error| StorageError::while_reading(digest.to_string(), error))?;
        // Not everything that is read from another machine has been compared by then.
        let content = content.filter(|content| Digest::of(content) == *digest);
        Ok(content.and_then(Manifest::recognise))
    }

    /// Whether all of `blobs` are stored, with the lengths that they must have.
    pub async fn are_stored(
        &self,
        blobs: impl IntoIterator<Item = Descriptor>,
    ) -> Result<bool, StorageError> {
        let checks = blobs.into_iter().map(|Descriptor { digest, size }| async move {
            Ok(self.0.storage.blob_size(&digest).await? == Some(size))
        });
        Ok(try_all(checks).await?.into_iter().all(|is_stored| is_stored))
    }
}

fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    // Serialising to memory can't fail; were it to, the record is made again.
    serde_json::to_vec(&Versioned { version: VERSION, record }).unwrap_or_default()
}

/// Reads a record. What can't be used is only logged, as it is made again.
pub fn parse<T: DeserializeOwned>(key: &RecordKey, content: &[u8]) -> Option<T> {
    let kind = key.kind.directory();
    match serde_json::from_slice::<Versioned<T>>(content) {
        Ok(Versioned { version: VERSION, record }) => Some(record),
        Ok(Versioned { version, .. }) => {
            tracing::warn!(kind, %key, version, "a record has another version: made again");
            None
        }
        Err(error) => {
            match serde_json::from_slice(content) {
                Ok(OnlyVersion { version }) if version != VERSION => {
                    tracing::warn!(kind, %key, version, "a record has another version: made again");
                }
                _ => tracing::warn!(kind, %key, %error, "a record can't be read: made again"),
            }
            None
        }
    }
}

#[cfg(test)]
mod fuzzed;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Memory;

    #[tokio::test]
    async fn records_that_cannot_be_used_count_as_absent() {
        let storage = Arc::new(Memory::default());
        let records = Records::new(storage.clone());
        let key = layer_key(5, &[]);
        let manifests = vec![Descriptor::of(b"m")];
        let record = ManifestRecord { image: "git".to_owned(), manifests };
        records.write(&key, &record).await.unwrap();
        let good = storage.read_record(&key).await.unwrap().unwrap();
        assert_eq!(records.read::<ManifestRecord>(&key).await.unwrap(), Some(record));

        let text = String::from_utf8(good.to_vec()).unwrap();
        let other_version = text.replace("\"version\":2", "\"version\":1");
        let with_more = text.replace("\"version\":2", "\"version\":2,\"more\":1");
        for damaged in [&text[..text.len() / 2], "", "{}", &other_version, &with_more] {
            storage.write_record(&key, damaged.as_bytes()).await.unwrap();
            assert_eq!(records.read::<ManifestRecord>(&key).await.unwrap(), None, "{damaged}");
        }
    }

    #[tokio::test]
    async fn blobs_are_stored_only_with_the_right_length() {
        let storage = Arc::new(Memory::default());
        let records = Records::new(storage.clone());
        storage.put_blob(b"one", "text/plain").await.unwrap();
        let (one, two) = (Descriptor::of(b"one"), Descriptor::of(b"two"));
        assert!(records.are_stored([one]).await.unwrap());
        assert!(!records.are_stored([one, two]).await.unwrap());
        assert!(!records.are_stored([Descriptor { size: 4, ..one }]).await.unwrap());
    }
}
