//! Blobs and records in memory: for tests, and for trying things.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Blob, BlobWriter, RecordKey, Storage, StorageError};
use crate::oci::Digest;

/// A storage that ends with the process.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<Content>>);

#[derive(Debug, Default)]
struct Content {
    records: HashMap<RecordKey, Bytes>,
    blobs: HashMap<Digest, Bytes>,
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
        self.lock().records.insert(key.clone(), Bytes::copy_from_slice(content));
        Ok(())
    }

    async fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, StorageError> {
        Ok(self.lock().blobs.get(digest).map(|content| content.len() as u64))
    }

    async fn open_blob(&self, digest: &Digest) -> Result<Option<Blob>, StorageError> {
        Ok(self.lock().blobs.get(digest).cloned().map(Blob::in_memory))
    }

    async fn put_blob(&self, content: &[u8]) -> Result<Digest, StorageError> {
        let digest = Digest::of(content);
        self.lock().blobs.insert(digest, Bytes::copy_from_slice(content));
        Ok(digest)
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

impl BlobWriter for Writer {
    fn commit(self: Box<Self>, digest: &Digest) -> Result<(), StorageError> {
        self.storage.lock().blobs.insert(*digest, self.content.into());
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
