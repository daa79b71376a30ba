//! The key that URLs are signed with.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use google_cloud_auth::signer::{Result as SignerResult, SigningError, SigningProvider};
use rsa::PrivateKey;
use rsa::pkcs1::DecodeRsaPrivateKey;
use rsa::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use rsa::traits::PublicKeyParts;
use rustls::SignatureScheme;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::sign::Signer;
use serde::Deserialize;
use thiserror::Error;
use tokio::task::spawn_blocking;

use crate::small_file::{self, WRITTEN_BY_PEOPLE};

/// Why there is no key.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The file can't be read.
    #[error("can't read {path}", path = .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not what it should be.
    #[error("{path} {problem}", path = .path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What it is instead, and what would be right.
        problem: String,
    },
}

/// Signs for a service account.
#[derive(Clone)]
pub(super) struct AccountKey {
    account: String,
    signer: Arc<dyn Signer>,
}

impl std::fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccountKey").field("account", &self.account).finish_non_exhaustive()
    }
}

/// The part of a service account's file that matters here.
#[derive(Deserialize)]
struct AccountFile {
    client_email: String,
    private_key: String,
}

impl AccountKey {
    /// Reads a key in PEM.
    pub(super) fn from_pem_file(path: &Path, account: &str) -> Result<Self, KeyError> {
        let text = read(path)?;
        Self::new(account.to_owned(), &text).map_err(|problem| unusable_file(path, problem))
    }

    /// The key in a service account's JSON; `None` for credentials of another type.
    pub(super) fn from_account_file(path: &Path) -> Result<Option<Self>, KeyError> {
        let text = read(path)?;
        if type_of(&text).as_deref() != Some("service_account") {
            return Ok(None);
        }
        let file: AccountFile = serde_json::from_str(&text).map_err(|error| {
            unusable_file(path, format!("is no service account's: {}", told(&error)))
        })?;
        Self::new(file.client_email, &file.private_key).map(Some).map_err(|problem| {
            unusable_file(path, format!("can't be used, as its private_key {problem}"))
        })
    }

    fn new(account: String, pem: &str) -> Result<Self, String> {
        Ok(Self { account, signer: signer(&private_key(pem)?)?.into() })
    }
}

/// What is wrong with JSON, without the texts that are in it.
pub(super) fn told(error: &serde_json::Error) -> String {
    let message = error.to_string();
    if message.starts_with("missing field") {
        return message;
    }
    let what = if error.is_data() { "other values than expected" } else { "no JSON" };
    format!("{what}, at line {}", error.line())
}

/// What type of credentials a file has.
pub(super) fn type_of(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Typed {
        #[serde(rename = "type")]
        kind: String,
    }
    serde_json::from_str::<Typed>(text).ok().map(|typed| typed.kind)
}

pub(super) fn read(path: &Path) -> Result<String, KeyError> {
    let unreadable = |source| KeyError::Unreadable { path: path.to_owned(), source };
    let content = small_file::read(path, WRITTEN_BY_PEOPLE).map_err(unreadable)?;
    let binary = "isn't text; a .p12 file has to be turned into PEM, with `openssl pkcs12 -nocerts \
                  -nodes`";
    String::from_utf8(content).map_err(|_| unusable_file(path, binary.to_owned()))
}

fn unusable_file(path: &Path, problem: String) -> KeyError {
    KeyError::Unusable { path: path.to_owned(), problem }
}

/// What PEM files have (RFC 7468, RFC 8017).
const LABELS: [&str; 8] = [
    "PRIVATE KEY",
    "RSA PRIVATE KEY",
    "ENCRYPTED PRIVATE KEY",
    "EC PRIVATE KEY",
    "OPENSSH PRIVATE KEY",
    "PUBLIC KEY",
    "RSA PUBLIC KEY",
    "CERTIFICATE",
];

/// Reads a key in either of the forms that there are (RFC 5958 and RFC 8017).
fn private_key(pem: &str) -> Result<PrivateKey, String> {
    let expected =
        "expected a private RSA key in PEM, which begins with -----BEGIN PRIVATE KEY-----";
    if type_of(pem).is_some() {
        return Err(
            "is a credentials file in JSON: name it in GOOGLE_APPLICATION_CREDENTIALS instead, \
             without GCS_SIGNING_KEY and GCS_SIGNING_ACCOUNT"
                .into(),
        );
    }
    // Only labels that are known are shown: where line ends were lost, what follows the
    // first words of a line is the key itself.
    let label = pem.split("-----BEGIN ").nth(1).and_then(|rest| {
        let label = rest.split("-----").next().unwrap_or_default();
        LABELS.into_iter().find(|known| *known == label)
    });
    // What is before the key, such as the attributes that openssl writes, is no part of it.
    let pem = pem.find("-----BEGIN ").map_or(pem, |begin| &pem[begin..]);
    let parsed = match label {
        Some("PRIVATE KEY") => {
            PrivateKey::from_pkcs8_pem(pem.trim()).map_err(|error| error.to_string())
        }
        Some("RSA PRIVATE KEY") => {
            PrivateKey::from_pkcs1_pem(pem.trim()).map_err(|error| error.to_string())
        }
        Some("ENCRYPTED PRIVATE KEY") => {
            return Err("is protected by a passphrase: remove that, with `openssl pkcs8`".into());
        }
        Some(other) => return Err(format!("has a {}; {expected}", other.to_lowercase())),
        None => return Err(format!("has no key in it; {expected}")),
    };
    parsed.map_err(|error| format!("has a key that can't be read ({error}); {expected}"))
}

/// Signing is left to ring: it is three times as quick as the crate that reads keys, and
/// how long it takes tells nothing of the key (RUSTSEC-2023-0071 is of that crate).
fn signer(key: &PrivateKey) -> Result<Box<dyn Signer>, String> {
    let unusable = |error: &dyn std::fmt::Display| {
        format!("has a key of {} bits that can't be used: {error}", key.size() * 8)
    };
    let der = key.to_pkcs8_der().map_err(|error| unusable(&error))?;
    let der = PrivatePkcs8KeyDer::from(der.as_bytes());
    let signing = any_supported_type(&der.into()).map_err(|error| unusable(&error))?;
    let signer = signing.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]);
    signer.ok_or_else(|| unusable(&"no RSA with SHA-256"))
}

impl SigningProvider for AccountKey {
    async fn client_email(&self) -> SignerResult<String> {
        Ok(self.account.clone())
    }

    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017, 8.2). Takes about half a millisecond,
    /// which others shall not wait for.
    async fn sign(&self, content: &[u8]) -> SignerResult<Bytes> {
        let (signer, content) = (Arc::clone(&self.signer), content.to_vec());
        let signature = spawn_blocking(move || signer.sign(&content)).await;
        let signature = signature.map_err(SigningError::from_msg)?;
        Ok(signature.map_err(SigningError::from_msg)?.into())
    }
}
