//! Finding out at start whether the bucket can be used, and if not, what to do about it.

use bytes::Bytes;
use google_cloud_auth::build_errors::Error as BuildError;
use thiserror::Error;
use uuid::Uuid;

use super::Gcs;
use super::api::Change;
use super::bucket::{BLOBS, Bucket, Kind, NO_STORE, checksums_of};
use super::error::BucketError;
use super::key::KeyError;

/// What the server does with objects.
const PERMISSIONS: [&str; 5] = [
    "storage.objects.create",
    "storage.objects.get",
    "storage.objects.list",
    "storage.objects.update",
    "storage.objects.delete",
];

/// Why a bucket can't be used.
#[derive(Debug, Error)]
pub enum SetupError {
    /// The credentials can't be used.
    #[error("the credentials for Cloud Storage can't be used")]
    NoCredentials(#[source] BuildError),
    /// There are no credentials.
    #[error(
        "no credentials for Cloud Storage: name a credentials file in \
         GOOGLE_APPLICATION_CREDENTIALS (gcs.credentials), or run where there is a metadata \
         server; for an emulator, set NIXERY_GCS_ANONYMOUS=true (gcs.anonymous)"
    )]
    NoToken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The credentials file can't be used.
    #[error("GOOGLE_APPLICATION_CREDENTIALS (gcs.credentials)")]
    CredentialsFile(#[source] KeyError),
    /// The key for URLs can't be used.
    #[error("GCS_SIGNING_KEY (gcs.signing_key)")]
    SigningKey(#[source] KeyError),
    /// The credentials are of nobody who could have something signed.
    #[error(
        "gcs.sign = \"iam\" needs the credentials of a service account, or of somebody who \
         impersonates one"
    )]
    NobodyCanSign,
    /// There is no client for the service.
    #[error("can't set up the client for Cloud Storage")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There is no such bucket.
    #[error(
        "there is no bucket {bucket} (Cloud Storage said: {message}); GCS_BUCKET (gcs.bucket) \
             names it"
    )]
    NoBucket {
        /// Its name.
        bucket: String,
        /// What the service said.
        message: String,
    },
    /// The account may not do all that is needed.
    #[error(
        "the server's account lacks {missing} in the bucket {bucket} (Cloud Storage said: \
         {message}); the role roles/storage.objectUser has all that is needed"
    )]
    Forbidden {
        /// Permissions.
        missing: String,
        /// The bucket's name.
        bucket: String,
        /// What the service said.
        message: String,
    },
    /// The account has all permissions, but something else forbids it.
    #[error(
        "Cloud Storage doesn't let the server {action} the bucket {bucket}, although its account \
         seems to have the permissions that are needed (it said: {message}). The credentials may \
         be limited: machines need the access scope cloud-platform; or the bucket's retention \
         policy or holds forbid it"
    )]
    OtherwiseForbidden {
        /// What was tried.
        action: &'static str,
        /// The bucket's name.
        bucket: String,
        /// What the service said.
        message: String,
    },
    /// The credentials are not accepted.
    #[error("Cloud Storage doesn't accept the credentials ({message}); {clocks}")]
    Unauthorized {
        /// What the service said.
        message: String,
        /// How the clocks compare.
        clocks: String,
    },
    /// Clients can't read the bucket.
    #[error(
        "clients can't get blobs from the bucket {bucket} without a signature (it answered \
         {status}): set GCS_SIGNING_KEY and GCS_SIGNING_ACCOUNT, or NIXERY_GCS_SIGN=iam (gcs.sign), or \
         let allUsers read it, or have the server send blobs itself with NIXERY_GCS_REDIRECT=false \
         (gcs.redirect)"
    )]
    NotPublic {
        /// Its name.
        bucket: String,
        /// HTTP status.
        status: u16,
    },
    /// Signed URLs are refused.
    #[error(
        "Cloud Storage refuses the URLs that this server signs ({status}: {message}): \
         GCS_SIGNING_KEY must be a key of the account that GCS_SIGNING_ACCOUNT names, and that \
         account must have storage.objects.get; {clocks}"
    )]
    SignatureRefused {
        /// HTTP status.
        status: u16,
        /// What the service said.
        message: String,
        /// How the clocks compare.
        clocks: String,
    },
    /// URLs can't be signed.
    #[error("can't sign URLs for clients")]
    CannotSign(#[source] BucketError),
    /// Anything else.
    #[error("can't {action} the bucket {bucket} at {endpoint}")]
    Failed {
        /// What was tried.
        action: &'static str,
        /// Its name.
        bucket: String,
        /// URL of the service.
        endpoint: String,
        /// Why it failed.
        source: BucketError,
    },
}

