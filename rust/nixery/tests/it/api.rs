//! What the API and the pages tell whom: errors that programs can read, and nothing of others.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::harness::{Server, Setup, fixtures, get, request};

/// Everything that is answered to a request that is sent as it is.
fn raw(server: &Server, request: &str) -> String {
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn errors_below_api_are_for_programs() {
    let server = Setup::new(fixtures()).start();
    for (method, path, status, code, allow) in [
        ("GET", "/api/v1/x", 404, "UNSUPPORTED", ""),
        ("GET", "/api/", 404, "UNSUPPORTED", ""),
        ("GET", "/api/v1/builds/", 404, "UNSUPPORTED", ""),
        ("GET", "/api/v1/%ff", 404, "UNSUPPORTED", ""),
        ("GET", "/api/v1/builds/%ff/latest", 400, "NAME_INVALID", ""),
        ("GET", "/api/v1/images/%ff/latest", 400, "NAME_INVALID", ""),
        ("POST", "/api/v1/x", 404, "UNSUPPORTED", ""),
        ("POST", "/api/v1/builds", 405, "UNSUPPORTED", "GET,HEAD"),
        ("DELETE", "/api/v1/builds/one/latest", 405, "UNSUPPORTED", "GET,HEAD,POST"),
        ("PUT", "/api/v1/images/one/latest", 405, "UNSUPPORTED", "GET,HEAD"),
        ("POST", "/api/v1/packages", 405, "UNSUPPORTED", "GET,HEAD"),
    ] {
        let refused = request(&server.address, method, path, &[("Content-Length", "0")]);
        assert_eq!(
            (refused.status, &*refused.error().0, refused.header("allow")),
            (status, code, allow),
            "{method} {path}"
        );
    }
    let moved = get(&server.address, "/builds/");
    assert_eq!((moved.status, moved.header("location")), (307, "/builds"));
}

/// A log was asked for from line -1, and what a library says of that was answered; addresses
/// that people type without a tag, or with one as in a pull, led to errors about tags.
#[test]
fn addresses_and_queries_that_are_wrong_are_answered_by_the_right_ones() {
    let server = Setup::new(fixtures()).start();
    for (path, leads_to) in [
        ("/builds/one", "/builds/one/latest"),
        ("/builds/shell/one/", "/builds/shell/one/latest"),
        ("/builds/shell/one:latest", "/builds/shell/one/latest"),
    ] {
        let moved = get(&server.address, path);
        assert_eq!((moved.status, moved.header("location")), (307, leads_to), "{path}");
    }
    let page = get(&server.address, "/builds/shell/one");
    assert_eq!(page.status, 404);
    assert!(page.text().contains("the path lacks a tag: shell/one/latest"), "{}", page.text());

    let lacks = "the path has to end with a slash and a tag, such as shell/one/latest";
    let forgotten = "there is no tag \"one\" here: expected \"latest\"; if that is part of the \
                     image's name, the path lacks a tag: shell/one/latest";
    let line =
        "the query can't be read: expected at most one from=NUMBER, the first line of the log";
    for (path, status, code, message) in [
        ("builds/shell/one:latest", 400, "TAG_INVALID", lacks),
        ("images/shell/one/", 400, "TAG_INVALID", lacks),
        ("builds/shell/one", 404, "MANIFEST_UNKNOWN", forgotten),
        ("builds/one/latest?from=-1", 400, "NAME_INVALID", line),
    ] {
        let refused = get(&server.address, &format!("/api/v1/{path}"));
        let error = refused.error();
        assert_eq!((refused.status, &*error.0, &*error.1), (status, code, message), "{path}");
    }
}

#[test]
fn a_build_is_shown_under_the_name_that_it_is_asked_for_by() {
    let server = Setup::new(fixtures()).start();
    server.manifest("one/two");
    for path in ["one/two/latest", "two/one/latest", "amd64/two/one/two/latest"] {
        let build = get(&server.address, &format!("/api/v1/builds/{path}")).json();
        let name = format!("{}/{}", build["image"].as_str().unwrap(), "latest");
        assert_eq!(
            (&*name, &build["tag"], &build["state"]),
            (path, &json!("latest"), &json!("made"))
        );
        assert!(build["begun"].is_string());
    }
    let events = raw(
        &server,
        "GET /api/v1/builds/two/one/latest HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\
         Accept: text/event-stream\r\n\r\n",
    );
    assert!(events.contains(r#""image":"two/one""#), "{events}");

    let server = Setup::new(fixtures()).variable("NIXERY_WEB_BUILDS", "false").start();
    server.manifest("one/two");
    let build = get(&server.address, "/api/v1/builds/two/one/latest").json();
    assert_eq!((&build["image"], build.get("begun")), (&json!("two/one"), None));
    for path in ["/", "/builds/one/two/latest"] {
        let page = get(&server.address, path);
        assert!(!page.text().contains(r#"href="/builds""#), "{}", page.text());
        assert!(!page.text().contains("only in this image"), "{}", page.text());
    }
}

#[test]
fn an_image_shares_nothing_with_itself() {
    let server = Setup::new(fixtures()).start();
    for name in ["one/two", "two/one", "two/two/one", "one"] {
        server.manifest(name);
    }
    let image = get(&server.address, "/api/v1/images/one/two/latest").json();
    let layers = image["layers"].as_array().unwrap().iter();
    let shared: Vec<&Value> =
        layers.flat_map(|layer| layer["shared_with"].as_array().unwrap()).collect();
    assert!(!shared.is_empty() && shared.iter().all(|name| **name == "one"), "{shared:?}");
}

/// A number of a line meant another line after the build was begun anew.
#[test]
fn who_watched_another_build_is_told_everything() {
    let talking = r#"[ "$1" = --check ] || echo "a line" >&2
exec "$REAL_BUILDER" "$@""#;
    let server = Setup::new(fixtures()).builder(talking).start();
    server.manifest("one");
    let watch = |last: &str| {
        raw(
            &server,
            &format!(
                "GET /api/v1/builds/one/latest HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\
                 Accept: text/event-stream\r\nLast-Event-ID: {last}\r\n\r\n"
            ),
        )
    };
    let all = watch("");
    assert!(all.contains("a line"), "{all}");
    let last = all.lines().filter_map(|line| line.strip_prefix("id: ")).next_back().unwrap();
    let rest = watch(last);
    assert!(!rest.contains("a line") && rest.contains("event: end"), "{rest}");
    for other in ["99999", "0123456789abcdef-99999", "-", "x"] {
        assert!(watch(other).contains("a line"), "{other}");
    }
}

#[test]
fn where_packages_are_on_the_server_is_not_told() {
    let server = Setup::new(fixtures()).start();
    server.manifest("one");
    let name = std::fs::canonicalize(match &fixtures() {
        crate::harness::Source::Path(path) => path.clone(),
        other => panic!("{other:?}"),
    });
    let name = name.unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    let (_hash, shown) = name.split_once('-').unwrap();
    for path in [
        "/",
        "/api/v1/packages",
        "/builds/one/latest",
        "/api/v1/builds",
        "/api/v1/images/one/latest",
    ] {
        let answer = get(&server.address, path);
        assert!(answer.text().contains(&format!("{shown} on this server")), "{}", answer.text());
        assert!(!answer.text().contains(&format!("{name} ")), "{}", answer.text());
        assert!(!answer.text().contains(&format!("{name}\"")), "{}", answer.text());
    }
}

#[test]
fn only_plain_hosts_are_put_into_commands() {
    let server = Setup::new(fixtures()).start();
    let port = server.address.rsplit(':').next().unwrap();
    let usual = format!("docker run --rm -ti localhost:{port}/shell");
    for (host, command) in [
        ("nixery.example.org:81", "docker run --rm -ti nixery.example.org:81/shell"),
        ("[::1]:81", "docker run --rm -ti [::1]:81/shell"),
        ("a$(reboot)", usual.as_str()),
        ("a;reboot", usual.as_str()),
        ("user@host", usual.as_str()),
    ] {
        let page =
            raw(&server, &format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
        assert!(page.contains(command), "{host}: {page}");
    }
    let page = raw(&server, "GET / HTTP/1.0\r\n\r\n");
    assert!(page.contains(&usual), "{page}");
}
