//! Writing a blob whose digest, and so whose name, is known only at its end.
//!
//! It is sent in parts while it is made, each an object of its own that the service
//! checks and that is sent again if need be; at the end the service joins them, and what
//! it has is compared before it gets its name. Small blobs are one part and are written
//! under their name at once.
//!
//! <https://cloud.google.com/storage/docs/parallel-composite-uploads>

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::json;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::api::Change;
use super::bucket::{Bucket, IMMUTABLE, Kind, NO_STORE, STAGING, checksums_of, name_of};
use super::error::{BucketError, about};
use super::resource::{Checksums, Resource, Version};
use crate::concurrent::try_all;
use crate::oci::Digest;
use crate::storage::{BlobSink, BlobWriter, Object, StorageError};

/// Bytes of a part. A whole multiple of what the service stores at once (256 KiB).
const PART: usize = 8 << 20;

/// Parts on their way at the same time, for each blob. With the one that is being filled
/// these are all that is in memory.
const IN_FLIGHT: usize = 2;

/// Bytes of memory that a blob on its way takes.
pub(super) const MEMORY: usize = (IN_FLIGHT + 1) * PART;

/// Most objects that the service joins at once.
const COMPOSED: usize = 32;

/// What layers are (OCI image specification, "Image Layer Filesystem Changeset").
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A blob on its way to the bucket.
pub(super) struct Upload {
    bucket: Arc<Bucket>,
    runtime: Handle,
    /// Where its parts are.
    prefix: String,
    part: Vec<u8>,
    sending: VecDeque<JoinHandle<Result<Version, BucketError>>>,
    sent: Vec<Version>,
    parts: usize,
    size: u64,
    crc32c: u32,
}

impl Upload {
    pub(super) fn new(bucket: Arc<Bucket>, runtime: Handle) -> Self {
        Self {
            bucket,
            runtime,
            prefix: format!("{STAGING}/{}", Uuid::new_v4()),
            part: Vec::new(),
            sending: VecDeque::new(),
            sent: Vec::new(),
            parts: 0,
            size: 0,
            crc32c: 0,
        }
    }

    /// Sends what has gathered. Waits while enough is on its way.
    fn send_part(&mut self) -> Result<(), BucketError> {
        while self.sending.len() >= IN_FLIGHT {
            self.wait_for_part()?;
        }
        let name = format!("{}/{:06}", self.prefix, self.parts);
        let content = Bytes::from(std::mem::take(&mut self.part));
        self.parts += 1;
        let bucket = Arc::clone(&self.bucket);
        self.sending.push_back(self.runtime.spawn(send_part(bucket, name, content)));
        Ok(())
    }

    /// Waits for the part that was sent first.
    fn wait_for_part(&mut self) -> Result<(), BucketError> {
        let Some(sending) = self.sending.pop_front() else { return Ok(()) };
        let sent = self.runtime.block_on(sending);
        self.sent.push(sent.map_err(|error| BucketError::Unreachable(error.into()))??);
        Ok(())
    }

    fn finish(&mut self, digest: &Digest, md5: &[u8; 16]) -> Result<(), BucketError> {
        let checksums = Checksums { size: self.size, md5: *md5, crc32c: self.crc32c };
        let name = name_of(&Object::Blob(*digest));
        if self.parts == 0 {
            let content = Bytes::from(std::mem::take(&mut self.part));
            let (bucket, runtime) = (Arc::clone(&self.bucket), self.runtime.clone());
            return runtime.block_on(bucket.ensure_content(&name, &checksums, content, LAYER));
        }
        if !self.part.is_empty() {
            self.send_part()?;
        }
        while !self.sending.is_empty() {
            self.wait_for_part()?;
        }
        let parts = std::mem::take(&mut self.sent);
        let (bucket, runtime) = (Arc::clone(&self.bucket), self.runtime.clone());
        runtime.block_on(async {
            let whole = join(&bucket, &self.prefix, parts).await?;
            // What is joined has no MD5; that of each part was compared when it came.
            if !whole.has(&checksums) {
                return Err(BucketError::OtherBytes);
            }
            let give_name = |expected| {
                let (bucket, whole, name) = (&bucket, &whole, &name);
                async move { Ok(bucket.api.rewrite(whole, name, expected).await?.without()) }
            };
            bucket.ensure(&name, &checksums, give_name).await
        })
    }
}

