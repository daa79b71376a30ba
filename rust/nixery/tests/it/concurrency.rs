//! Many clients at once.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{
    COUNTING, Server, Setup, calls, debian, digest_of, fixtures, get, head, is_running, request,
    wait_until,
};

#[test]
fn fifty_clients_of_a_cold_image_run_nix_once() {
    let server = Setup::new(debian()).builder(COUNTING).start();
    let clients: Vec<_> = (0..50)
        .map(|number| {
            let address = server.address.clone();
            thread::spawn(move || {
                let names = ["shell/git/htop", "shell/htop/git"];
                let path = format!("/v2/{}/manifests/latest", names[number % 2]);
                let ask = if number % 3 == 0 { head } else { get };
                let response = ask(&address, &path);
                assert_eq!(response.status, 200);
                response.header("docker-content-digest").to_owned()
            })
        })
        .collect();
    let digests: BTreeSet<String> =
        clients.into_iter().map(|client| client.join().unwrap()).collect();
    assert_eq!(digests.len(), 1, "{digests:?}");
    assert_eq!(calls(&server), 1);
}

#[test]
fn a_build_goes_on_when_its_client_leaves() {
    let slow = format!("sleep 2\n{COUNTING}");
    let server = Setup::new(fixtures()).builder(&slow).start();
    let mut stream = std::net::TcpStream::connect(&server.address).unwrap();
    stream.write_all(b"GET /v2/three/manifests/latest HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    wait_until("the build", || {
        !server.log().is_empty()
            && server.log().iter().any(|entry| entry["message"] == "preparing packages")
    });
    drop(stream);
    wait_until("the end of the build", || {
        server.log().iter().any(|entry| entry["message"] == "made")
    });
    server.manifest("three");
    assert_eq!(calls(&server), 1);
}

#[test]
fn known_images_are_served_while_others_are_built_and_too_many_are_refused() {
    let server = Setup::new(fixtures())
        .variable("NIXERY_NIX_MAX_BUILDS", "1")
        .variable("NIXERY_NIX_MAX_QUEUE", "1")
        .start();
    let known = server.manifest("one").json();
    let ask = |name: &str| {
        let (address, path) = (server.address.clone(), format!("/v2/{name}/manifests/latest"));
        thread::spawn(move || get(&address, &path))
    };
    let running = ask("hanging");
    wait_until("the build", || {
        server.log().iter().any(|entry| entry["message"] == "waiting for ever")
    });
    let waiting = ask("hanging/two");
    wait_until("the waiting", || {
        server.log().iter().any(|entry| entry["message"] == "waiting for other builds")
    });
    let refused = server.get("/v2/hanging/three/manifests/latest");
    assert_eq!((refused.status, refused.error().0.as_str()), (429, "TOOMANYREQUESTS"));
    assert!(refused.header("retry-after").parse::<u32>().unwrap() > 0);

    let start = Instant::now();
    assert_eq!(server.get("/v2/").status, 200);
    server.manifest("one");
    let layer = known["layers"][0]["digest"].as_str().unwrap();
    assert_eq!(digest_of(&server.get(&format!("/v2/one/blobs/{layer}")).body), layer);
    assert!(start.elapsed() < Duration::from_secs(5), "they waited behind the build");

    // Ending the server ends the builds, and all who wait are told.
    let mut server = server;
    assert!(server.terminate().success());
    for client in [running, waiting] {
        let response = client.join().unwrap();
        assert_eq!((response.status, response.error().0.as_str()), (503, "UNAVAILABLE"));
    }
    wait_until("the end of the build's processes", || !is_running("sleep 86391"));
}

#[test]
fn a_build_without_clients_is_ended_with_the_server() {
    let mut server = Setup::new(fixtures()).start();
    let mut stream = std::net::TcpStream::connect(&server.address).unwrap();
    write!(stream, "GET /v2/hanging-3/manifests/latest HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    wait_until("the build", || is_running("sleep 86393"));
    drop(stream);
    assert!(server.terminate().success());
    wait_until("the end of the build's processes", || !is_running("sleep 86393"));
    let roots = fs::read_dir(server.state.path().join("roots")).unwrap();
    assert_eq!(roots.count(), 0, "roots are removed");
}

/// What it leaves would keep others from building the same.
#[test]
fn a_build_ends_also_when_its_server_is_killed() {
    let server = Setup::new(fixtures()).start();
    let mut stream = std::net::TcpStream::connect(&server.address).unwrap();
    write!(stream, "GET /v2/hanging-4/manifests/latest HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    wait_until("the build", || is_running("sleep 86394"));
    server.kill();
    wait_until("the end of the build's processes", || !is_running("sleep 86394"));
}

/// The Go program rewrote a manifest in place on each request by tag: requests
/// by digest meanwhile were answered with an empty or short body.
#[test]
fn requests_by_digest_are_whole_while_others_ask_by_tag() {
    let server = Setup::new(fixtures()).start();
    let manifest = server.manifest("three");
    let digest = manifest.header("docker-content-digest").to_owned();
    let ask = |path: String, times: usize| {
        let (address, expected) = (server.address.clone(), manifest.body.clone());
        thread::spawn(move || {
            for _ in 0..times {
                let response = get(&address, &path);
                assert_eq!(response.status, 200);
                assert_eq!(response.body, expected);
            }
        })
    };
    let clients: Vec<_> = (0..4)
        .flat_map(|_| {
            [
                ask("/v2/three/manifests/latest".to_owned(), 500),
                ask(format!("/v2/three/manifests/{digest}"), 500),
                ask(format!("/v2/three/blobs/{digest}"), 500),
            ]
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
}

/// The Go program answered 500 when another process wrote to the storage.
#[test]
fn two_processes_share_one_storage() {
    let setup = Setup::new(debian());
    let one = setup.start();
    let two = setup.start_in(&one.state);
    let ask = |server: &Server, image: &str| {
        let (address, path) = (server.address.clone(), format!("/v2/{image}/manifests/latest"));
        thread::spawn(move || request(&address, "GET", &path, &[]))
    };
    for image in ["git/jq", "shell/jq", "htop/jq"] {
        let answers = [ask(&one, image), ask(&two, image)].map(|client| client.join().unwrap());
        assert_eq!(answers[0].status, 200, "{}", answers[0].text());
        assert_eq!(answers[0].body, answers[1].body);
        for layer in answers[0].json()["layers"].as_array().unwrap() {
            let digest = layer["digest"].as_str().unwrap();
            for server in [&one, &two] {
                let blob = server.get(&format!("/v2/{image}/blobs/{digest}"));
                assert_eq!(digest_of(&blob.body), digest);
            }
        }
    }
    let unfinished = fs::read_dir(one.blobs())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with('.'));
    assert_eq!(unfinished.count(), 0);
}
