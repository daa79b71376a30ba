//! Which bucket, and how.

use std::path::{Path, PathBuf};
use std::time::Duration;

use google_cloud_auth::credentials::{
    Credentials, anonymous, external_account, impersonated, mds, service_account, user_account,
};
use google_cloud_auth::signer::Signer;
use serde_json::Value;

use super::key::{AccountKey, KeyError, read, told};
use super::setup::SetupError;

/// Where the service is, if no other place is set.
pub const GOOGLE: &str = "https://storage.googleapis.com";

/// How long the service may take, if nothing else is said.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What the server asks to be let do: only this has what is needed for metadata, and for
/// having URLs signed. What it may do is up to its permissions
/// (<https://cloud.google.com/storage/docs/json_api/v1/objects/patch>).
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// What is known of a bucket before it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketOptions {
    /// Its name.
    pub bucket: String,
    /// URL of the service, without a slash at its end, as this server reaches it.
    pub endpoint: String,
    /// The same as clients reach it.
    pub public_endpoint: String,
    /// Who the server is.
    pub identity: Identity,
    /// How clients get blobs.
    pub delivery: Delivery,
    /// How long the service may take until an answer begins or goes on. The same is tried
    /// again for three times as long.
    pub patience: Duration,
}

/// Who the server is for the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Whoever the metadata server of Google's machines says.
    MetadataServer,
    /// Whoever this credentials file says.
    File(PathBuf),
    /// Nobody.
    Anonymous,
}

/// How clients get blobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// From this server.
    Streamed,
    /// From the bucket, which everybody may read.
    Public,
    /// From the bucket by a URL that is signed with the key in this file (PEM), for this
    /// service account.
    SignedWithKey {
        /// The file.
        key: PathBuf,
        /// Its account.
        account: String,
    },
    /// The same with the key in the credentials file, where that has one; otherwise as
    /// [`Self::Public`].
    Signed,
    /// The same, signed by Google's service for that (IAM, signBlob).
    SignedByService,
}

impl BucketOptions {
    /// Whether credentials go over a network that others may read.
    pub(super) fn sends_secrets_in_the_clear(&self) -> bool {
        let is_local =
            |host: &str| ["127.", "localhost", "[::1]"].iter().any(|local| host.starts_with(local));
        let host = self.endpoint.strip_prefix("http://");
        host.is_some_and(|host| !is_local(host)) && self.identity != Identity::Anonymous
    }

    pub(super) fn credentials(&self) -> Result<Credentials, SetupError> {
        match &self.identity {
            Identity::Anonymous => Ok(anonymous::Builder::new().build()),
            Identity::MetadataServer => mds::Builder::default()
                .with_scopes([SCOPE])
                .build()
                .map_err(SetupError::NoCredentials),
            Identity::File(path) => from_file(path),
        }
    }

    /// What signs URLs; `None` where they are not signed.
    pub(super) fn signer(&self) -> Result<Option<Signer>, SetupError> {
        match &self.delivery {
            Delivery::Streamed | Delivery::Public => Ok(None),
            Delivery::SignedWithKey { key, account } => {
                let key =
                    AccountKey::from_pem_file(key, account).map_err(SetupError::SigningKey)?;
                Ok(Some(key.into()))
            }
            Delivery::Signed => match &self.identity {
                Identity::File(path) => {
                    let key = AccountKey::from_account_file(path);
                    let key = key.map_err(SetupError::CredentialsFile)?;
                    Ok(key.map(Signer::from))
                }
                Identity::MetadataServer | Identity::Anonymous => Ok(None),
            },
            Delivery::SignedByService => match &self.identity {
                Identity::File(path) => Ok(Some(signer_of_file(path)?)),
                Identity::MetadataServer => {
                    let builder = mds::Builder::default().with_scopes([SCOPE]);
                    builder.build_signer().map(Some).map_err(SetupError::NoCredentials)
                }
                Identity::Anonymous => Err(SetupError::NobodyCanSign),
            },
        }
    }
}

fn parse(path: &Path) -> Result<(String, Value), SetupError> {
    let text = read(path).map_err(SetupError::CredentialsFile)?;
    let wrong = |problem: String| {
        SetupError::CredentialsFile(KeyError::Unusable { path: path.to_owned(), problem })
    };
    let document: Value = serde_json::from_str(&text).map_err(|error| {
        wrong(format!("is no credentials file, which is a JSON object: {}", told(&error)))
    })?;
    let Some(kind) = document["type"].as_str().map(str::to_owned) else {
        return Err(wrong("is no credentials file: it has no \"type\"".to_owned()));
    };
    Ok((kind, document))
}

/// The SDK reads only the file that a variable of this process names, and the
/// configuration may name another.
fn from_file(path: &Path) -> Result<Credentials, SetupError> {
    let (kind, document) = parse(path)?;
    let scopes = [SCOPE];
    let built = match kind.as_str() {
        "service_account" => {
            // The SDK would look at the key only when it is used.
            AccountKey::from_account_file(path).map_err(SetupError::CredentialsFile)?;
            let scopes = service_account::AccessSpecifier::from_scopes(scopes);
            service_account::Builder::new(document).with_access_specifier(scopes).build()
        }
        "authorized_user" => user_account::Builder::new(document).with_scopes(scopes).build(),
        "impersonated_service_account" => {
            impersonated::Builder::new(document).with_scopes(scopes).build()
        }
        "external_account" => external_account::Builder::new(document).with_scopes(scopes).build(),
        other => return Err(unknown_type(path, other)),
    };
    built.map_err(SetupError::NoCredentials)
}

fn signer_of_file(path: &Path) -> Result<Signer, SetupError> {
    let (kind, document) = parse(path)?;
    match kind.as_str() {
        "service_account" => {
            let key = AccountKey::from_account_file(path).map_err(SetupError::CredentialsFile)?;
            key.map(Signer::from).ok_or_else(|| unknown_type(path, &kind))
        }
        "impersonated_service_account" => {
            let builder = impersonated::Builder::new(document).with_scopes([SCOPE]);
            builder.build_signer().map_err(SetupError::NoCredentials)
        }
        _ => Err(SetupError::NobodyCanSign),
    }
}

fn unknown_type(path: &Path, kind: &str) -> SetupError {
    SetupError::CredentialsFile(KeyError::Unusable {
        path: path.to_owned(),
        problem: format!(
            "has credentials of the type {kind:?}, expected service_account, authorized_user, \
             impersonated_service_account or external_account"
        ),
    })
}
