//! What is made of the files that say who the server is: made anew when the service
//! refuses it, or when somebody says so.
//!
//! The SDK's credentials give up for ever at the first refusal, such as while an account's
//! rights are being changed; and with a key that is none of the account's any more, tokens
//! are made as before and refused by whoever gets them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use google_cloud_auth::credentials::{CacheableResource, Credentials, CredentialsProvider};
use google_cloud_auth::signer::Signer;
use google_cloud_gax::error::CredentialsError;
use http::{Extensions, HeaderMap};
use tokio::time::timeout;

use super::options::BucketOptions;
use super::setup::SetupError;
use crate::error_chain::ErrorChain;

/// How long to wait before they are made anew again.
const PAUSE: Duration = Duration::from_secs(5);

/// Credentials and the signer of URLs, and how they are made.
#[derive(Clone, Debug)]
pub(super) struct Renewed(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: BucketOptions,
    present: Mutex<Present>,
}

#[derive(Debug)]
struct Present {
    credentials: Credentials,
    /// `None` where URLs are not signed.
    signer: Option<Signer>,
    made: Instant,
}

impl Present {
    fn make(options: &BucketOptions) -> Result<Self, SetupError> {
        let (credentials, signer) = (options.credentials()?, options.signer()?);
        Ok(Self { credentials, signer, made: Instant::now() })
    }
}

impl Renewed {
    pub(super) fn new(options: &BucketOptions) -> Result<Self, SetupError> {
        let present = Mutex::new(Present::make(options)?);
        Ok(Self(Arc::new(Inner { options: options.clone(), present })))
    }

    fn lock(&self) -> MutexGuard<'_, Present> {
        // Each step leaves it whole.
        self.0.present.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn credentials(&self) -> Credentials {
        self.lock().credentials.clone()
    }

    /// What signs URLs at present, and when it was made.
    pub(super) fn signer(&self) -> Option<(Signer, Instant)> {
        let present = self.lock();
        present.signer.clone().map(|signer| (signer, present.made))
    }

    /// Makes them anew. Files that can't be used leave what there is.
    pub(super) fn renew(&self) {
        match Present::make(&self.0.options) {
            Ok(new) => *self.lock() = new,
            Err(error) => {
                let error = ErrorChain(&error).to_string();
                tracing::error!(error, "keeping the credentials for Cloud Storage that there are");
            }
        }
    }

    /// The same if the service refuses those that there are, unless they were made just
    /// now. Whether there are others now.
    pub(super) fn renew_refused(&self, error: &dyn std::error::Error) -> bool {
        if self.lock().made.elapsed() < PAUSE {
            return false;
        }
        let error = ErrorChain(error).to_string();
        tracing::warn!(error, "the credentials for Cloud Storage were refused: making them anew");
        self.renew();
        true
    }
}

impl CredentialsProvider for Renewed {
    async fn headers(
        &self,
        extensions: Extensions,
    ) -> Result<CacheableResource<HeaderMap>, CredentialsError> {
        let error = match self.credentials().headers(extensions.clone()).await {
            Err(error) if !error.is_transient() => error,
            other => return other,
        };
        if self.renew_refused(&error) {
            return self.credentials().headers(extensions).await;
        }
        Err(error)
    }

    async fn universe_domain(&self) -> Option<String> {
        // Asked for when the client is made; who doesn't answer keeps nobody from starting.
        let domain = timeout(self.0.options.patience, self.credentials().universe_domain()).await;
        domain.ok().flatten()
    }
}
