//! The objects of the bucket: what they are called, and how they are read and written.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use google_cloud_storage::client::Storage as Client;
use google_cloud_storage::model_ext::ReadRange;
use google_cloud_storage::read_object::ReadObjectResponse;
use tokio::time::timeout;

use super::api::{Api, Change};
use super::error::BucketError;
use super::resource::{Checksums, Resource};
use super::retry::TRIED;
use crate::storage::{MARK_INTERVAL, MAX_RECORD, Object};

/// The prefix of blobs.
pub(super) const BLOBS: &str = "layers";

/// The prefix of parts of blobs that are being written.
pub(super) const STAGING: &str = "staging";

/// What clients and proxies may do with a blob: it never changes.
pub(super) const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// The same for what is replaced, or gone in a moment. Without that the service says
/// that what is public may be kept for an hour.
pub(super) const NO_STORE: &str = "no-store";

/// How often something is looked at again that others change at the same time.
pub(super) const ROUNDS: usize = 10;

/// How long to wait before that.
const ROUND: Duration = Duration::from_millis(100);

/// How long an answer to content may take, in times of others: 8 MiB have to get there
/// first, over slow lines too.
const SENDING: u32 = 6;

/// How old a mark is before it is renewed. What is remembered of it is for as long again.
pub(super) const RENEWED: Duration = Duration::from_secs(MARK_INTERVAL.as_secs() / 2);

/// A bucket.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) client: Client,
    pub(super) api: Api,
    pub(super) name: String,
    /// URL of the service.
    pub(super) endpoint: String,
    /// How long an answer may take to begin, or to go on.
    pub(super) patience: Duration,
}

/// How something is written.
pub(super) struct Kind<'a> {
    pub(super) media_type: &'a str,
    pub(super) cache_control: &'a str,
}

/// The name of an object.
pub(super) fn name_of(object: &Object) -> String {
    match object {
        Object::Blob(digest) => format!("{BLOBS}/{}", digest.hex()),
        Object::Record(key) => key.to_string(),
    }
}

impl Bucket {
    /// What the SDK calls the bucket.
    pub(super) fn path(&self) -> String {
        format!("projects/_/buckets/{}", self.name)
    }

    /// What people call an object of it.
    pub(super) fn url(&self, name: &str) -> String {
        format!("gs://{}/{name}", self.name)
    }

    /// Writes an object where there is this generation of it now, 0 for none; without
    /// that, whatever is there.
    ///
    /// The service refuses content that has other checksums (`md5Hash` and `crc32c` of
    /// the object's metadata).
    pub(super) async fn put(
        &self,
        name: &str,
        content: Bytes,
        checksums: &Checksums,
        kind: Kind<'_>,
        expected: Option<i64>,
    ) -> Result<Change<i64>, BucketError> {
        let once = |_| {
            let (content, kind) = (content.clone(), &kind);
            async move { self.put_once(name, content, checksums, kind, expected).await }
        };
        match self.api.retries.run(self.patience * SENDING * TRIED, once).await {
            Ok(generation) => Ok(Change::Made(generation)),
            Err(error) if error.status() == Some(412) => Ok(Change::OtherVersion),
            Err(error) => Err(error),
        }
    }

    async fn put_once(
        &self,
        name: &str,
        content: Bytes,
        checksums: &Checksums,
        kind: &Kind<'_>,
        expected: Option<i64>,
    ) -> Result<i64, BucketError> {
        let write = self
            .client
            .write_object(self.path(), name, content)
            .set_content_type(kind.media_type)
            .set_cache_control(kind.cache_control)
            // The whole in one request: it can be sent again as it is.
            .with_resumable_upload_threshold(usize::MAX);
        let write = match expected {
            Some(generation) => write.set_if_generation_match(generation),
            None => write,
        };
        let write = write.with_known_md5_hash(checksums.md5).with_known_crc32c(checksums.crc32c);
        // Of 30 KB, which would be part of everything that waits for it.
        let sending = Box::pin(write.send_unbuffered());
        let sent =
            timeout(self.patience * SENDING, sending).await.map_err(|_| BucketError::TimedOut)?;
        Ok(sent?.generation)
    }

