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
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::error::BucketError;
use super::options::BucketOptions;
use super::setup::SetupError;
use crate::error_chain::ErrorChain;

/// How long to wait before they are made anew again.
const PAUSE: Duration = Duration::from_secs(5);

/// For how long their files are waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Credentials and the signer of URLs, and how they are made.
#[derive(Clone, Debug)]
pub(super) struct Renewed(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: BucketOptions,
    present: Mutex<Present>,
    /// When somebody began to make them last. One does at a time.
    tried: tokio::sync::Mutex<Instant>,
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
        let tried = tokio::sync::Mutex::new(Instant::now());
        Ok(Self(Arc::new(Inner { options: options.clone(), present, tried })))
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

    /// Makes them anew. Files that can't be used leave what there is. Whether there are
    /// others now.
    pub(super) async fn renew(&self) -> bool {
        let options = self.0.options.clone();
        let made = timeout(PATIENCE, spawn_blocking(move || Present::make(&options))).await;
        let error = match made {
            Ok(Ok(Ok(new))) => {
                *self.lock() = new;
                return true;
            }
            Ok(Ok(Err(error))) => ErrorChain(&error).to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "their files can't be read in time".to_owned(),
        };
        tracing::error!(error, "keeping the credentials for Cloud Storage that there are");
        false
    }

    /// The same if the service has refused what was there at `began`, unless that was tried
    /// just now. Whether there are others since then.
    pub(super) async fn renew_refused(&self, began: Instant, error: &BucketError) -> bool {
        let mut tried = self.0.tried.lock().await;
        if self.lock().made > began {
            return true;
        }
        if tried.elapsed() < PAUSE {
            return false;
        }
        *tried = Instant::now();
        let error = ErrorChain(error).to_string();
        tracing::warn!(error, "the credentials for Cloud Storage were refused: making them anew");
        self.renew().await
    }
}

impl CredentialsProvider for Renewed {
    async fn headers(
        &self,
        extensions: Extensions,
    ) -> Result<CacheableResource<HeaderMap>, CredentialsError> {
        let began = Instant::now();
        let error = match self.credentials().headers(extensions.clone()).await {
            Err(error) if !error.is_transient() => error,
            other => return other,
        };
        let told = BucketError::Refused { status: 401, message: error.to_string() };
        if self.renew_refused(began, &told).await {
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
