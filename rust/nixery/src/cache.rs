//! What was made before, and under which key it is found.
//!
//! Records live in the storage and so are shared by all servers that use it.
//! Each names the version of its form: one of another version counts as absent.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::archive::{Packed, PathMembers};
use crate::oci::{Descriptor, Digest};
use crate::storage::{RecordKey, RecordKind, Storage, StorageError};
use crate::store_path::StorePath;

/// Version of the records' form, and of the bytes that images consist of. A
/// change of either needs another number, or old images are taken for new ones.
const VERSION: u32 = 1;

/// Makes keys: a hash over fields that can't run into each other.
pub struct KeyBuilder(Sha256);

impl KeyBuilder {
    /// A key for records of `kind` about `purpose`.
    fn new(kind: RecordKind, purpose: &str) -> Self {
        let mut hasher = Self(Sha256::new());
        hasher.field(format!("{kind:?}")).field(VERSION.to_string()).field(purpose);
        hasher
    }

    /// Adds one field.
    fn field(&mut self, content: impl AsRef<[u8]>) -> &mut Self {
        let content = content.as_ref();
        self.0.update((content.len() as u64).to_le_bytes());
        self.0.update(content);
        self
    }

    /// Adds a list of fields, however many.
    fn list<T: AsRef<[u8]>>(&mut self, items: impl ExactSizeIterator<Item = T>) -> &mut Self {
        self.field((items.len() as u64).to_le_bytes());
        for item in items {
            self.field(item);
        }
        self
    }

    fn finish(self, kind: RecordKind) -> RecordKey {
        RecordKey { kind, key: Digest::from_bytes(self.0.finalize().into()) }
    }
}

/// The key of the layer that holds `paths`, which are sorted.
pub fn layer_key(level: u8, paths: &[StorePath]) -> RecordKey {
    let mut key = KeyBuilder::new(RecordKind::Build, "store paths");
    key.field([level]).list(paths.iter().map(StorePath::as_str));
    key.finish(RecordKind::Build)
}

/// The key of the root file system over `packages`, which are sorted.
pub fn rootfs_key(level: u8, packages: &[StorePath]) -> RecordKey {
    let mut key = KeyBuilder::new(RecordKind::Build, "root file system");
    key.field([level]).list(packages.iter().map(StorePath::as_str));
    key.finish(RecordKind::Build)
}

/// Everything that decides what the manifests of an image are.
#[derive(Clone, Copy, Debug)]
pub struct ManifestInputs<'a> {
    /// The source and its revision, as an unambiguous text.
    pub source: &'a str,
    /// Nix's name of the platform.
    pub system: &'a str,
    /// The packages, sorted.
    pub packages: &'a [&'a str],
    /// Compression level.
    pub level: u8,
    /// The most layers.
    pub max_layers: usize,
    /// What identifies the popularity table.
    pub popularity: &'a Digest,
}

/// The key of an image's manifests.
pub fn manifest_key(inputs: ManifestInputs<'_>) -> RecordKey {
    let mut key = KeyBuilder::new(RecordKind::Manifest, "manifests");
    key.field(inputs.source)
        .field(inputs.system)
        .list(inputs.packages.iter())
        .field([inputs.level])
        .field((inputs.max_layers as u64).to_le_bytes())
        .field(inputs.popularity.hex());
    key.finish(RecordKind::Manifest)
}

/// A record of the manifests of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestRecord {
    /// The manifests, each in another format. They name all other blobs.
    pub manifests: Vec<Descriptor>,
}

/// A record of a layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerRecord {
    /// Digest of the tar stream.
    pub diff_id: Digest,
    /// The blob.
    pub blob: Descriptor,
    /// MD5 of the blob, which object stores compare.
    pub md5: [u8; 16],
    /// Length of the tar stream in bytes.
    pub uncompressed_size: u64,
    /// Where the gzip members of each store path are in the blob.
    pub members: Vec<PathMembers>,
}