    /// The whole content of an object.
    pub(super) async fn get(&self, name: &str) -> Result<Option<Bytes>, BucketError> {
        let once = |_| async {
            let mut response = match self.begin_to_read(name, ReadRange::all(), None).await {
                Ok(response) => response,
                Err(error) if error.status() == Some(404) => return Ok(None),
                Err(error) => return Err(error),
            };
            let mut content = BytesMut::new();
            while let Some(piece) = self.next_piece(&mut response).await {
                content.extend_from_slice(&piece?);
                if content.len() as u64 > MAX_RECORD {
                    tracing::error!(
                        object = self.url(name),
                        "not read: it is too long for a record"
                    );
                    return Ok(None);
                }
            }
            Ok(Some(content.freeze()))
        };
        self.api.retries.run(self.patience * TRIED, once).await
    }

    pub(super) async fn begin_to_read(
        &self,
        name: &str,
        range: ReadRange,
        generation: Option<i64>,
    ) -> Result<ReadObjectResponse, BucketError> {
        let read = self.client.read_object(self.path(), name).set_read_range(range);
        let read = match generation {
            Some(generation) => read.set_generation(generation),
            None => read,
        };
        let response = timeout(self.patience, read.send()).await;
        Ok(response.map_err(|_| BucketError::TimedOut)??)
    }

    pub(super) async fn next_piece(
        &self,
        response: &mut ReadObjectResponse,
    ) -> Option<Result<Bytes, BucketError>> {
        match timeout(self.patience, response.next()).await {
            Ok(next) => Some(next?.map_err(BucketError::from)),
            Err(_) => Some(Err(BucketError::TimedOut)),
        }
    }

    /// Marks an object as used, unless that was done a short while ago. Whether it is
    /// still there; `None` if it has been replaced.
    pub(super) async fn mark(&self, version: &Resource) -> Result<Option<bool>, BucketError> {
        let age = self.api.clock.now().duration_since(version.used());
        if age.is_ok_and(|age| age >= RENEWED) {
            return Ok(match self.api.mark(version).await? {
                Change::Made(_) => Some(true),
                Change::Absent => Some(false),
                Change::OtherVersion => None,
            });
        }
        Ok(Some(true))
    }

    /// Makes an object have this content, and be marked as used.
    pub(super) async fn ensure_content(
        &self,
        name: &str,
        checksums: &Checksums,
        content: Bytes,
        media_type: &str,
    ) -> Result<(), BucketError> {
        let send = |expected| {
            let (content, kind) = (content.clone(), Kind { media_type, cache_control: IMMUTABLE });
            async move { Ok(self.put(name, content, checksums, kind, Some(expected)).await?.without()) }
        };
        self.ensure(name, checksums, send).await
    }

    /// Makes an object have what `checksums` say, and be marked as used, sending nothing where it
    /// has it already. `send` is told which generation is to be replaced, 0 for none.
    pub(super) async fn ensure<F>(
        &self,
        name: &str,
        checksums: &Checksums,
        mut send: impl FnMut(i64) -> F,
    ) -> Result<(), BucketError>
    where
        F: Future<Output = Result<Change<()>, BucketError>>,
    {
        for _ in 0..ROUNDS {
            let expected = match self.api.stat(name).await? {
                Some(there) if there.has(checksums) => match self.mark(&there).await? {
                    Some(true) => return Ok(()),
                    Some(false) | None => continue,
                },
                Some(other) => {
                    tracing::error!(object = self.url(name), "replacing what has other bytes");
                    other.generation
                }
                None => 0,
            };
            match send(expected).await? {
                Change::Made(()) => return Ok(()),
                // Somebody else was quicker, or our own first try whose answer was lost.
                Change::OtherVersion => tokio::time::sleep(ROUND).await,
                // What it was to be made from.
                Change::Absent => return Err(BucketError::OtherBytes),
            }
        }
        Err(BucketError::Contended)
    }
}

/// Takes milliseconds for megabytes, which others shall not wait for.
pub(super) async fn checksums_of(content: Bytes) -> Result<Checksums, BucketError> {
    let work = tokio::task::spawn_blocking(move || Checksums::of(&content));
    work.await.map_err(|error| BucketError::Unreachable(error.into()))
}
