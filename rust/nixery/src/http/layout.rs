//! What all pages for people have in common.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};

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

/// A page; `body` is HTML, `title` is text, `script` is one of the files below `/assets/`.
pub(super) fn page(title: &str, body: &str, script: Option<&str>) -> Response {
    let title = escape(title);
    let script = script.map_or_else(String::new, |name| {
        format!("<script type=\"module\" src=\"/assets/{name}\"></script>\n")
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
{script}</head>
<body>
{body}</body>
</html>
"
    );
    ([POLICY, NO_STORE], Html(html)).into_response()
}

/// An error as a page.
pub(super) fn error_page(error: &ApiError) -> Response {
    let (status, _) = error.classify();
    let body = format!(
        "<header><a href=\"/\">Nixery</a></header>\n<main>\n<h1>{}</h1>\n<pre class=\"error\">{}</pre>\n</main>\n",
        escape(status.canonical_reason().unwrap_or("Error")),
        escape(&error.to_string())
    );
    let mut response = page("Nixery", &body, None);
    *response.status_mut() = status;
    error.add_challenge(response.headers_mut());
    response
}

/// A file of the pages, from `/assets/`.
pub(super) async fn asset(
    axum::extract::Path(name): axum::extract::Path<String>,
) -> Result<Response, StatusCode> {
    let (media_type, content) = match name.as_str() {
        "nixery.css" => ("text/css; charset=utf-8", include_str!("assets/nixery.css")),
        "build.js" => ("text/javascript; charset=utf-8", include_str!("assets/build.js")),
        "composer.js" => ("text/javascript; charset=utf-8", include_str!("assets/composer.js")),
        "completion.js" => ("text/javascript; charset=utf-8", include_str!("assets/completion.js")),
        "names.js" => ("text/javascript; charset=utf-8", include_str!("assets/names.js")),
        "pasted.js" => ("text/javascript; charset=utf-8", include_str!("assets/pasted.js")),
        "icon.svg" => ("image/svg+xml", include_str!("assets/icon.svg")),
        _ => return Err(StatusCode::NOT_FOUND),
    };
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(media_type)),
        (CACHE_CONTROL, HeaderValue::from_static("public, max-age=300")),
    ];
    Ok((headers, content).into_response())
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

/// Bytes for people: two to four digits, in powers of 1000.
pub(super) fn bytes(bytes: u64) -> String {
    let mut scaled = bytes;
    for unit in ["B", "kB", "MB", "GB"] {
        if scaled < 1000 {
            return format!("{scaled} {unit}");
        }
        if scaled < 10_000 && unit != "B" {
            return format!("{scaled} {unit}");
        }
        scaled = (scaled + 500) / 1000;
    }
    format!("{scaled} TB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_from_outside_is_shown_and_not_obeyed() {
        assert_eq!(escape("<b a='\"&"), "&lt;b a=&#39;&quot;&amp;");
        assert_eq!(escape("a\u{202e}b"), "ab");
    }

    #[test]
    fn sizes_are_readable() {
        for (size, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1500, "2 kB"),
            (9_900_000, "9900 kB"),
            (12_400_000, "12 MB"),
            (308_000_000, "308 MB"),
        ] {
            assert_eq!(bytes(size), text);
        }
    }
}