impl Gcs {
    /// Writes, reads, lists and deletes something, and gets it as clients would.
    pub async fn probe(&self) -> Result<(), SetupError> {
        let bucket = &self.shared.bucket;
        // Beside the blobs: access may be given by prefix.
        let name = format!("{BLOBS}/.probe-{}", Uuid::new_v4());
        // First what takes least time, in case that nobody answers at all.
        if let Err(error) = bucket.api.stat(&name).await {
            return Err(diagnose(bucket, "read from", error).await);
        }
        let result = self.try_all(bucket, &name).await;
        let deleted = match bucket.api.delete(&name, None).await {
            Ok(_) => Ok(()),
            Err(error) => Err(diagnose(bucket, "delete objects from", error).await),
        };
        result.and(deleted)
    }

    async fn try_all(&self, bucket: &Bucket, name: &str) -> Result<(), SetupError> {
        let content = Bytes::from_static(b"Written to see whether this bucket can be used.\n");
        let kind = Kind { media_type: "text/plain", cache_control: NO_STORE };
        let wrote = async {
            let checksums = checksums_of(content.clone()).await?;
            bucket.put(name, content.clone(), &checksums, kind, None).await
        };
        if let Err(error) = wrote.await {
            return Err(diagnose(bucket, "write to", error).await);
        }
        match bucket.get(name).await {
            Ok(Some(read)) if read == content => {}
            Ok(_) => return Err(failed(bucket, "read back from", BucketError::OtherBytes)),
            Err(error) => return Err(diagnose(bucket, "read from", error).await),
        }
        let marked = async {
            let resource = bucket.api.stat(name).await?.ok_or(BucketError::OtherBytes)?;
            bucket.api.mark(&resource).await
        };
        match marked.await {
            Ok(Change::Made(_)) => {}
            Ok(_) => return Err(failed(bucket, "mark objects in", BucketError::OtherBytes)),
            Err(error) => return Err(diagnose(bucket, "mark objects in", error).await),
        }
        if let Err(error) = bucket.api.list(name).await {
            return Err(diagnose(bucket, "list", error).await);
        }
        self.get_as_client(bucket, name).await
    }

    /// Follows the URL that clients would be given.
    async fn get_as_client(&self, bucket: &Bucket, name: &str) -> Result<(), SetupError> {
        let Some(redirects) = &self.shared.redirects else { return Ok(()) };
        let url = redirects.url(&bucket.name, name).await.map_err(SetupError::CannotSign)?;
        let answer = async {
            let client = reqwest::Client::builder().timeout(bucket.patience).build()?;
            let response = client.get(&*url).send().await?;
            Ok::<_, reqwest::Error>((response.status(), response.text().await?))
        };
        match answer.await {
            Ok((status, _)) if status.is_success() => Ok(()),
            Ok((status, body)) if redirects.are_signed() => Err(SetupError::SignatureRefused {
                status: status.as_u16(),
                message: body.chars().take(500).collect(),
                clocks: clocks(bucket),
            }),
            Ok((status, _)) => {
                Err(SetupError::NotPublic { bucket: bucket.name.clone(), status: status.as_u16() })
            }
            Err(error) => {
                // Clients may be where it can be reached.
                let error = error.without_url();
                tracing::warn!(%error, "can't try whether clients can get blobs from the bucket");
                Ok(())
            }
        }
    }
}

fn failed(bucket: &Bucket, action: &'static str, source: BucketError) -> SetupError {
    let (bucket, endpoint) = (bucket.name.clone(), bucket.endpoint.clone());
    SetupError::Failed { action, bucket, endpoint, source }
}

/// What is to be done about an error.
async fn diagnose(bucket: &Bucket, action: &'static str, error: BucketError) -> SetupError {
    let (status, message) = match error {
        BucketError::Refused { status, message } => (status, message),
        BucketError::Credentials { source, .. } => return SetupError::NoToken(source),
        BucketError::NoToken => {
            return SetupError::NoToken("nobody answered who could give some".into());
        }
        other => return failed(bucket, action, other),
    };
    let name = bucket.name.clone();
    match status {
        401 => {
            // Its refusal tells the time.
            let _ = bucket.api.stat(BLOBS).await;
            SetupError::Unauthorized { message, clocks: clocks(bucket) }
        }
        403 => {
            let missing = match bucket.api.test_permissions(&PERMISSIONS).await {
                Ok(held) => {
                    let lacks = |name: &&str| !held.iter().any(|held| held == name);
                    PERMISSIONS.into_iter().filter(lacks).collect::<Vec<_>>().join(", ")
                }
                Err(_) => String::new(),
            };
            if missing.is_empty() {
                return SetupError::OtherwiseForbidden { action, bucket: name, message };
            }
            SetupError::Forbidden { missing, bucket: name, message }
        }
        404 => SetupError::NoBucket { bucket: name, message },
        _ => failed(bucket, action, BucketError::Refused { status, message }),
    }
}

fn clocks(bucket: &Bucket) -> String {
    match bucket.api.clock.seconds_ahead() {
        ahead if ahead.abs() < 30 => "the clocks agree".to_owned(),
        ahead if ahead < 0 => {
            format!("this machine's clock is {} seconds ahead of the service's: set it", -ahead)
        }
        ahead => format!("this machine's clock is {ahead} seconds behind the service's: set it"),
    }
}
