//! URLs at which clients get blobs from the bucket themselves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use google_cloud_storage::builder::storage::SignedUrlBuilder;
use quick_cache::sync::Cache;

use super::error::BucketError;
use super::renewed::Renewed;

/// How long a URL is good for: clients begin at once, and what has begun goes on.
const VALID: Duration = Duration::from_mins(5);

/// How long the same URL is handed out: what then is left of it is enough to begin.
const KEPT: Duration = Duration::from_mins(2);

/// URLs that are kept. Each has about 800 bytes.
const CAPACITY: usize = 10_000;

/// By how much clocks may differ until URLs would be refused: they are good from the time
/// that they say on, and the service allows for some difference.
const TOLERANCE: i64 = 60;

/// Makes URLs.
#[derive(Debug)]
pub(super) struct Redirects {
    /// Without a slash at its end.
    endpoint: String,
    renewed: Renewed,
    /// With the time when they were signed.
    urls: Cache<String, (Instant, Arc<str>)>,
}

impl Redirects {
    /// Signed ones, or plain ones where there is no signer.
    pub(super) fn new(endpoint: String, renewed: Renewed) -> Self {
        Self { endpoint, renewed, urls: Cache::new(CAPACITY) }
    }

    /// Whether the URLs are signed.
    pub(super) fn are_signed(&self) -> bool {
        self.renewed.signer().is_some()
    }

    /// Whether the URLs are good if the service's clock is so many seconds ahead.
    pub(super) fn are_good(&self, seconds_ahead: i64) -> bool {
        !self.are_signed() || seconds_ahead.abs() <= TOLERANCE
    }

    /// The URL of an object.
    pub(super) async fn url(&self, bucket: &str, name: &str) -> Result<Arc<str>, BucketError> {
        let Some((signer, made)) = self.renewed.signer() else {
            return Ok(format!("{}/{bucket}/{name}", self.endpoint).into());
        };
        let kept = self.urls.get(name);
        // What an earlier key has signed may be refused now.
        let is_good = |signed: &Instant| signed.elapsed() < KEPT && *signed >= made;
        if let Some((_, url)) = kept.filter(|(signed, _)| is_good(signed)) {
            return Ok(url);
        }
        let now = Instant::now();
        let url = SignedUrlBuilder::for_object(format!("projects/_/buckets/{bucket}"), name)
            .with_endpoint(&self.endpoint)
            .with_expiration(VALID)
            .sign_with(&signer)
            .await
            .map_err(|error| BucketError::Signing(error.into()))?;
        let url: Arc<str> = url.into();
        self.urls.insert(name.to_owned(), (now, Arc::clone(&url)));
        Ok(url)
    }
}