/// Sends one part.
async fn send_part(
    bucket: Arc<Bucket>,
    name: String,
    content: Bytes,
) -> Result<Version, BucketError> {
    let kind = Kind { media_type: LAYER, cache_control: NO_STORE };
    let checksums = checksums_of(content.clone()).await?;
    match bucket.put(&name, content, &checksums, kind, Some(0)).await? {
        Change::Made(generation) => Ok(Version { name, generation }),
        // By a try whose answer was lost: nobody else knows the name.
        Change::OtherVersion | Change::Absent => match bucket.api.stat(&name).await? {
            Some(part) if part.has(&checksums) => Ok(part.version()),
            _ => Err(BucketError::OtherBytes),
        },
    }
}

/// Has the service join the parts, in their order.
async fn join(
    bucket: &Bucket,
    prefix: &str,
    mut parts: Vec<Version>,
) -> Result<Resource, BucketError> {
    let mut level = 0;
    loop {
        level += 1;
        let joined = parts.chunks(COMPOSED).enumerate().map(|(number, some)| {
            join_some(bucket, format!("{prefix}/joined-{level}-{number:06}"), some)
        });
        let mut joined = try_all(joined).await?;
        if joined.len() <= 1 {
            return joined.pop().ok_or(BucketError::OtherBytes);
        }
        parts = joined.iter().map(Resource::version).collect();
    }
}

async fn join_some(
    bucket: &Bucket,
    name: String,
    parts: &[Version],
) -> Result<Resource, BucketError> {
    let destination = json!({ "contentType": LAYER, "cacheControl": IMMUTABLE });
    match bucket.api.compose(parts, &name, &destination).await? {
        Change::Made(resource) => Ok(resource),
        // By a try whose answer was lost.
        Change::OtherVersion => bucket.api.stat(&name).await?.ok_or(BucketError::OtherBytes),
        Change::Absent => Err(BucketError::OtherBytes),
    }
}

/// Removes everything below a prefix of unfinished blobs; what can't be removed now is
/// when it is old.
pub(super) async fn remove_parts(bucket: &Bucket, prefix: &str) {
    let Ok(parts) = bucket.api.list(&format!("{prefix}/")).await else { return };
    let removed = try_all(parts.iter().map(|part| bucket.api.delete(&part.name, None))).await;
    if let Err(error) = removed {
        tracing::debug!(prefix, %error, "parts of a blob stay for a while");
    }
}

impl Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.part.len() == PART {
            self.send_part().map_err(|error| {
                io::Error::other(about("write a layer to", self.bucket.url(STAGING))(error))
            })?;
        }
        if self.part.capacity() == 0 && self.parts > 0 {
            self.part.reserve_exact(PART);
        }
        let taken = bytes.len().min(PART - self.part.len());
        self.part.extend_from_slice(&bytes[..taken]);
        self.crc32c = crc32c::crc32c_append(self.crc32c, &bytes[..taken]);
        self.size += taken as u64;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BlobSink for Upload {}

impl BlobWriter for Upload {
    fn commit(mut self: Box<Self>, digest: &Digest, md5: &[u8; 16]) -> Result<(), StorageError> {
        let object = self.bucket.url(&name_of(&Object::Blob(*digest)));
        self.finish(digest, md5).map_err(about("write", object))
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.parts == 0 {
            return;
        }
        let (bucket, prefix) = (Arc::clone(&self.bucket), std::mem::take(&mut self.prefix));
        let sending = std::mem::take(&mut self.sending);
        self.runtime.spawn(async move {
            // Not given up: the service may have all of it by now, and make the object later.
            join_all(sending).await;
            remove_parts(&bucket, &prefix).await;
        });
    }
}
