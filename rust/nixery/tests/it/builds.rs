//! Builds as people and programs watch them, and what images consist of.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{COUNTING, Server, Setup, calls, debian, fixtures, get, request, wait_until};

/// Prints three lines with time between them, and then does what it should.
const TALKING: &str = r#"
if [ "$1" != --check ]; then
  for n in 1 2 3; do echo "line $n of <Nix>" >&2; sleep 0.5; done
fi
exec "$REAL_BUILDER" "$@""#;

/// All events of a build, from its beginning to its end: names and data.
fn watch(address: &str, path: &str) -> Vec<(String, Value)> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("content-type: text/event-stream"), "{answer}");
    let field = |event: &str, name: &str| {
        let line = event.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
        line.unwrap_or_default()
    };
    let events = answer.split("\n\n").filter(|event| event.contains("event: "));
    events
        .map(|event| {
            let data = serde_json::from_str(&field(event, "data: ")).unwrap();
            (field(event, "event: "), data)
        })
        .collect()
}

fn wait_for_build(server: &Server, path: &str) {
    wait_until("the build", || get(&server.address, path).status == 200);
}

fn lines(events: &[(String, Value)]) -> Vec<String> {
    let logs = events.iter().filter(|(name, _)| name == "log");
    logs.flat_map(|(_, lines)| lines.as_array().unwrap().clone())
        .map(|line| line.as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_build_is_watched_as_it_goes_on() {
    let server = Setup::new(fixtures()).builder(TALKING).start();
    let path = "/api/v1/builds/three/latest";
    assert_eq!(get(&server.address, path).error().0, "BUILD_UNKNOWN");
    let (manifest, events) = thread::scope(|scope| {
        let pull = scope.spawn(|| server.manifest("three"));
        wait_for_build(&server, path);
        let page = get(&server.address, "/builds/three/latest");
        assert_eq!(page.status, 200);
        assert!(page.text().contains("/assets/build.js"), "{}", page.text());
        let watcher = scope.spawn(|| watch(&server.address, path));
        (pull.join().unwrap(), watcher.join().unwrap())
    });
    let printed = lines(&events);
    for number in 1..=3 {
        assert!(printed.contains(&format!("line {number} of <Nix>")), "{printed:?}");
    }
    let states: Vec<&str> = events
        .iter()
        .filter(|(name, _)| name == "state")
        .map(|(_, state)| state["state"].as_str().unwrap())
        .collect();
    assert!(states.contains(&"nix"), "{states:?}");
    assert_eq!(states.last(), Some(&"made"));
    assert_eq!(events.last().unwrap().0, "end");
    let (_, last) = events.iter().rev().find(|(name, _)| name == "state").unwrap();
    assert_eq!(last["layers"], last["layers_stored"]);
    let digest = manifest.header("docker-content-digest");
    let manifests = last["manifests"].as_array().unwrap();
    assert!(manifests.iter().any(|manifest| manifest["digest"] == digest), "{last}");

    // Afterwards it is told at once, and the page has the image's layers.
    let again = watch(&server.address, path);
    assert_eq!(lines(&again), printed);
    let rest = get(&server.address, &format!("{path}?from=2")).json();
    assert_eq!(
        (&rest["log_begin"], rest["log"].as_array().unwrap().len()),
        (&Value::from(2), printed.len() - 2)
    );
    let page = get(&server.address, "/builds/three/latest");
    assert!(page.text().contains("line 1 of &lt;Nix&gt;"), "{}", page.text());
    assert!(page.text().contains("class=\"layers\""), "{}", page.text());
    let all = get(&server.address, "/api/v1/builds").json();
    assert_eq!(all["builds"][0]["image"], "three");
    let page = get(&server.address, "/builds");
    assert!(page.text().contains("href=\"/builds/three/latest\""), "{}", page.text());
}

#[test]
fn a_build_that_fails_says_where_its_log_is() {
    let server = Setup::new(debian()).start();
    let refused = get(&server.address, "/v2/failing-build/manifests/latest");
    assert_eq!(refused.status, 403);
    let page = "/builds/failing-build/latest";
    let (_, message) = refused.error();
    assert!(message.ends_with(&format!("http://{}{page}", server.address)), "{message}");
    let shown = get(&server.address, page);
    assert_eq!(shown.status, 200);
    assert!(shown.text().contains("this package never builds"), "{}", shown.text());
    let build = get(&server.address, &format!("/api/v1{page}")).json();
    assert_eq!((&build["state"], &build["error"]["code"]), (&"failed".into(), &"DENIED".into()));
}

/// One has asked and never reads; what is printed is more than any buffer holds.
#[test]
fn two_hundred_watchers_are_told_everything_whoever_else_does_not_read() {
    let talking = r#"
if [ "$1" != --check ]; then
  sleep 1
  for n in $(seq 20); do
    { head -c 100000 /dev/zero | tr '\0' x | fold -w 1000; echo; } >&2
    echo "line $n" >&2
    sleep 0.1
  done
fi
exec "$REAL_BUILDER" "$@""#;
    let server = Setup::new(fixtures()).builder(talking).start();
    let path = "/api/v1/builds/one/latest";
    thread::scope(|scope| {
        let pull = scope.spawn(|| server.manifest("one"));
        wait_for_build(&server, path);
        let mut silent = TcpStream::connect(&server.address).unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n");
        silent.write_all(request.as_bytes()).unwrap();
        let watchers: Vec<_> =
            (0..200).map(|_| scope.spawn(|| watch(&server.address, path))).collect();
        for watcher in watchers {
            let events = watcher.join().unwrap();
            let printed = lines(&events);
            // Whoever is slower than Nix misses what isn't kept any more, but not the end.
            assert!(printed.contains(&"line 20".to_owned()), "{} lines", printed.len());
            assert_eq!(events.last().unwrap().0, "end");
        }
        pull.join().unwrap();
        assert_eq!(server.get("/v2/").status, 200);
        drop(silent);
    });
}

#[test]
fn an_image_is_warmed_without_waiting_for_it() {
    let server = Setup::new(fixtures()).builder(&format!("sleep 2\n{COUNTING}")).start();
    let path = "/api/v1/builds/two/one/latest";
    let begun = request(&server.address, "POST", path, &[("Content-Length", "0")]);
    assert_eq!((begun.status, begun.header("location")), (202, path));
    assert_eq!(begun.json()["state"], "nix");
    // Another order is the same image.
    let same = "/api/v1/builds/one/two/latest";
    wait_until("the image", || get(&server.address, same).json()["state"] == "made");
    server.manifest("one/two");
    assert_eq!(calls(&server), 1);
    let again = request(&server.address, "POST", path, &[("Content-Length", "0")]);
    assert_eq!((again.status, &again.json()["state"]), (200, &"made".into()));

    for (wrong, status) in [("/api/v1/builds/One/latest", 400), ("/api/v1/builds/one", 400)] {
        let refused = request(&server.address, "POST", wrong, &[("Content-Length", "0")]);
        assert_eq!(refused.status, status, "{wrong}");
        assert!(!refused.error().1.is_empty());
    }
    let missing = "/api/v1/builds/absent/latest";
    request(&server.address, "POST", missing, &[("Content-Length", "0")]);
    wait_until("the failure", || get(&server.address, missing).json()["state"] == "failed");
}

#[test]
fn builds_and_logs_are_not_shown_where_they_are_private() {
    let server = Setup::new(fixtures()).variable("NIXERY_WEB_BUILDS", "false").start();
    server.manifest("one");
    server.manifest("two");
    let image = get(&server.address, "/api/v1/images/one/latest").json();
    assert_eq!(image["layers"], image_without_sharing(&image), "what others made is not told");
    for path in ["/api/v1/builds", "/builds"] {
        assert_eq!(get(&server.address, path).status, 404, "{path}");
    }
    let build = get(&server.address, "/api/v1/builds/one/latest").json();
    assert_eq!((&build["state"], &build["log"]), (&"made".into(), &Value::Array(Vec::new())));
}

#[test]
fn what_an_image_consists_of_is_told_without_nix() {
    let setup = Setup::new(fixtures()).builder(COUNTING);
    let server = setup.start();
    let path = "/api/v1/images/five/latest";
    assert_eq!(get(&server.address, path).error().0, "MANIFEST_UNKNOWN");
    let manifest = server.manifest("five").json();
    server.manifest("four");
    let image = get(&server.address, path).json();
    let digests = |layers: &Value| -> Vec<String> {
        let layers = layers.as_array().unwrap().iter();
        layers.map(|layer| layer["digest"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(digests(&image["layers"]), digests(&manifest["layers"]));
    let paths: Vec<&Value> = image["layers"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|layer| layer["store_paths"].as_array().unwrap())
        .collect();
    for name in ["one", "two", "three", "four", "five", "cacert", "iana-etc"] {
        let ending = format!("-{name}-1.0");
        let of_name = paths.iter().filter(|path| path["path"].as_str().unwrap().ends_with(&ending));
        assert_eq!(of_name.count(), 1, "{name} in {image}");
    }
    let shared = image["layers"].as_array().unwrap().iter();
    assert!(shared.clone().any(|layer| layer["shared_with"][0] == "four"), "{image}");
    let packages = image["packages"].as_array().unwrap();
    assert!(packages.iter().any(|package| package["attribute"] == "five"), "{image}");

    assert_eq!(get(&server.address, path).json(), image, "the same from what is remembered");

    // Another process knows it from the storage.
    let calls_before = calls(&server);
    let state = server.kill();
    let server = setup.start_in(&state);
    assert_eq!(get(&server.address, path).json()["layers"], image_without_sharing(&image));
    assert_eq!(calls(&server), calls_before);
}

/// What others share is known of this process only.
fn image_without_sharing(image: &Value) -> Value {
    let mut layers = image["layers"].clone();
    for layer in layers.as_array_mut().unwrap() {
        layer["shared_with"] = Value::Array(Vec::new());
    }
    layers
}

#[test]
fn web_pages_of_the_operator_stand_beside_the_servers() {
    let directory = TempDir::new().unwrap();
    let pages = directory.path().join("pages");
    fs::create_dir_all(pages.join("guide")).unwrap();
    fs::write(pages.join("index.html"), "the book").unwrap();
    fs::write(pages.join("guide/index.html"), "a guide").unwrap();
    fs::write(directory.path().join("secret"), "a secret").unwrap();
    let web_dir = pages.to_str().unwrap();
    let server = Setup::new(fixtures()).variable("WEB_DIR", web_dir).start();
    for (path, status, content) in [
        ("/", 200, "href=\"/index.html\""),
        ("/index.html", 200, "the book"),
        ("/guide/", 200, "a guide"),
        ("/guide/nothing.html", 404, "See / for usage"),
        ("/../secret", 404, "See / for usage"),
        ("/%2e%2e/secret", 404, "See / for usage"),
        ("/healthz", 200, "ok"),
    ] {
        let response = get(&server.address, path);
        assert_eq!(response.status, status, "{path}: {response:?}");
        assert!(response.text().contains(content), "{path}: {}", response.text());
    }
    let nowhere = Setup::new(fixtures()).variable("WEB_DIR", "/does/not/exist");
    let (status, log) = nowhere.try_start_in(&Arc::new(TempDir::new().unwrap())).err().unwrap();
    assert!(!status.success() && log.contains("WEB_DIR (web.dir)"), "{status}: {log}");
}
