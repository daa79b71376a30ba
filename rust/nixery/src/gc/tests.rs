use std::fs::File;
use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;
use tempfile::TempDir;

use super::plan::IN_USE;
use super::*;
use crate::archive::PathMembers;
use crate::cache::{LayerRecord, PathRecord, Records, layer_key, path_key};
use crate::oci::{Descriptor, Digest};
use crate::storage::{Blob, BlobWriter, Filesystem, Object, Removal, Stored};
use crate::store_path::StorePath;

/// A storage that has no room for records until a blob is removed.
#[derive(Debug)]
struct Full {
    storage: Filesystem,
    blob: Digest,
}

#[async_trait]
impl Storage for Full {
    async fn check(&self) -> Result<(), StorageError> {
        self.storage.check().await
    }
    async fn read_record(&self, key: &RecordKey) -> Result<Option<Bytes>, StorageError> {
        self.storage.read_record(key).await
    }
    async fn write_record(&self, key: &RecordKey, content: &[u8]) -> Result<(), StorageError> {
        match self.blob_size(&self.blob).await? {
            Some(_) => Err(StorageError::Full { path: key.to_string().into() }),
            None => self.storage.write_record(key, content).await,
        }
    }
    async fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, StorageError> {
        self.storage.blob_size(digest).await
    }
    async fn open_blob(&self, digest: &Digest) -> Result<Option<Blob>, StorageError> {
        self.storage.open_blob(digest).await
    }
    async fn put_blob(&self, content: &[u8], media_type: &str) -> Result<Digest, StorageError> {
        self.storage.put_blob(content, media_type).await
    }
    async fn touch(&self, object: &Object) -> Result<bool, StorageError> {
        self.storage.touch(object).await
    }
    async fn list(&self) -> Result<Vec<Stored>, StorageError> {
        self.storage.list().await
    }
    async fn remove(
        &self,
        object: &Object,
        not_used_since: SystemTime,
    ) -> Result<Removal, StorageError> {
        self.storage.remove(object, not_used_since).await
    }
    fn create_blob(&self) -> Result<Box<dyn BlobWriter>, StorageError> {
        self.storage.create_blob()
    }
}

fn age(file: &Path) {
    let old = SystemTime::now() - 2 * IN_USE;
    File::open(file).unwrap().set_modified(old).unwrap();
}

/// Otherwise a disk without a free byte would stay so.
#[tokio::test]
async fn records_that_have_no_room_are_written_when_there_is() {
    let directory = TempDir::new().unwrap();
    let storage = Filesystem::open(directory.path()).unwrap();
    let old = storage.put_blob(b"an old layer", "").await.unwrap();
    let new = storage.put_blob(b"a new layer, with the same path", "").await.unwrap();
    let path = StorePath::new(format!("/nix/store/{}-bash", "0".repeat(32))).unwrap();
    let members =
        PathMembers { path: path.clone(), offset: 0, members: vec![12], uncompressed: 12 };
    let layer = LayerRecord {
        diff_id: new,
        blob: Descriptor { digest: new, size: 31 },
        md5: [0; 16],
        uncompressed_size: 12,
        level: 5,
        members: vec![members.clone()],
    };
    let of_old = PathRecord { blob: Descriptor { digest: old, size: 12 }, level: 5, members };
    let key = path_key(5, &path);
    let storage = Arc::new(storage);
    let records = Records::new(storage.clone());
    records.write(&key, &of_old).await.unwrap();
    records.write(&layer_key(5, std::slice::from_ref(&path)), &layer).await.unwrap();
    drop(records);
    for name in [format!("layers/{}", old.hex()), key.to_string()] {
        age(&directory.path().join(name));
    }

    let storage: Arc<dyn Storage> =
        Arc::new(Full { storage: Arc::into_inner(storage).unwrap(), blob: old });
    let limits = Limits { keep: Duration::from_hours(1), max_bytes: None, missing: 0 };
    let report = collect(&storage, &limits, false).await.unwrap();
    assert_eq!((report.blobs, report.bytes), (1, 12));
    let moved: PathRecord = Records::new(storage).read(&key).await.unwrap().unwrap();
    assert_eq!(moved.blob.digest, new, "what was packed is found in the layer that is left");
}
