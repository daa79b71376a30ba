//! A bucket that fails, and servers that are killed.

use std::thread;
use std::time::Duration;

use super::{anonymous, fetch, objects};
use crate::harness::{
    BUCKET, Emulator, Fault, FaultProxy, Rule, debian, fixtures, get, request, wait_until,
};

/// A moment's failure of the bucket was taken for damage, and all was packed again.
#[test]
fn layers_are_not_packed_again_while_the_bucket_fails() {
    let emulator = Emulator::open_to_all();
    let proxy = FaultProxy::start(emulator.address());
    let server = anonymous(debian(), &emulator, &proxy.url()).start();
    for other in ["git", "jq/nano", "shell/htop"] {
        server.manifest(other);
    }
    // What other layers are read by; records are whole objects elsewhere.
    proxy.add(Rule::new(Fault::Status(503, "{}")).path("layers%2F").times(usize::MAX));
    let refused = server.get("/v2/git/jq/htop/manifests/latest");
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(!server.has_logged("packing all paths again"));
    proxy.clear();
    fetch(&server, "git/jq/htop");
}

#[test]
fn a_server_killed_while_it_uploads_leaves_nothing_others_trip_over() {
    let emulator = Emulator::open_to_all();
    for step in ["name=staging", "compose", "rewriteTo", "name=builds"] {
        let proxy = FaultProxy::start(emulator.address());
        let stall = Fault::Stall(Duration::from_mins(5));
        proxy.add(Rule::new(stall).path(step).skip(usize::from(step == "name=staging")));
        let server = anonymous(fixtures(), &emulator, &proxy.url()).start();
        let address = server.address.clone();
        let client = thread::spawn(move || {
            // It ends without an answer.
            let _ = std::panic::catch_unwind(|| get(&address, "/v2/large/manifests/latest"));
        });
        wait_until("the upload", || proxy.injected() == 1);
        let _state = server.kill();
        client.join().unwrap();

        let other = anonymous(fixtures(), &emulator, emulator.url()).start();
        fetch(&other, "large");
        // For the next step it is to be made anew.
        for name in objects(&emulator) {
            let path = format!("/storage/v1/b/{BUCKET}/o/{}", name.replace('/', "%2F"));
            request(&emulator.address().to_string(), "DELETE", &path, &[]);
        }
    }
}

#[test]
fn no_record_names_a_blob_that_could_not_be_stored() {
    let emulator = Emulator::open_to_all();
    let proxy = FaultProxy::start(emulator.address());
    let server = anonymous(fixtures(), &emulator, &proxy.url()).start();
    for (image, step, status, expected) in [
        ("large", "name=staging", 403, 500),
        ("large", "compose", 500, 503),
        ("large", "rewriteTo", 403, 500),
        ("three", "name=layers", 403, 500),
    ] {
        proxy.add(Rule::new(Fault::Status(status, "{}")).path(step).times(usize::MAX));
        let response = server.get(&format!("/v2/{image}/manifests/latest"));
        assert_eq!(response.status, expected, "{step}: {}", response.text());
        proxy.clear();
        let objects = objects(&emulator);
        for name in &objects {
            let (kind, _) = name.split_once('/').unwrap();
            assert!(!["manifests", "builds", "paths"].contains(&kind) || is_sound(&emulator, name));
        }
    }
    fetch(&server, "large");
    fetch(&server, "three");
}

/// Whether all blobs that a record names are there, with their lengths.
fn is_sound(emulator: &Emulator, name: &str) -> bool {
    let address = emulator.address().to_string();
    let object = format!("/storage/v1/b/{BUCKET}/o/{}?alt=media", name.replace('/', "%2F"));
    let record = get(&address, &object).json()["record"].clone();
    let named = record["manifests"].as_array().cloned().unwrap_or(vec![record["blob"].clone()]);
    named.iter().all(|blob| {
        let digest = &blob["digest"].as_str().unwrap()[7..];
        let object = get(&address, &format!("/storage/v1/b/{BUCKET}/o/layers%2F{digest}"));
        object.status == 200 && object.json()["size"] == blob["size"].to_string().as_str()
    })
}

#[test]
fn while_the_bucket_cannot_be_reached_clients_are_told_to_come_back() {
    let emulator = Emulator::open_to_all();
    let proxy = FaultProxy::start(emulator.address());
    let server = anonymous(fixtures(), &emulator, &proxy.url()).start();
    fetch(&server, "two");
    proxy.close();
    // What is known needs no bucket.
    fetch(&server, "two");
    let refused = server.get("/v2/three/manifests/latest");
    assert_eq!((refused.status, refused.header("retry-after")), (503, "10"), "{}", refused.text());
    assert!(refused.text().contains("storage can't be reached"), "{}", refused.text());
    proxy.reopen();
    fetch(&server, "three");
}
