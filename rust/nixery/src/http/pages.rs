//! Builds and images, for people: `/builds`.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};

use super::Shared;
use super::asked::{Below, meant, page_of};
use super::builds::{BuildView, ErrorView};
use super::contents::contents;
use super::error::ApiError;
use super::gate::Visitor;
use super::images::find;
use super::layout::{error_page, escape, page};
use crate::access::Right;

/// The top of a page; `links` are HTML.
pub(super) fn header(shared: &Shared, links: &str) -> String {
    let builds = if shared.registry.shows_builds { r#"<a href="/builds">Builds</a>"# } else { "" };
    format!("<header><a href=\"/\">Nixery</a> <nav>{links}{builds}</nav></header>\n")
}

/// The builds that run and the last ones that ended.
pub(super) async fn builds(State(shared): State<Arc<Shared>>, visitor: Visitor) -> Response {
    let builds = match shared.builds_for(&visitor) {
        Ok(builds) => builds,
        Err(error) => return error_page(&error),
    };
    let mut rows = String::new();
    for build in builds {
        let view = BuildView::new(&build);
        let path = page_of(&build.asked().name, &build.asked().tag);
        let _ = writeln!(
            rows,
            "<tr><td><a href=\"{path}\">{image}:{tag}</a></td><td>{platform}</td><td class=\"{state}\">{state}</td>\
             <td>{seconds:.1} s</td><td><time>{begun}</time></td></tr>",
            image = escape(&view.image),
            tag = escape(&view.tag),
            platform = view.platform,
            state = view.state,
            seconds = view.seconds,
            begun = escape(&view.begun.unwrap_or_default()),
        );
    }
    let table = if rows.is_empty() {
        "<p>None since the server was started.</p>".to_owned()
    } else {
        format!(
            "<div class=\"wide\"><table>\n<thead><tr><th>image</th><th>platform</th><th>state</th><th>time</th><th>begun</th></tr></thead>\n\
             <tbody>\n{rows}</tbody>\n</table></div>"
        )
    };
    let header = header(&shared, "");
    let body = format!("{header}<main>\n<h1>Builds</h1>\n{table}\n</main>\n");
    page("Builds – Nixery", &body, None)
}

/// One build, as it goes on or as it ended; and what the image consists of.
pub(super) async fn build(
    State(shared): State<Arc<Shared>>,
    visitor: Visitor,
    path: Result<Below, ApiError>,
    headers: HeaderMap,
) -> Response {
    let page = match path {
        // Who types an address may leave the tag out, or write it as in a pull.
        Ok(Below(path)) => match meant(&path) {
            Some(whole) => {
                return Redirect::temporary(&format!("/builds/{whole}")).into_response();
            }
            None => one(&shared, &visitor, &path, &headers).await,
        },
        Err(error) => Err(error),
    };
    page.unwrap_or_else(|error| error_page(&error))
}

async fn one(
    shared: &Shared,
    visitor: &Visitor,
    path: &str,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let asked = shared.asked(path)?;
    shared.allow(visitor, Right::Pull, &asked.name)?;
    let build = shared.registry.assembler.progress(&asked);
    let view = build.as_ref().map(|build| shared.view(build, &asked));
    let is_running = view.as_ref().is_some_and(|view| !matches!(view.state, "made" | "failed"));
    let has_failed = view.as_ref().is_some_and(|view| view.state == "failed");
    let image = if is_running || has_failed {
        None
    } else {
        match find(shared, visitor, &asked).await {
            Ok(image) => Some(image),
            Err(ApiError::NotMade) => None,
            Err(error) => return Err(error),
        }
    };
    let name = escape(asked.name.as_str());
    let header = header(shared, "");
    let mut body = format!("{header}<main>\n<h1>{name}:{}</h1>\n", escape(asked.tag.as_str()));
    let pull = format!(
        "<pre>docker pull {}/{name}:{}</pre>\n",
        escape(&shared.address(headers).host),
        escape(asked.tag.as_str())
    );
    match (&view, &image) {
        (None, None) => {
            body.push_str(
                "<p>This image has not been made since the server was started. It is made \
                 when it is pulled:</p>\n",
            );
            body.push_str(&pull);
        }
        (None, Some(_)) => {
            body.push_str(
                "<p class=\"made\">This image is there: it was made before the server was \
                 started.</p>\n",
            );
            body.push_str(&pull);
        }
        (Some(view), _) => {
            body.push_str(&state(view));
            if view.state == "made" {
                body.push_str(&pull);
            }
        }
    }
    if let Some(image) = &image {
        body.push_str(&contents(image, shared.registry.shows_builds));
    }
    if let Some(build) = &build {
        let (lines, _) = build.log(0);
        if !lines.is_empty() || (is_running && shared.registry.shows_builds) {
            let log = lines.iter().fold(String::new(), |log, line| log + &escape(line) + "\n");
            let _ = writeln!(
                body,
                "<h2>Nix's log</h2>\n<pre id=\"log\" tabindex=\"0\" role=\"log\" aria-label=\"Nix's log\">{log}</pre>"
            );
        }
    }
    if is_running {
        body.push_str("<noscript><p>Reload this page to see how it goes on.</p></noscript>\n");
    }
    body.push_str("</main>\n");
    let title = format!("{}:{} – Nixery", asked.name.as_str(), asked.tag.as_str());
    Ok(page(&title, &body, is_running.then_some("build.js")))
}

/// What a build is doing, in words.
fn state(view: &BuildView) -> String {
    let packages = escape(&view.packages.join(", "));
    let source = escape(&view.source);
    let words = match view.state {
        "looking" => "looking up what is known of its packages".to_owned(),
        "waiting" => "waiting for other builds".to_owned(),
        "nix" => "Nix is fetching or building".to_owned(),
        "packing" => {
            format!("packing: {} of {} layers are stored", view.layers_stored, view.layers)
        }
        "made" => "made".to_owned(),
        _ => "failed".to_owned(),
    };
    let mut text = format!(
        "<p id=\"state\" role=\"status\" class=\"{state}\"><strong>{words}</strong>, <span id=\"seconds\">{seconds:.1}</span> s</p>\n\
         <p>{packages} for {platform}, from {source}</p>\n",
        state = view.state,
        seconds = view.seconds,
        platform = view.platform,
    );
    if let Some(ErrorView { message, .. }) = &view.error {
        let _ = writeln!(text, "<pre class=\"error\">{}</pre>", escape(message));
    }
    text
}
