//! What load balancers and monitoring see, and by which address clients came.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;

use super::Shared;
use crate::disk::Disk;
use crate::storage::{Storage, StorageError};

/// What proxies say of how they were reached.
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The process is alive.
pub(super) async fn health() -> &'static str {
    "ok\n"
}

/// For how long the answer of [`readiness`] is the one for all who ask: it takes writing, or
/// asking a bucket, and everybody may ask.
const REMEMBERED: Duration = Duration::from_secs(2);

/// How long the storage may take: who asks hardly waits for longer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(3);

/// Whether the storage can be used.
#[derive(Clone, Copy, Debug)]
pub(super) enum Readiness {
    Ready,
    /// There is too little room on the disk.
    Short,
    Full,
    Broken,
}

/// Tries it.
async fn try_storage(storage: Arc<dyn Storage>, disk: Disk) -> Readiness {
    let checked = async {
        storage.check().await?;
        Ok::<bool, StorageError>(disk.check().await.is_ok())
    };
    let Ok(checked) = timeout(ANSWERS_WITHIN, checked).await else {
        tracing::error!("the storage doesn't answer within {ANSWERS_WITHIN:?}");
        return Readiness::Broken;
    };
    match checked {
        Ok(true) => Readiness::Ready,
        Ok(false) => Readiness::Short,
        Err(error) if error.is_full() => Readiness::Full,
        Err(error) => {
            let error: &dyn std::error::Error = &error;
            tracing::error!(error, "the storage can't be used");
            Readiness::Broken
        }
    }
}

/// The storage can be used, as of two seconds ago at most. A disk that is full still has images
/// to be served, which a load balancer must not keep clients from.
pub(super) async fn readiness(State(shared): State<Arc<Shared>>) -> Response {
    let (storage, disk) = (Arc::clone(&shared.registry.storage), shared.registry.disk.clone());
    let keep = |_: &Readiness| Some(REMEMBERED);
    match shared.readiness.join((), keep, |()| try_storage(storage, disk)).await {
        Some(Readiness::Ready) => "ready\n".into_response(),
        Some(Readiness::Short) => {
            "ready, but there is too little room on the disk to make new images\n".into_response()
        }
        Some(Readiness::Full) => {
            "ready, but the disk is full, and no new images are made\n".into_response()
        }
        Some(Readiness::Broken) | None => {
            (StatusCode::SERVICE_UNAVAILABLE, "the storage can't be used: see the server's log\n")
                .into_response()
        }
    }
}

/// What this server answers, in the words of `OpenAPI`.
pub(super) async fn description() -> Response {
    ([(CONTENT_TYPE, "application/json")], include_str!("assets/openapi.json")).into_response()
}

/// What was counted, for Prometheus.
pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let version = "text/plain; version=0.0.4; charset=utf-8";
    ([(CONTENT_TYPE, version)], (shared.registry.metrics)()).into_response()
}

/// The address by which a client reached this server.
#[derive(Debug)]
pub(super) struct Address {
    scheme: &'static str,
    /// Host and port.
    pub(super) host: String,
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)
    }
}

impl Shared {
    /// By what the request says, or the proxy in front of the server.
    pub(super) fn address(&self, headers: &HeaderMap) -> Address {
        address_of_clients(headers, self.registry.port)
    }
}

fn address_of_clients(headers: &HeaderMap, port: Option<u16>) -> Address {
    let text = |name: &HeaderName| headers.get(name)?.to_str().ok();
    let scheme = match text(&FORWARDED_PROTO) {
        Some(scheme) if scheme.eq_ignore_ascii_case("https") => "https",
        _ => "http",
    };
    // It is put into commands, for shells to read.
    let is_plain = |c: u8| c.is_ascii_alphanumeric() || b".:_-[]".contains(&c);
    let host =
        text(&HOST).filter(|host| Authority::try_from(*host).is_ok() && host.bytes().all(is_plain));
    let host = host.map_or_else(
        || port.map_or_else(|| "localhost".to_owned(), |port| format!("localhost:{port}")),
        str::to_owned,
    );
    Address { scheme, host }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The address is shown in pages, and in errors on terminals.
    #[test]
    fn fuzzed() {
        let seeds = ["localhost:8080", "nixery.example.org", "[::1]:80", "user@host", "a:b@c:1"];
        crate::fuzz::parser("Host", seeds).words(["<script>", "\u{1b}[31m", "@", ":"]).run(
            |input| {
                let host = axum::http::HeaderValue::from_bytes(input).ok()?;
                let proto = axum::http::HeaderValue::from_bytes(input).ok()?;
                let headers = [(HOST, host), (FORWARDED_PROTO, proto)].into_iter().collect();
                Some(address_of_clients(&headers, Some(8080)).to_string())
            },
            |_, address| {
                let Some(address) = address else { return };
                assert!(address.starts_with("http://") || address.starts_with("https://"));
                assert!(
                    address.bytes().all(|c| c.is_ascii_graphic() && !b"<>\"\\`$;&|()".contains(&c))
                );
            },
        );
    }
}
