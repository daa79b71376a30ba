//! Reading the popularity table that the configuration names.

use std::io;
use std::time::Duration;

use thiserror::Error;

use crate::assemble::PopularityTable;
use crate::layers::{Popularity, PopularityError};
use crate::oci::Digest;
use crate::source::without_credentials;

/// Largest table, in bytes; that of all of nixpkgs has about 5 MB.
const MAX_SIZE: usize = 64 << 20;

/// For the whole download.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Why there is no table.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The file can't be read.
    #[error("can't read {path}")]
    File {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The server that has it doesn't answer as it should.
    #[error("can't fetch {url}")]
    Fetch {
        /// The URL.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// It is far larger than such a table can be.
    #[error("{url} has over {MAX_SIZE} bytes")]
    TooLarge {
        /// The URL.
        url: String,
    },
    /// It is no such table.
    #[error("{url} is not a popularity table")]
    Malformed {
        /// The URL.
        url: String,
        /// Why.
        source: PopularityError,
    },
}

/// Reads the table at a file, http or https URL; an empty one without a URL.
pub async fn load(url: Option<&str>) -> Result<PopularityTable, LoadError> {
    let Some(url) = url else {
        return Ok(PopularityTable { popularity: Popularity::empty(), digest: Digest::of(b"") });
    };
    let content = match url.strip_prefix("file://") {
        Some(path) => {
            let path = path.to_owned();
            tokio::fs::read(&path).await.map_err(|source| LoadError::File { path, source })?
        }
        None => fetch(url).await?,
    };
    let popularity = Popularity::from_json(&content)
        .map_err(|source| LoadError::Malformed { url: without_credentials(url), source })?;
    Ok(PopularityTable { popularity, digest: Digest::of(&content) })
}

async fn fetch(url: &str) -> Result<Vec<u8>, LoadError> {
    // The error would name the URL with its credentials.
    let failed = |source: reqwest::Error| LoadError::Fetch {
        url: without_credentials(url),
        source: source.without_url(),
    };
    // Fails only where a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().timeout(TIMEOUT).build().map_err(failed)?;
    let response = client.get(url).send().await.and_then(reqwest::Response::error_for_status);
    let mut response = response.map_err(failed)?;
    let mut content = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        content.extend_from_slice(&chunk);
        if content.len() > MAX_SIZE {
            return Err(LoadError::TooLarge { url: without_credentials(url) });
        }
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// A server that answers one request.
    fn serve_once(response: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/popularity.json", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            stream.write_all(response.as_bytes()).unwrap();
        });
        url
    }

    #[tokio::test]
    async fn reads_files_and_servers() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, r#"{"glibc": 5}"#).unwrap();
        let from_file = load(Some(&format!("file://{}", file.path().display()))).await.unwrap();
        let url = serve_once("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{\"glibc\": 5}");
        let from_server = load(Some(&url)).await.unwrap();
        assert_eq!((from_file.popularity.len(), from_server.popularity.len()), (1, 1));
        assert_eq!(from_file.digest, from_server.digest);
        assert!(load(None).await.unwrap().popularity.is_empty());
    }

    #[tokio::test]
    async fn what_is_wrong_is_named() {
        let error = load(Some("file:///does/not/exist")).await.unwrap_err();
        assert!(error.to_string().contains("/does/not/exist"));
        let secret = load(Some("http://me:secret@127.0.0.1:1/x.json")).await.unwrap_err();
        assert!(!format!("{secret:?} {secret}").contains("secret"), "{secret:?}");
        let url = serve_once("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        assert!(matches!(load(Some(&url)).await, Err(LoadError::Fetch { .. })));
        let url = serve_once("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]");
        assert!(matches!(load(Some(&url)).await, Err(LoadError::Malformed { .. })));
    }
}
