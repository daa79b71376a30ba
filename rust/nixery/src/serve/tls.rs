//! TLS with a certificate from files, which may be replaced while the server runs.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use tokio_rustls::TlsAcceptor;

use crate::config::TlsFiles;
use crate::error_chain::ErrorChain;
use crate::oci::Digest;
use crate::small_file::{self, WRITTEN_BY_PEOPLE};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(10);

/// What clients that negotiate may choose from, the best first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Why there is no certificate to show.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file can't be read.
    #[error("can't read {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file isn't PEM.
    #[error("{path} is not PEM: expected -----BEGIN …----- and -----END …----- around base64")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// There is none in the file.
    #[error("{path} has no certificate: expected -----BEGIN CERTIFICATE-----")]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// There is none in the file.
    #[error("{path} has no private key: expected -----BEGIN PRIVATE KEY-----")]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The key has a password, and there is nobody to ask for it.
    #[error("the key in {path} is encrypted: write it without a password, by openssl pkey")]
    Encrypted {
        /// The file.
        path: PathBuf,
    },
    /// Certificate and key are not of each other, or not of a known kind.
    #[error("the certificate in {certificate} can't be used with the key in {key}")]
    Unusable {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

/// What is shown to clients.
pub(super) struct Tls {
    files: TlsFiles,
    current: RwLock<Arc<ServerConfig>>,
    seen: Mutex<Seen>,
}

/// What came of reading the files last.
struct Seen {
    /// What was read last, usable or not.
    digests: [Digest; 2],
    /// Why they can't be read at the moment.
    problem: Option<String>,
}

impl Tls {
    /// Reads the files.
    pub(super) fn open(files: TlsFiles) -> Result<Self, TlsError> {
        let (certificate, key) = read(&files)?;
        let current = RwLock::new(configure(&files, &certificate, &key)?);
        let digests = [Digest::of(&certificate), Digest::of(&key)];
        let seen = Mutex::new(Seen { digests, problem: None });
        Ok(Self { files, current, seen })
    }

    /// For a new connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)).into()
    }

    /// Reads the files again, and says whether new connections get something else now. What
    /// can't be used leaves what there is, and is an error once.
    fn renew(&self) -> Result<bool, TlsError> {
        let read = read(&self.files);
        let problem = read.as_ref().err().map(|error| ErrorChain(error).to_string());
        let is_new = {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let is_new = problem.is_some() && seen.problem != problem;
            seen.problem = problem;
            is_new
        };
        let (certificate, key) = match read {
            Ok(content) => content,
            Err(error) => return if is_new { Err(error) } else { Ok(false) },
        };
        let found = [Digest::of(&certificate), Digest::of(&key)];
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if seen.digests == found {
                return Ok(false);
            }
            seen.digests = found;
        }
        let new = configure(&self.files, &certificate, &key)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(true)
    }

    /// Reads the files again, and logs what came of it.
    pub(super) async fn look(self: &Arc<Self>) {
        let this = Arc::clone(self);
        match tokio::task::spawn_blocking(move || this.renew()).await {
            Ok(Ok(false)) | Err(_) => {}
            Ok(Ok(true)) => {
                let path = self.files.certificate.display().to_string();
                tracing::info!(path, "read a new certificate");
            }
            Ok(Err(error)) => {
                let error = ErrorChain(&error).to_string();
                tracing::error!(error, "keeping the certificate that there is");
            }
        }
    }

    /// Has an eye on the files.
    pub(super) async fn watch(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK).await;
            self.look().await;
        }
    }
}

fn read(files: &TlsFiles) -> Result<(Vec<u8>, Vec<u8>), TlsError> {
    let read = |path: &Path| {
        let content = small_file::read(path, WRITTEN_BY_PEOPLE);
        content.map_err(|source| TlsError::Unreadable { path: path.to_owned(), source })
    };
    Ok((read(&files.certificate)?, read(&files.key)?))
}

/// TLS 1.2 and 1.3, which are all that rustls has.
fn configure(
    files: &TlsFiles,
    certificate: &[u8],
    key: &[u8],
) -> Result<Arc<ServerConfig>, TlsError> {
    let malformed = |path: &Path, source| TlsError::Malformed { path: path.to_owned(), source };
    let chain = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| malformed(&files.certificate, error))?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate { path: files.certificate.clone() });
    }
    // RFC 7468, 11, and what OpenSSL wrote before (RFC 1421, 4.6.1.1).
    let marks: [&[u8]; 2] = [b"BEGIN ENCRYPTED PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED"];
    if marks.iter().any(|mark| key.windows(mark.len()).any(|part| part == *mark)) {
        return Err(TlsError::Encrypted { path: files.key.clone() });
    }
    let secret = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::NoKey { path: files.key.clone() },
        error => malformed(&files.key, error),
    })?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|source| TlsError::Unusable {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
            source,
        })?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests;
