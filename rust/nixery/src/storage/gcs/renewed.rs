//! Credentials that are made anew when they are of no use any more.
//!
//! The SDK's give up for ever at the first refusal, such as while an account's rights are
//! being changed.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use google_cloud_auth::credentials::{CacheableResource, Credentials, CredentialsProvider};
use google_cloud_gax::error::CredentialsError;
use http::{Extensions, HeaderMap};
use tokio::time::timeout;

use super::options::BucketOptions;

/// How long to wait before they are made anew again.
const PAUSE: Duration = Duration::from_secs(5);

/// Credentials, and how they are made.
#[derive(Debug)]
pub(super) struct Renewed {
    options: BucketOptions,
    present: Mutex<(Credentials, Instant)>,
}

impl Renewed {
    pub(super) fn new(options: &BucketOptions, first: Credentials) -> Self {
        Self { options: options.clone(), present: Mutex::new((first, Instant::now())) }
    }

    fn present(&self) -> Credentials {
        self.present.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// Others, unless these were made just now. A file that can't be read at the moment
    /// leaves those that there are.
    fn renew(&self) -> Option<Credentials> {
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        if present.1.elapsed() < PAUSE {
            return None;
        }
        let credentials = self.options.credentials().ok()?;
        *present = (credentials.clone(), Instant::now());
        Some(credentials)
    }
}

impl CredentialsProvider for Renewed {
    async fn headers(
        &self,
        extensions: Extensions,
    ) -> Result<CacheableResource<HeaderMap>, CredentialsError> {
        let error = match self.present().headers(extensions.clone()).await {
            Err(error) if !error.is_transient() => error,
            other => return other,
        };
        match self.renew() {
            Some(credentials) => {
                tracing::warn!(%error, "the credentials were refused: made anew");
                credentials.headers(extensions).await
            }
            None => Err(error),
        }
    }

    async fn universe_domain(&self) -> Option<String> {
        // Asked for when the client is made; who doesn't answer keeps nobody from starting.
        let domain = timeout(self.options.patience, self.present().universe_domain()).await;
        domain.ok().flatten()
    }
}
