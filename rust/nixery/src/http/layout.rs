//! What all pages for people have in common.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};

use super::Shared;
use super::builds::NO_STORE;
use super::error::ApiError;
use crate::process::turns_text;

/// Nothing but this server's own files is loaded, whatever somebody smuggles into a page.
const POLICY: (HeaderName, HeaderValue) = (
    HeaderName::from_static("content-security-policy"),
    HeaderValue::from_static(
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
);

/// What is in a page.
#[derive(Debug)]
pub(super) struct Page<'a> {
    /// Text that tells it from the others.
    pub(super) title: &'a str,
    /// The path that the navigation shows as the current one.
    pub(super) here: &'a str,
    /// HTML.
    pub(super) body: &'a str,
    /// Files below `/assets/`.
    pub(super) scripts: &'a [&'a str],
}

/// A page, with the server's name and the ways to the other pages at its top.
pub(super) fn page(shared: &Shared, page: &Page<'_>) -> Response {
    let title = escape(page.title);
    let scripts = page.scripts.iter().fold(String::new(), |scripts, name| {
        scripts + "<script type=\"module\" src=\"/assets/" + name + "\"></script>\n"
    });
    let html = format!(
        "<!doctype html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">
<meta name=\"color-scheme\" content=\"light dark\">
<title>{title}</title>
<link rel=\"stylesheet\" href=\"/assets/nixery.css\">
<link rel=\"icon\" href=\"/assets/icon.svg\">
{scripts}</head>
<body>
{header}<main>
{body}</main>
</body>
</html>
",
        header = header(shared, page.here),
        body = page.body,
    );
    ([POLICY, NO_STORE], Html(html)).into_response()
}

/// The top of all pages, with links to what this server has.
fn header(shared: &Shared, here: &str) -> String {
    let link = |path: &str, text: &str| {
        let current = if path == here { " aria-current=\"page\"" } else { "" };
        format!("<a href=\"{path}\"{current}>{text}</a>\n")
    };
    let mut links = String::new();
    if shared.registry.shows_builds {
        links.push_str(&link("/builds", "Builds"));
    }
    let directory = shared.registry.web_directory.as_ref();
    if directory.is_some_and(|directory| directory.join("index.html").is_file()) {
        links.push_str(&link("/index.html", "Documentation"));
    }
    let nav = if links.is_empty() {
        String::new()
    } else {
        format!("<nav aria-label=\"Pages\">\n{links}</nav>\n")
    };
    let name = r#"<a class="name" href="/"><img src="/assets/icon.svg" alt="" width="24" height="24">Nixery</a>"#;
    format!("<header>\n<div>\n{name}\n{nav}</div>\n</header>\n")
}

/// An error as a page.
pub(super) fn error_page(shared: &Shared, error: &ApiError) -> Response {
    let (status, _) = error.classify();
    let message = format!("<pre class=\"error\">{}</pre>", escape(&error.to_string()));
    let mut response = problem(shared, status, &message);
    error.add_challenge(response.headers_mut());
    response
}

/// A page that says what is wrong; `message` is HTML.
pub(super) fn problem(shared: &Shared, status: StatusCode, message: &str) -> Response {
    let reason = escape(status.canonical_reason().unwrap_or("Error"));
    let body = format!(
        "<h1>{reason}</h1>\n{message}\n<p><a href=\"/\">Compose the name of an image</a></p>\n"
    );
    let title = format!("{status} – Nixery");
    let mut response = page(shared, &Page { title: &title, here: "", body: &body, scripts: &[] });
    *response.status_mut() = status;
    response
}

/// A file of the pages, from `/assets/`.
pub(super) async fn asset(
    axum::extract::Path(name): axum::extract::Path<String>,
) -> Result<Response, StatusCode> {
    const SCRIPT: &str = "text/javascript; charset=utf-8";
    let (media_type, content) = match name.as_str() {
        "nixery.css" => ("text/css; charset=utf-8", include_str!("assets/nixery.css")),
        "build.js" => (SCRIPT, include_str!("assets/build.js")),
        "clients.js" => (SCRIPT, include_str!("assets/clients.js")),
        "completion.js" => (SCRIPT, include_str!("assets/completion.js")),
        "composer.js" => (SCRIPT, include_str!("assets/composer.js")),
        "copy.js" => (SCRIPT, include_str!("assets/copy.js")),
        "names.js" => (SCRIPT, include_str!("assets/names.js")),
        "pasted.js" => (SCRIPT, include_str!("assets/pasted.js")),
        "times.js" => (SCRIPT, include_str!("assets/times.js")),
        "icon.svg" => ("image/svg+xml", include_str!("assets/icon.svg")),
        _ => return Err(StatusCode::NOT_FOUND),
    };
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(media_type)),
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    Ok((headers, content).into_response())
}

/// Text that is copied, with a button for that which scripts show. `text` is HTML.
pub(super) fn command(id: &str, text: &str) -> String {
    format!(
        "<div class=\"command\"><pre id=\"{id}\">{text}</pre>\n\
         <button type=\"button\" data-copies=\"{id}\" hidden>Copy</button></div>\n"
    )
}

/// Makes text harmless within HTML, and has it read in the order that it has.
pub(super) fn escape(text: &str) -> String {
    text.replace(turns_text, "")
        .replace('&', "&amp;")
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
        assert_eq!(escape("a\u{202e}b"), "ab");
    }
}
