//! The front page: what this is, and how to name an image.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use super::Shared;
use super::layout::{Page, escape, page};
use crate::platform::Platform;

/// Says what this is and how to use it, with this server's own address.
pub(super) async fn index(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let host = escape(&shared.address(&headers).host);
    let platform = shared.registry.default_platform;
    let has_tags = shared.registry.source.has_tags();
    let body = format!(
        r#"<h1>Container images, made when they are pulled</h1>
<p class="lead">The name of an image lists <a href="https://nixos.org">Nix</a> packages. This
registry makes the image of those, with all they need, when somebody pulls it.</p>
<p class="quiet">Packages come from: {source}.</p>
<pre id="usage">docker run --rm -ti {host}/shell/git/jq bash</pre>
{composer}<div id="layers"></div>
{names}"#,
        source = packages_come_from(&shared).await,
        composer = composer(&host, platform, has_tags),
        names = names(platform, has_tags),
    );
    let title = "Nixery – container images, made when they are pulled";
    page(&shared, &Page { title, here: "/", body: &body, scripts: &["composer.js"] })
}

/// The package set and its commit, if that is known, as HTML.
async fn packages_come_from(shared: &Shared) -> String {
    let catalogue = &shared.registry.catalogue;
    let source = escape(&shared.registry.source.told());
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
    match revision {
        Some(commit) => format!("{source}, at commit <code>{commit}</code>"),
        None => source,
    }
}

/// Where scripts compose a name, and a command with it; nothing without them.
fn composer(host: &str, platform: Platform, has_tags: bool) -> String {
    let tags = if has_tags { "yes" } else { "no" };
    format!(
        r#"<form id="composer" class="card" data-host="{host}" data-tags="{tags}" hidden>
<div class="fields">
<div class="combobox"><label for="packages">Packages</label> <small id="hint" role="status"></small>
<input type="text" id="packages" name="packages" value="git jq" autocomplete="off" spellcheck="false"
 autocapitalize="none" role="combobox" aria-autocomplete="list" aria-expanded="false"
 aria-controls="suggestions" aria-describedby="problem">
<ul id="suggestions" role="listbox" aria-label="Names of packages" hidden></ul></div>
<div class="check"><input type="checkbox" id="shell" name="shell" checked>
<label for="shell">with a shell</label></div>
<div><label for="platform">Platform</label>
<select id="platform" name="platform"><option value="">{platform} (usual here)</option>
<option value="amd64">amd64</option><option value="arm64">arm64</option></select></div>
</div>
<div class="output">
<fieldset id="clients"><legend class="unseen">Client</legend></fieldset>
<div class="command"><pre id="command" role="status" aria-label="Command"></pre>
<p id="problem" role="status"></p>
<button name="copy" type="button" data-copies="command">Copy</button></div>
</div>
<p id="login" hidden><a href="/login">Log in</a> <span></span></p>
<div class="actions"><button name="make" type="submit">Make it now, and watch</button>
<span id="said" role="status"></span></div>
</form>
"#
    )
}

/// The rules of names.
fn names(platform: Platform, has_tags: bool) -> String {
    let tags = if has_tags {
        "<div><dt><code>…:26.05</code></dt>\n<dd>A tag at the end chooses a release or a branch.</dd></div>\n"
    } else {
        ""
    };
    format!(
        r#"<section>
<h2>Names of images</h2>
<dl class="names">
<div><dt><code>git/jq</code></dt>
<dd>Each part, between slashes, is a package. Upper-case letters are written in lower case.</dd></div>
<div><dt><code>python3packages.requests</code></dt>
<dd>Packages of a set are written with a dot.</dd></div>
<div><dt><code>shell/…</code></dt>
<dd>At the front, it stands for bash, coreutils, moreutils and nano.</dd></div>
<div><dt><code>arm64/…</code>, <code>amd64/…</code></dt>
<dd>At the front, it chooses a platform. Without, it is {platform}.</dd></div>
{tags}</dl>
</section>
"#
    )
}
