//! Blobs and records in a bucket of Google Cloud Storage, which any number of servers
//! share.
//!
//! An object has its name only with all of its bytes, which the service has compared; and
//! whatever depends on what others have written meanwhile is done on condition of the
//! object's generation. The mark of use is the time at which an object's metadata changed,
//! by the service's clock.

mod api;
mod bucket;
mod clock;
mod collect;
mod download;
mod error;
mod key;
mod options;
mod redirect;
mod renewed;
mod resource;
mod retry;
mod setup;
mod upload;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use google_cloud_auth::credentials::Credentials;
use google_cloud_gax::retry_policy::NeverRetry;
use google_cloud_storage::client::Storage as Client;
use quick_cache::sync::Cache;
use tokio::runtime::Handle;
use tokio::time::timeout;

pub use error::BucketError;
pub use key::KeyError;
pub use options::{BucketOptions, Delivery, GOOGLE, Identity, PATIENCE};
pub use setup::SetupError;

use super::{
    Blob, BlobWriter, MARK_INTERVAL, Object, RecordKey, Removal, Served, Storage, StorageError,
    Stored,
};
use crate::error_chain::ErrorChain;
use crate::oci::Digest;
use api::Api;
use bucket::{Bucket, Kind, NO_STORE, checksums_of, name_of};
use collect::ABANDONED;
use download::Remote;
use error::about;
use redirect::Redirects;
use renewed::Renewed;
use resource::Checksums;
use upload::Upload;

/// How long a blob that was seen is taken to be there when a client asks for it, without
/// the bucket being asked.
const SEEN: Duration = MARK_INTERVAL;

/// Objects that are remembered to be there. Each takes about 150 bytes.
const REMEMBERED: usize = 100_000;

/// A bucket with blobs and records.
#[derive(Debug)]
pub struct Gcs {
    shared: Arc<Shared>,
    runtime: Handle,
}

#[derive(Debug)]
struct Shared {
    bucket: Arc<Bucket>,
    renewed: Renewed,
    redirects: Option<Redirects>,
    /// Lengths of blobs, and when they were seen.
    seen: Cache<Digest, (u64, Instant)>,
    /// What was marked, and when.
    marked: Cache<Object, Instant>,
}

impl Gcs {
    /// Uses a bucket, without asking for anything yet.
    pub async fn open(options: &BucketOptions) -> Result<Self, SetupError> {
        if options.sends_secrets_in_the_clear() {
            tracing::warn!(
                endpoint = options.endpoint,
                "credentials are sent without TLS: gcs.endpoint should begin with https://"
            );
        }
        let renewed = Renewed::new(options)?;
        let credentials: Credentials = renewed.clone().into();
        let client = Client::builder()
            .with_endpoint(&options.endpoint)
            .with_credentials(credentials.clone())
            // See `Retries`.
            .with_retry_policy(NeverRetry)
            .build()
            .await
            .map_err(|error| SetupError::Client(error.into()))?;
        let api = Api::new(credentials, renewed.clone(), options)
            .map_err(|error| SetupError::Client(error.into()))?;
        let bucket = Arc::new(Bucket {
            client,
            api,
            name: options.bucket.clone(),
            endpoint: options.endpoint.clone(),
            patience: options.patience,
        });
        let redirects = match options.delivery {
            Delivery::Streamed => None,
            Delivery::Public
            | Delivery::Signed
            | Delivery::SignedWithKey { .. }
            | Delivery::SignedByService => {
                Some(Redirects::new(options.public_endpoint.clone(), renewed.clone()))
            }
        };
        let shared = Shared {
            bucket,
            renewed,
            redirects,
            seen: Cache::new(REMEMBERED),
            marked: Cache::new(REMEMBERED),
        };
        Ok(Self { shared: Arc::new(shared), runtime: Handle::current() })
    }

    /// Removes what writers that were killed have left.
    pub async fn remove_abandoned(&self) -> Result<(), StorageError> {
        self.shared.remove_unfinished(ABANDONED).await
    }

    fn blob(&self, digest: &Digest, size: u64) -> Blob {
        let remote = Remote {
            shared: Arc::clone(&self.shared),
            runtime: self.runtime.clone(),
            digest: *digest,
            size,
        };
        Blob::remote(Arc::new(remote), size)
    }

    /// The length of a blob that was seen a short while ago, or is now.
    async fn size_if_there(&self, digest: &Digest) -> Result<Option<u64>, StorageError> {
        match self.shared.seen.get(digest) {
            Some((size, seen)) if seen.elapsed() < SEEN => Ok(Some(size)),
            _ => self.blob_size(digest).await,
        }
    }
}

