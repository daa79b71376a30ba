//! Crashes lose nothing that was served, and never make something wrong served.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::thread;
use std::time::Duration;

use crate::harness::{Server, Setup, debian, digest_of, get};

const IMAGE: &str = "shell/git/jq";

/// Checks that all that is stored as a blob is served under its digest, whole.
fn check_blobs(server: &Server) -> usize {
    let mut checked = 0;
    for entry in fs::read_dir(server.blobs()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.starts_with('.') {
            continue;
        }
        let digest = format!("sha256:{name}");
        let blob = server.get(&format!("/v2/{IMAGE}/blobs/{digest}"));
        assert_eq!(blob.status, 200, "{digest}");
        assert_eq!(digest_of(&blob.body), digest);
        checked += 1;
    }
    checked
}

#[test]
fn killed_while_packing_it_goes_on_with_what_is_whole() {
    // Slow enough that it is killed in the middle.
    let setup = Setup::new(debian()).variable("NIXERY_PACKING_LEVEL", "9");
    let mut server = setup.start();
    let random = RandomState::new();
    for round in 0..10_u64 {
        let (address, path) = (server.address.clone(), format!("/v2/{IMAGE}/manifests/latest"));
        let client = thread::spawn(move || {
            // The connection breaks when the server is killed, as it should.
            let _ = std::panic::catch_unwind(|| get(&address, &path));
        });
        thread::sleep(Duration::from_millis(300 + random.hash_one(round) % 2500));
        let state = server.kill();
        client.join().unwrap();
        server = setup.start_in(&state);
        let blobs = check_blobs(&server);
        println!("round {round}: {blobs} blobs were whole");
    }
    let manifest = server.manifest(IMAGE);
    let fresh = setup.start().manifest(IMAGE);
    assert_eq!(manifest.body, fresh.body, "and the image is what it would have been");
    assert!(check_blobs(&server) > 10);
}
