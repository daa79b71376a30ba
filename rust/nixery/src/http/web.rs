//! What people and load balancers see.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{Html, IntoResponse, Response};

use super::Shared;

/// The process is alive.
pub(super) async fn health() -> &'static str {
    "ok\n"
}

/// The storage can be used.
pub(super) async fn readiness(State(shared): State<Arc<Shared>>) -> Response {
    match shared.registry.storage.check().await {
        Ok(()) => "ready\n".into_response(),
        Err(error) => {
            let error: &dyn std::error::Error = &error;
            tracing::error!(error, "the storage can't be used");
            (StatusCode::SERVICE_UNAVAILABLE, "the storage can't be used: see the server's log\n")
                .into_response()
        }
    }
}

/// What was counted, for Prometheus.
pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let version = "text/plain; version=0.0.4; charset=utf-8";
    ([(CONTENT_TYPE, version)], (shared.registry.metrics)()).into_response()
}

/// Says what this is and how to use it, with this server's own address.
pub(super) async fn index(
    State(shared): State<Arc<Shared>>,
    uri: Uri,
    headers: HeaderMap,
) -> Html<String> {
    // HTTP/2 has the host in the address and not in a header.
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = host.or(uri.authority().map(Authority::as_str)).unwrap_or("localhost:8080");
    let (host, source) = (escape(host), escape(&shared.registry.source.describe()));
    let platform = shared.registry.default_platform;
    Html(format!(
        r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>Nixery</title>
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 42rem; margin: 2rem auto; padding: 0 1rem }}
pre {{ overflow-x: auto; padding: .75rem; border: 1px solid; border-radius: .25rem }}
</style>
<h1>Nixery</h1>
<p>A container registry that makes its images when they are pulled, from Nix packages that their
names list.</p>
<pre>docker pull {host}/shell/git/jq
docker run --rm -ti {host}/shell/git/jq bash</pre>
<ul>
<li>Each part of the name, between slashes, is a package. Sets of packages are written with a dot:
<code>python3packages.requests</code>.</li>
<li><code>shell</code> at the front stands for bash, coreutils, moreutils and nano.</li>
<li><code>arm64</code> or <code>amd64</code> at the front chooses a platform; without, it is
{platform}.</li>
<li>An upper-case letter in a package's name is written in lower case.</li>
</ul>
<p>Packages come from: {source}.</p>
</html>
"#
    ))
}

/// Makes text harmless within HTML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_from_outside_is_shown_and_not_obeyed() {
        assert_eq!(escape("<b a='\"&"), "&lt;b a=&#39;&quot;&amp;");
    }
}
