//! Builds and images, for people: `/builds`.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};

use super::Shared;
use super::asked::{Below, meant, page_of};
use super::builds::BuildView;
use super::contents::contents;
use super::error::ApiError;
use super::figures::{bytes, duration, time};
use super::gate::Visitor;
use super::images::{ImageView, find};
use super::layout::{Page, command, error_page, escape, page};
use super::progress::{badge, details, progress};
use crate::access::Right;
use crate::assemble::{Asked, Ended, Progress};
use crate::source::LATEST;

/// The builds that run and the last ones that ended.
pub(super) async fn builds(
    State(shared): State<Arc<Shared>>,
    visitor: Visitor,
    headers: HeaderMap,
) -> Response {
    let builds = match shared.builds_for(&visitor) {
        Ok(builds) => builds,
        Err(error) => return error_page(&shared, &error),
    };
    let rows: String = builds.iter().map(|build| row(build)).collect();
    let table = if rows.is_empty() {
        let host = escape(&shared.address(&headers).host);
        let pull = command("pull", &format!("docker pull {host}/shell/git/jq"));
        format!(
            "<p>None since the server was started. Whoever pulls an image that isn't there has \
             it made:</p>\n{pull}<p>Or <a href=\"/\">compose one</a> of packages of your choice.</p>\n"
        )
    } else {
        format!(
            "<p class=\"quiet\">Those that run, and the last ones that ended.</p>\n\
             <table class=\"builds\">\n<thead><tr><th scope=\"col\">Image</th><th scope=\"col\">State</th>\
             <th scope=\"col\" class=\"extra\">Platform</th><th scope=\"col\" class=\"number extra\">Size</th>\
             <th scope=\"col\" class=\"number extra\">Took</th><th scope=\"col\">Begun</th></tr></thead>\n\
             <tbody>\n{rows}</tbody>\n</table>\n"
        )
    };
    let body = format!("<h1>Builds</h1>\n{table}");
    let scripts = &["times.js", "copy.js"];
    page(&shared, &Page { title: "Builds – Nixery", here: "/builds", body: &body, scripts })
}

fn row(build: &Progress) -> String {
    let view = BuildView::new(build);
    let size = match build.state().ended {
        Some(Ended::Made(image)) => bytes(image.size()),
        Some(Ended::Failed(_)) | None => String::new(),
    };
    format!(
        "<tr><td><a href=\"{path}\">{image}:{tag}</a></td><td class=\"{state}\">{badge}</td>\
         <td class=\"extra\">{platform}</td><td class=\"number extra\">{size}</td>\
         <td class=\"number extra\">{took}</td><td>{begun}</td></tr>\n",
        path = page_of(&build.asked().name, &build.asked().tag),
        image = escape(&view.image),
        tag = escape(&view.tag),
        state = view.state,
        badge = badge(view.state),
        platform = view.platform,
        took = duration(view.seconds),
        begun = time(&view.begun.unwrap_or_default()),
    )
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
    page.unwrap_or_else(|error| error_page(&shared, &error))
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
    let state = view.as_ref().map(|view| view.state);
    let is_running = state.is_some_and(|state| !matches!(state, "made" | "failed"));
    let image = if is_running || state == Some("failed") {
        None
    } else {
        match find(shared, visitor, &asked).await {
            Ok(image) => Some(image),
            Err(ApiError::NotMade) => None,
            Err(error) => return Err(error),
        }
    };
    let (name, tag) = (escape(asked.name.as_str()), escape(asked.tag.as_str()));
    let mut body = format!("<h1>{name}<span class=\"quiet\">:{tag}</span></h1>\n");
    match (&build, &view) {
        (Some(build), Some(view)) => body.push_str(&progress(build, view, image.is_some())),
        _ => body.push_str(&without_build(image.as_ref())),
    }
    if !is_running && state != Some("failed") {
        let host = escape(&shared.address(headers).host);
        body.push_str(&command("pull", &format!("docker pull {host}/{name}:{tag}")));
    }
    if !is_running {
        body.push_str(&way_to_composer(&asked));
    }
    if let Some(image) = &image {
        body.push_str(&contents(image, shared.registry.shows_builds));
    }
    if let Some(build) = &build {
        body.push_str(&log(build, is_running && shared.registry.shows_builds));
    }
    if is_running {
        body.push_str("<noscript><p>Reload this page to see how it goes on.</p></noscript>\n");
    }
    let scripts: &[&str] =
        if is_running { &["build.js", "times.js"] } else { &["copy.js", "times.js"] };
    let title = title(&asked, state);
    Ok(page(shared, &Page { title: &title, here: "", body: &body, scripts }))
}

/// What tabs and windows are called.
fn title(asked: &Asked, state: Option<&str>) -> String {
    let before = match state {
        None | Some("made") => "",
        Some("failed") => "failed: ",
        Some(_) => "being made: ",
    };
    format!("{before}{}:{} – Nixery", asked.name.as_str(), asked.tag.as_str())
}

/// What is to be said of an image of which no build is remembered.
fn without_build(image: Option<&ImageView>) -> String {
    let mut text = String::new();
    let _ = match image {
        Some(image) => write!(
            text,
            "<p id=\"state\" class=\"made\">{badge} before the server was started</p>\n{details}",
            badge = badge("made"),
            details = details(&[
                ("Platform", escape(&image.platform)),
                ("Packages from", escape(&image.source)),
            ])
        ),
        None => writeln!(
            text,
            "<p>This image has not been made since the server was started. It is made when it is \
             pulled:</p>"
        ),
    };
    text
}

/// A link to the front page, with the image in the composer, which is about the newest
/// packages.
fn way_to_composer(asked: &Asked) -> String {
    if asked.tag.as_str() != LATEST {
        return String::new();
    }
    let (mut packages, mut platform, mut shell) = (Vec::new(), String::new(), "&amp;shell=no");
    for part in asked.name.as_str().split('/') {
        match part {
            "shell" => shell = "",
            "amd64" | "arm64" => platform = format!("&amp;platform={part}"),
            package => packages.push(package),
        }
    }
    let packages = packages.join("+");
    format!(
        "<p><a href=\"/#packages={packages}{shell}{platform}\">Change it in the composer</a></p>\n"
    )
}

/// What Nix has printed, if it has, or a place for what it will.
fn log(build: &Progress, is_growing: bool) -> String {
    let (lines, _) = build.log(0);
    if lines.is_empty() && !is_growing {
        return String::new();
    }
    let log = lines.iter().fold(String::new(), |log, line| log + &escape(line) + "\n");
    format!(
        "<h2>Nix's log</h2>\n<pre id=\"log\" tabindex=\"0\" role=\"log\" aria-label=\"Nix's log\">{log}</pre>\n"
    )
}
