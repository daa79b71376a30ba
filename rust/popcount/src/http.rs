//! Asking servers for files, again where that may help.

use std::fmt;
use std::time::Duration;

use reqwest::header::RETRY_AFTER;
use reqwest::{Client, StatusCode, Url};
use thiserror::Error;

use crate::retry::{pause, retry_after};

/// For a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How requests are made.
#[derive(Clone, Copy, Debug)]
pub struct HttpConfig {
    /// For how long one answer to a small request may take. `--timeout`.
    pub timeout: Duration,
    /// How often what failed is asked for again. `--retries`.
    pub retries: u32,
    /// How many connections are kept open for the next requests. `--concurrency`.
    pub connections: usize,
}

/// A client that doesn't give up at once.
#[derive(Debug)]
pub struct Http {
    client: Client,
    config: HttpConfig,
}

/// What a file may have.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest size in bytes.
    pub size: usize,
    /// Longest time, in times of `HttpConfig::timeout`.
    pub time: u32,
}

/// Why a file can't be had.
#[derive(Debug, Error)]
pub enum HttpError {
    /// No client can be made.
    #[error("can't make requests")]
    Client(#[source] reqwest::Error),
    /// There is no answer, or not all of it.
    #[error("no answer from {url}")]
    Request {
        /// The URL, without credentials.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// The answer is a refusal.
    #[error("{url} answers {status}")]
    Status {
        /// The URL, without credentials.
        url: String,
        /// The answer.
        status: StatusCode,
        /// For how long the server wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// It is far larger than such a file can be.
    #[error("{url} has over {limit} bytes")]
    TooLarge {
        /// The URL, without credentials.
        url: String,
        /// The limit.
        limit: usize,
    },
}

impl Http {
    /// A client that asks so.
    pub fn new(config: HttpConfig) -> Result<Self, HttpError> {
        // Fails only where a provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT.min(config.timeout))
            .pool_max_idle_per_host(config.connections)
            .build()
            .map_err(HttpError::Client)?;
        Ok(Self { client, config })
    }

    /// The file at `url`; `None` if the server says that there is none.
    pub async fn get(&self, url: &Url, limits: Limits) -> Result<Option<Vec<u8>>, HttpError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.get_once(url, limits).await {
                Err(error) if tries <= self.config.retries && error.is_temporary() => {
                    tokio::time::sleep(pause(tries, error.retry_after())).await;
                }
                result => return result,
            }
        }
    }

    async fn get_once(&self, url: &Url, limits: Limits) -> Result<Option<Vec<u8>>, HttpError> {
        let failed = |source: reqwest::Error| HttpError::Request {
            url: shown(url).to_string(),
            source: source.without_url(),
        };
        let request = self.client.get(url.clone()).timeout(self.config.timeout * limits.time);
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status();
        if is_absent(status) {
            return Ok(None);
        }
        if status != StatusCode::OK {
            let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            let retry_after = header.and_then(retry_after);
            return Err(HttpError::Status { url: shown(url).to_string(), status, retry_after });
        }
        let mut content = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            content.extend_from_slice(&chunk);
            if content.len() > limits.size {
                return Err(HttpError::TooLarge {
                    url: shown(url).to_string(),
                    limit: limits.size,
                });
            }
        }
        Ok(Some(content))
    }
}

impl HttpError {
    /// Whether the next try may succeed.
    fn is_temporary(&self) -> bool {
        match self {
            Self::Request { source, .. } => !source.is_builder() && !source.is_redirect(),
            Self::Status { status, .. } => {
                status.is_server_error()
                    || matches!(
                        *status,
                        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
                    )
            }
            Self::Client(_) | Self::TooLarge { .. } => false,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            Self::Client(_) | Self::Request { .. } | Self::TooLarge { .. } => None,
        }
    }
}

/// Whether it says that there is no such file. A bucket that may not be listed answers
/// 403 then; Nix takes it so as well.
fn is_absent(status: StatusCode) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::FORBIDDEN | StatusCode::GONE)
}

/// A URL without its credentials.
pub fn shown(url: &Url) -> impl fmt::Display {
    let mut url = url.clone();
    // Fails for URLs that can't have any.
    let _ = url.set_username("").and_then(|()| url.set_password(None));
    url
}