impl From<Packed> for LayerRecord {
    fn from(packed: Packed) -> Self {
        Self {
            diff_id: packed.diff_id,
            blob: Descriptor { digest: packed.digest, size: packed.size },
            md5: packed.md5,
            uncompressed_size: packed.uncompressed_size,
            members: packed.members,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Versioned<T> {
    version: u32,
    record: T,
}

/// Records in a storage.
#[derive(Clone, Debug)]
pub struct Records(Arc<dyn Storage>);

impl Records {
    /// The records in `storage`.
    pub fn new(storage: Arc<dyn Storage>) -> Self {
        Self(storage)
    }

    /// The record under `key`; `None` where there is none, or none that can be
    /// read, which then is made again.
    pub async fn read<T: DeserializeOwned>(
        &self,
        key: &RecordKey,
    ) -> Result<Option<T>, StorageError> {
        let Some(content) = self.0.read_record(key).await? else { return Ok(None) };
        match serde_json::from_slice::<Versioned<T>>(&content) {
            Ok(Versioned { version: VERSION, record }) => Ok(Some(record)),
            Ok(Versioned { version, .. }) => {
                tracing::warn!(?key, version, "a record has another version: made again");
                Ok(None)
            }
            Err(error) => {
                tracing::warn!(?key, %error, "a record can't be read: made again");
                Ok(None)
            }
        }
    }

    /// Stores `record`. What it names must be stored already.
    pub async fn write<T: Serialize + Sync>(
        &self,
        key: &RecordKey,
        record: &T,
    ) -> Result<(), StorageError> {
        // Serialising to memory can't fail; were it to, the record is made again.
        let content = serde_json::to_vec(&Versioned { version: VERSION, record });
        self.0.write_record(key, &content.unwrap_or_default()).await
    }

    /// Whether all of `blobs` are stored, with the lengths that they must have.
    pub async fn are_stored(
        &self,
        blobs: impl IntoIterator<Item = Descriptor>,
    ) -> Result<bool, StorageError> {
        for Descriptor { digest, size } in blobs {
            if self.0.blob_size(&digest).await? != Some(size) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::storage::Memory;

    fn inputs<'a>(
        source: &'a str,
        packages: &'a [&'a str],
        popularity: &'a Digest,
    ) -> ManifestInputs<'a> {
        let (system, level, max_layers) = ("x86_64-linux", 5, 94);
        ManifestInputs { source, system, packages, level, max_layers, popularity }
    }

    /// The Go program joined the names with nothing between them, and left the
    /// platform out.
    #[test]
    fn different_images_have_different_keys() {
        let popularity = Digest::of(b"");
        let base = inputs("s", &["ab", "c"], &popularity);
        let others = [
            inputs("s", &["a", "bc"], &popularity),
            inputs("s", &["abc"], &popularity),
            inputs("sa", &["b", "c"], &popularity),
            inputs("s", &["ab", "c", ""], &popularity),
            ManifestInputs { system: "aarch64-linux", ..base },
            ManifestInputs { level: 6, ..base },
            ManifestInputs { max_layers: 93, ..base },
            ManifestInputs { popularity: &Digest::of(b"other"), ..base },
        ];
        for other in others {
            assert_ne!(manifest_key(base), manifest_key(other), "{other:?}");
        }
        assert_eq!(manifest_key(base), manifest_key(base));
    }

    #[test]
    fn a_layer_and_a_root_file_system_of_the_same_paths_are_two_things() {
        assert_ne!(layer_key(5, &[]), rootfs_key(5, &[]));
    }

    proptest! {
        #[test]
        fn no_two_images_share_a_key(
            images in proptest::collection::vec(
                ("[ab/]{0,3}", proptest::collection::vec("[ab]{0,3}", 0..4)), 2..30)
        ) {
            let popularity = Digest::of(b"");
            let mut seen = HashMap::new();
            for (source, packages) in &images {
                let names: Vec<&str> = packages.iter().map(String::as_str).collect();
                let key = manifest_key(inputs(source, &names, &popularity));
                let before = seen.insert(key, (source, packages));
                prop_assert!(before.is_none_or(|image| image == (source, packages)));
            }
        }
    }

    #[tokio::test]
    async fn records_that_cannot_be_used_count_as_absent() {
        let storage = Arc::new(Memory::default());
        let records = Records::new(storage.clone());
        let key = layer_key(5, &[]);
        let record = ManifestRecord { manifests: vec![Descriptor::of(b"m")] };
        records.write(&key, &record).await.unwrap();
        let good = storage.read_record(&key).await.unwrap().unwrap();
        assert_eq!(records.read::<ManifestRecord>(&key).await.unwrap(), Some(record));

        let text = String::from_utf8(good.to_vec()).unwrap();
        let other_version = text.replace("\"version\":1", "\"version\":2");
        let with_more = text.replace("\"version\":1", "\"version\":1,\"more\":1");
        for damaged in [&text[..text.len() / 2], "", "{}", &other_version, &with_more] {
            storage.write_record(&key, damaged.as_bytes()).await.unwrap();
            assert_eq!(records.read::<ManifestRecord>(&key).await.unwrap(), None, "{damaged}");
        }
    }

    #[tokio::test]
    async fn blobs_are_stored_only_with_the_right_length() {
        let storage = Arc::new(Memory::default());
        let records = Records::new(storage.clone());
        storage.put_blob(b"one").await.unwrap();
        let (one, two) = (Descriptor::of(b"one"), Descriptor::of(b"two"));
        assert!(records.are_stored([one]).await.unwrap());
        assert!(!records.are_stored([one, two]).await.unwrap());
        assert!(!records.are_stored([Descriptor { size: 4, ..one }]).await.unwrap());
    }
}