impl Shared {
    fn about(
        &self,
        action: &'static str,
        object: &Object,
    ) -> impl FnOnce(BucketError) -> StorageError {
        about(action, self.bucket.url(&name_of(object)))
    }

    fn forget(&self, object: &Object) {
        self.marked.remove(object);
        if let Object::Blob(digest) = object {
            self.seen.remove(digest);
        }
    }
}

#[async_trait]
impl Storage for Gcs {
    /// Whether the bucket is there, and answers.
    async fn check(&self) -> Result<(), StorageError> {
        let bucket = &self.shared.bucket;
        bucket.api.check().await.map_err(about("use", bucket.url("")))
    }

    async fn reload(&self) {
        self.shared.renewed.renew().await;
    }

    async fn read_record(&self, key: &RecordKey) -> Result<Option<Bytes>, StorageError> {
        let object = Object::Record(key.clone());
        self.shared.bucket.get(&name_of(&object)).await.map_err(self.shared.about("read", &object))
    }

    async fn write_record(&self, key: &RecordKey, content: &[u8]) -> Result<(), StorageError> {
        let object = Object::Record(key.clone());
        let fail = self.shared.about("write", &object);
        let wrote = async {
            let content = Bytes::copy_from_slice(content);
            let checksums = checksums_of(content.clone()).await?;
            let kind = Kind { media_type: "application/json", cache_control: NO_STORE };
            self.shared.bucket.put(&name_of(&object), content, &checksums, kind, None).await
        };
        wrote.await.map_err(fail)?;
        self.shared.marked.insert(object, Instant::now());
        Ok(())
    }

    async fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, StorageError> {
        let object = Object::Blob(*digest);
        let found = self.shared.bucket.api.stat(&name_of(&object)).await;
        let Some(resource) = found.map_err(self.shared.about("look for", &object))? else {
            self.shared.forget(&object);
            return Ok(None);
        };
        self.shared.seen.insert(*digest, (resource.size(), Instant::now()));
        Ok(Some(resource.size()))
    }

    async fn open_blob(&self, digest: &Digest) -> Result<Option<Blob>, StorageError> {
        let size = self.blob_size(digest).await?;
        Ok(size.map(|size| self.blob(digest, size)))
    }

    async fn serve_blob(&self, digest: &Digest) -> Result<Option<Served>, StorageError> {
        let Some(size) = self.size_if_there(digest).await? else { return Ok(None) };
        let ahead = self.shared.bucket.api.clock.seconds_ahead();
        let Some(redirects) = &self.shared.redirects else {
            return Ok(Some(Served::Here(self.blob(digest, size))));
        };
        if !redirects.are_good(ahead) {
            tracing::error!(
                "sending a blob itself, as URLs that this machine signs would be refused: the \
                 service's clock is {ahead} seconds ahead"
            );
            return Ok(Some(Served::Here(self.blob(digest, size))));
        }
        let object = Object::Blob(*digest);
        let name = name_of(&object);
        let url = redirects.url(&self.shared.bucket.name, &name);
        let url = timeout(self.shared.bucket.patience, url).await;
        match url.unwrap_or(Err(BucketError::TimedOut)) {
            Ok(url) => Ok(Some(Served::At(url.to_string()))),
            Err(error) => {
                let error = ErrorChain(&error).to_string();
                tracing::error!(error, "sending a blob itself, as its URL can't be signed");
                Ok(Some(Served::Here(self.blob(digest, size))))
            }
        }
    }

    async fn put_blob(&self, content: &[u8], media_type: &str) -> Result<Digest, StorageError> {
        let digest = Digest::of(content);
        let object = Object::Blob(digest);
        let content = Bytes::copy_from_slice(content);
        let checksums = Checksums::of(&content);
        let (bucket, name) = (&self.shared.bucket, name_of(&object));
        let put = bucket.ensure_content(&name, &checksums, content, media_type).await;
        put.map_err(self.shared.about("write", &object))?;
        self.shared.seen.insert(digest, (checksums.size, Instant::now()));
        self.shared.marked.insert(object, Instant::now());
        Ok(digest)
    }

    async fn touch(&self, object: &Object) -> Result<bool, StorageError> {
        self.shared.touch(object).await
    }

    async fn list(&self) -> Result<Vec<Stored>, StorageError> {
        self.shared.list().await
    }

    async fn remove(
        &self,
        object: &Object,
        not_used_since: SystemTime,
    ) -> Result<Removal, StorageError> {
        self.shared.remove(object, not_used_since).await
    }

    fn create_blob(&self) -> Result<Box<dyn BlobWriter>, StorageError> {
        Ok(Box::new(Upload::new(Arc::clone(&self.shared.bucket), self.runtime.clone())))
    }

    fn writer_memory(&self) -> usize {
        upload::MEMORY
    }
}

#[cfg(test)]
mod tests;
