//! Blobs and records in memory: for tests, and for trying things.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    Blob, BlobSink, BlobWriter, Object, RecordKey, Removal, Storage, StorageError, Stored,
};
use crate::oci::Digest;

/// A storage that ends with the process.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<Content>>);

#[derive(Debug, Default)]
struct Content {
    records: HashMap<RecordKey, Bytes>,
    blobs: HashMap<Digest, Bytes>,
    used: HashMap<Object, SystemTime>,
}

impl Content {
    fn put(&mut self, object: Object, bytes: Bytes) {
        self.used.insert(object.clone(), SystemTime::now());
        match object {
            Object::Blob(digest) => drop(self.blobs.insert(digest, bytes)),
            Object::Record(key) => drop(self.records.insert(key, bytes)),
        }
    }

    fn has(&self, object: &Object) -> bool {
        match object {
            Object::Blob(digest) => self.blobs.contains_key(digest),
            Object::Record(key) => self.records.contains_key(key),
        }
    }
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, Content> {
        // Maps of plain values are whole after any panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Storage for Memory {
    async fn check(&self) -> Result<(), StorageError> {
        Ok(())
    }

    async fn read_record(&self, key: &RecordKey) -> Result<Option<Bytes>, StorageError> {
        Ok(self.lock().records.get(key).cloned())
    }

    async fn write_record(&self, key: &RecordKey, content: &[u8]) -> Result<(), StorageError> {
        self.lock().put(Object::Record(key.clone()), Bytes::copy_from_slice(content));
        Ok(())
    }

    async fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, StorageError> {
        Ok(self.lock().blobs.get(digest).map(|content| content.len() as u64))
    }

    async fn open_blob(&self, digest: &Digest) -> Result<Option<Blob>, StorageError> {
        Ok(self.lock().blobs.get(digest).cloned().map(Blob::in_memory))
    }

    async fn put_blob(&self, content: &[u8], _media_type: &str) -> Result<Digest, StorageError> {
        let digest = Digest::of(content);
        self.lock().put(Object::Blob(digest), Bytes::copy_from_slice(content));
        Ok(digest)
    }

    async fn touch(&self, object: &Object) -> Result<bool, StorageError> {
        let mut content = self.lock();
        let is_there = content.has(object);
        if is_there {
            content.used.insert(object.clone(), SystemTime::now());
        }
        Ok(is_there)
    }

    async fn list(&self) -> Result<Vec<Stored>, StorageError> {
        let content = self.lock();
        let records =
            content.records.iter().map(|(key, bytes)| (Object::Record(key.clone()), bytes));
        let blobs = content.blobs.iter().map(|(digest, bytes)| (Object::Blob(*digest), bytes));
        let stored = |(object, bytes): (Object, &Bytes)| Stored {
            size: bytes.len() as u64,
            used: content.used.get(&object).copied().unwrap_or(SystemTime::UNIX_EPOCH),
            object,
        };
        Ok(records.chain(blobs).map(stored).collect())
    }

    async fn remove(
        &self,
        object: &Object,
        not_used_since: SystemTime,
    ) -> Result<Removal, StorageError> {
        let mut content = self.lock();
        if content.used.get(object).is_some_and(|used| *used > not_used_since) {
            return Ok(Removal::Used);
        }
        if !content.has(object) {
            return Ok(Removal::Absent);
        }
        match object {
            Object::Blob(digest) => drop(content.blobs.remove(digest)),
            Object::Record(key) => drop(content.records.remove(key)),
        }
        content.used.remove(object);
        Ok(Removal::Removed)
    }

    fn create_blob(&self) -> Result<Box<dyn BlobWriter>, StorageError> {
        Ok(Box::new(Writer { storage: self.clone(), content: Vec::new() }))
    }
}

struct Writer {
    storage: Memory,
    content: Vec<u8>,
}

impl Write for Writer {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.content.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BlobSink for Writer {}

impl BlobWriter for Writer {
    fn commit(self: Box<Self>, digest: &Digest, _md5: &[u8; 16]) -> Result<(), StorageError> {
        self.storage.lock().put(Object::Blob(*digest), self.content.into());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keeps_the_contract() {
        super::super::contract::check(Arc::new(Memory::default())).await;
    }
}
