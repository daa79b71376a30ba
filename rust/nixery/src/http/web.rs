//! What people and load balancers see.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};

use super::Shared;
use super::layout::{escape, page};
use super::pages::header;
use crate::disk::Disk;
use crate::storage::Storage;

/// What proxies say of how they were reached.
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The process is alive.
pub(super) async fn health() -> &'static str {
    "ok\n"
}

/// For how long the answer of [`readiness`] is the one for all who ask: it takes writing, or
/// asking a bucket, and everybody may ask.
const REMEMBERED: Duration = Duration::from_secs(2);

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
    match storage.check().await {
        Ok(()) if disk.check().await.is_ok() => Readiness::Ready,
        Ok(()) => Readiness::Short,
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

/// Says what this is and how to use it, with this server's own address.
pub(super) async fn index(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let host = escape(&shared.address(&headers).host);
    let source = escape(&shared.registry.source.told());
    let platform = shared.registry.default_platform;
    let catalogue = &shared.registry.catalogue;
    let revision = match shared.registry.newest() {
        Some(source) => {
            // Names are typed next.
            if shared.builds_for_anonymous() {
                catalogue.prepare(source.clone());
            }
            catalogue.revision(&source).await
        }
        None => None,
    };
    let revision =
        revision.map_or_else(String::new, |commit| format!(", at commit <code>{commit}</code>"));
    let directory = shared.registry.web_directory.as_ref();
    let book = match directory.map(|directory| directory.join("index.html").is_file()) {
        Some(true) => r#"<a href="/index.html">Documentation</a>"#,
        Some(false) | None => "",
    };
    let (tags, tags_told) = if shared.registry.source.has_tags() {
        ("yes", "<li><code>:</code> and a tag at the end chooses a release or a branch.</li>\n")
    } else {
        ("no", "")
    };
    let header = header(&shared, book);
    let body = format!(
        r#"{header}<main>
<h1>Container images, made when they are pulled</h1>
<p>This registry has no images. The name of an image lists <a href="https://nixos.org">Nix</a>
packages, and the registry makes it of those, with all they need. Packages come from:
{source}{revision}.</p>
<pre id="usage">docker run --rm -ti {host}/shell/git/jq bash</pre>
<form id="composer" data-host="{host}" data-tags="{tags}" hidden>
<div class="combobox"><label for="packages">Packages</label>
<input type="text" id="packages" name="packages" value="git jq" autocomplete="off" spellcheck="false"
 autocapitalize="none" role="combobox" aria-autocomplete="list" aria-expanded="false"
 aria-controls="suggestions" aria-describedby="problem">
<ul id="suggestions" role="listbox" aria-label="Names of packages" hidden></ul>
<small id="hint" role="status"></small></div>
<div><input type="checkbox" id="shell" name="shell" checked>
<label class="beside" for="shell">with a shell, and the programs that one expects there</label></div>
<div><label for="platform">Platform</label>
<select id="platform" name="platform"><option value="">{platform} (usual here)</option>
<option value="amd64">amd64</option><option value="arm64">arm64</option></select></div>
<pre id="command" role="status" aria-label="Command"></pre>
<p id="problem" role="status"></p>
<p id="login" hidden><a href="/login">Log in</a> <span></span></p>
<div><button name="copy" type="button">Copy the command</button>
<button name="make" type="submit">Make it now, and watch</button></div>
</form>
<h2>Names of images</h2>
<ul>
<li>Each part of the name, between slashes, is a package. Sets of packages are written with a dot:
<code>python3packages.requests</code>.</li>
<li><code>shell</code> at the front stands for bash, coreutils, moreutils and nano.</li>
<li><code>arm64</code> or <code>amd64</code> at the front chooses a platform; without, it is
{platform}.</li>
{tags_told}<li>An upper-case letter in a package's name is written in lower case.</li>
</ul>
<div id="layers"></div>
</main>
"#
    );
    page("Nixery", &body, Some("composer.js"))
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
