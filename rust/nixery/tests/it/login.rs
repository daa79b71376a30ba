//! Logging in with a browser, whose user is asked for a password only when they want that.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use crate::harness::{LISTING, Response, Server, Setup, fixtures, request, wait_until};

/// SHA-256 of `ci-token`.
const CI: &str = "ci:948b8c2427cd29047839b8e4a27a08763f8befbafa86be5cce8e46217d75e58a\n";

const BASIC: &str = "Basic realm=\"nixery\", charset=\"UTF-8\"";

/// What browsers say of a script's request, and of a page that somebody opens.
const SCRIPT: (&str, &str) = ("Sec-Fetch-Mode", "cors");
const PAGE: (&str, &str) = ("Sec-Fetch-Mode", "navigate");
/// What the pages' scripts say.
const MARKED: (&str, &str) = ("X-Requested-With", "fetch");

/// A server where everybody has to log in, or with `rules`.
fn server(directory: &TempDir, rules: Option<&str>) -> Server {
    let tokens = directory.path().join("tokens");
    fs::write(&tokens, CI).unwrap();
    let mut setup = Setup::new(fixtures())
        .builder(LISTING)
        .variable("NIXERY_ACCESS_URL", "http://nixery.example.org")
        .variable("NIXERY_ACCESS_TOKENS", tokens.to_str().unwrap());
    if let Some(rules) = rules {
        setup = setup.variable("NIXERY_ACCESS_RULES", rules);
    }
    setup.start()
}

fn get(server: &Server, path: &str, headers: &[(&str, &str)]) -> Response {
    request(&server.address, "GET", path, headers)
}

/// Once, browsers asked whoever looked at the front page for a password every five seconds.
#[test]
fn scripts_are_asked_for_nothing_that_browsers_have_a_dialog_for() {
    let directory = TempDir::new().unwrap();
    let server = server(&directory, None);
    let wrong = ("Authorization", "Basic Y2k6d3Jvbmc=");
    for path in [
        "/builds",
        "/builds/one/latest",
        "/api/v1/packages?prefix=o",
        "/api/v1/builds",
        "/api/v1/builds/one/latest",
        "/api/v1/images/one/latest",
        "/v2/",
        "/v2/one/manifests/latest",
    ] {
        for headers in [&[SCRIPT][..], &[MARKED], &[SCRIPT, MARKED], &[SCRIPT, wrong]] {
            let answer = get(&server, path, headers);
            assert_eq!(answer.status, 401, "{path} {headers:?}");
            assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"nixery\"", "{path}");
        }
        // Programs, and with them all registry clients, say nothing of the kind.
        let answer = get(&server, path, &[]);
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, BASIC), "{path}");
    }
    let made = request(&server.address, "POST", "/api/v1/builds/one/latest", &[MARKED]);
    assert_eq!((made.status, made.header("www-authenticate")), (401, "Bearer realm=\"nixery\""));
}

/// What a browser was told at `/builds/one/latest`, it would say only below `/builds/one/`.
#[test]
fn readers_log_in_at_the_top_and_come_back() {
    let directory = TempDir::new().unwrap();
    let server = server(&directory, None);
    let ci = format!("Basic {}", STANDARD.encode("ci:ci-token"));
    let ci = ("Authorization", &*ci);
    for page in ["/builds", "/builds/one/latest"] {
        let sent = get(&server, page, &[PAGE]);
        let place = format!("/login?to={page}");
        assert_eq!((sent.status, sent.header("location")), (303, &*place));
        let asked = get(&server, &place, &[PAGE]);
        assert_eq!((asked.status, asked.header("www-authenticate")), (401, BASIC));
        let back = get(&server, &place, &[PAGE, ci]);
        assert_eq!((back.status, back.header("location")), (303, page));
        assert_eq!(get(&server, page, &[PAGE, ci]).status, 200);
        // Who has said something wrong is told so where they are.
        let wrong = get(&server, page, &[PAGE, ("Authorization", "Bearer wrong")]);
        assert_eq!((wrong.status, wrong.header("www-authenticate")), (401, BASIC));
    }
    let back = get(&server, "/login", &[PAGE, ci]);
    assert_eq!((back.status, back.header("location")), (303, "/"));
    for elsewhere in
        ["https://example.org/builds", "//example.org/builds", "/v2/", "", "%0a", "/\\x"]
    {
        let back = get(&server, &format!("/login?to={elsewhere}"), &[PAGE, ci]);
        assert_eq!((back.status, back.header("location")), (303, "/"), "{elsewhere}");
    }
}

#[test]
fn without_users_there_is_nobody_to_be() {
    let server = Setup::new(fixtures()).start();
    let answer = get(&server, "/login?to=/builds", &[PAGE]);
    assert_eq!((answer.status, answer.header("location")), (303, "/builds"));
}

/// Once, they had to log in to see the names of what they may pull without.
#[test]
fn those_who_may_pull_without_logging_in_are_shown_the_names_that_are_known() {
    let directory = TempDir::new().unwrap();
    let server = server(&directory, Some("anonymous may pull; * may build"));
    let path = "/api/v1/packages?prefix=on";
    let answer = get(&server, path, &[]);
    assert_eq!((answer.status, answer.header("www-authenticate")), (401, BASIC), "none are");
    wait_until("the names", || {
        let answer = get(&server, path, &[("Authorization", "Bearer ci-token")]);
        answer.json()["state"] == "ready"
    });
    let answer = get(&server, path, &[]);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["packages"], serde_json::json!(["one"]));
    // What registry clients are told first leads to a token.
    assert!(
        get(&server, "/v2/", &[]).header("www-authenticate").starts_with("Bearer realm=\"http")
    );
}
