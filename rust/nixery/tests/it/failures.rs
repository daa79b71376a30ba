//! What clients are told when there is no image.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::harness::{Server, Setup, debian, fixtures, wait_until};

fn error(server: &Server, image: &str) -> (u16, String, String) {
    let response = server.get(&format!("/v2/{image}/manifests/latest"));
    assert_eq!(response.header("content-type"), "application/json");
    let (code, message) = response.error();
    (response.status, code, message)
}

#[test]
fn each_failure_says_what_it_is() {
    let server = Setup::new(debian()).start();
    for (image, status, code, text) in [
        ("gti", 404, "MANIFEST_UNKNOWN", "Could not find Nix packages: gti (did you mean git"),
        ("python3packages.nothing", 404, "MANIFEST_UNKNOWN", "python3packages.nothing"),
        ("git/shell", 404, "MANIFEST_UNKNOWN", "write shell at the front"),
        ("zzzzzzzz/yyyyyyyy", 404, "MANIFEST_UNKNOWN", "yyyyyyyy, zzzzzzzz"),
        ("unfree-thing", 403, "DENIED", "unfree"),
        ("broken-thing", 403, "DENIED", "broken"),
        ("insecure-thing", 403, "DENIED", "insecure"),
        ("fetchurl", 403, "DENIED", "function"),
        ("plain-set", 403, "DENIED", "not a package"),
        ("failing-build", 403, "DENIED", "error: this package never builds"),
    ] {
        let (found, found_code, message) = error(&server, image);
        assert_eq!((found, found_code.as_str()), (status, code), "{image}: {message}");
        assert!(message.contains(text), "{image}: {message}");
    }
    assert!(
        error(&server, "failing-build").2.starts_with("failing-build"),
        "the derivation's name"
    );
}

#[test]
fn a_build_that_takes_too_long_is_ended_and_said_to_go_on() {
    let server = Setup::new(debian()).variable("NIX_TIMEOUT", "4").start();
    let start = Instant::now();
    let (status, code, message) = error(&server, "hanging-build");
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    assert_eq!((status, code.as_str()), (403, "DENIED"));
    assert!(message.contains("after 4 seconds") && message.contains("NIX_TIMEOUT"), "{message}");
    let again = Instant::now();
    assert_eq!(error(&server, "hanging-build").0, 403);
    assert!(again.elapsed() < Duration::from_secs(2), "a GET after a HEAD starts no other build");
}

/// Log lines reach the log as they appear, with the image they are about.
#[test]
fn nix_is_heard_while_it_works() {
    let server = Setup::new(fixtures()).variable("NIX_TIMEOUT", "20").start();
    let address = server.address.clone();
    let client =
        thread::spawn(move || crate::harness::get(&address, "/v2/hanging-2/manifests/latest"));
    wait_until("the line in the log", || {
        let log = server.log();
        let is_it = |entry: &serde_json::Value| {
            entry["message"] == "waiting for ever" && entry["image"] == "hanging-2"
        };
        log.iter().any(is_it)
    });
    assert!(!client.is_finished());
    assert_eq!(client.join().unwrap().status, 403);
}

/// The Go program read the builder's pipes one after the other, and hung.
#[test]
fn a_megabyte_on_the_builders_standard_error_is_no_problem() {
    let noisy = "head -c 1000000 /dev/zero | tr '\\0' x >&2\nexec \"$REAL_BUILDER\" \"$@\"";
    Setup::new(fixtures()).builder(noisy).start().manifest("one");
}

#[test]
fn a_broken_builder_is_the_operators_affair() {
    for script in ["exit 0", "echo nonsense", "kill -9 $$", "echo '{\"protocol\":1}'; exit 3"] {
        let script = format!("[ \"$1\" = --check ] && exit\n{script}");
        let server = Setup::new(fixtures()).builder(&script).start();
        let (status, code, message) = error(&server, "one");
        assert_eq!((status, code.as_str()), (500, "UNKNOWN"), "{script}: {message}");
        wait_until("the identifier in the log", || {
            let log = server.log();
            let mut ids = log.iter().filter_map(|entry| entry["id"].as_str());
            ids.any(|id| message.contains(id))
        });
    }
}

#[test]
fn a_server_that_cannot_work_does_not_start_and_says_why() {
    let fails = |setup: Setup, words: &[&str]| {
        let state = Arc::new(TempDir::new().unwrap());
        let Err((status, log)) = setup.try_start_in(&state) else { panic!("it started") };
        assert_eq!(status.code(), Some(1), "{log}");
        for word in words {
            assert!(log.contains(word), "{word}: {log}");
        }
    };
    let setup = || Setup::new(fixtures());
    fails(setup().variable("NIXERY_PKGS_PATH", ""), &["NIXERY_CHANNEL", "NIXERY_PKGS_REPO"]);
    fails(
        setup().variable("NIXERY_CHANNEL", "nixos-unstable"),
        &["NIXERY_PKGS_PATH", "expected one"],
    );
    fails(setup().variable("STORAGE_PATH", "/proc/nixery"), &["STORAGE_PATH", "/proc/nixery"]);
    fails(setup().variable("NIXERY_LOG", "nixery=loud"), &["nixery=loud", "info"]);
    fails(setup().variable("NIX_POPULARITY_URL", "file:///missing"), &["/missing"]);
    fails(setup().variable("PATH", "/nowhere"), &["nixery-prepare-image", "PATH"]);
    let running = setup().start();
    let port = running.address.rsplit(':').next().unwrap();
    fails(setup().variable("PORT", port), &["PORT", port]);
}
