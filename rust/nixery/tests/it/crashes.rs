//! Crashes lose nothing that was served, and never make something wrong served.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::harness::{Server, Setup, debian, digest_of, get, wait_until};

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

fn is_packing(state: &TempDir) -> bool {
    let blobs = state.path().join("storage/layers");
    let names = fs::read_dir(blobs).into_iter().flatten();
    names.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with('.'))
}

#[test]
fn killed_while_packing_it_goes_on_with_what_is_whole() {
    // With one thread, packing takes over a second on any machine.
    let setup = Setup::new(debian()).variable("NIXERY_PACKING_THREADS", "1");
    let whole = setup.start().manifest(IMAGE).body;
    let random = RandomState::new();
    let mut hits = 0;
    for round in 0..10_u64 {
        let server = setup.start();
        let (address, path) = (server.address.clone(), format!("/v2/{IMAGE}/manifests/latest"));
        let client = thread::spawn(move || {
            // The connection breaks when the server is killed, as it should.
            let _ = std::panic::catch_unwind(|| get(&address, &path));
        });
        wait_until("packing", || is_packing(&server.state));
        thread::sleep(Duration::from_millis(random.hash_one(round) % 700));
        let state = server.kill();
        client.join().unwrap();
        let hit = is_packing(&state);
        hits += u32::from(hit);

        let server = setup.start_in(&state);
        let blobs = check_blobs(&server);
        println!("round {round}: {blobs} blobs were whole; killed while packing: {hit}");
        assert_eq!(server.manifest(IMAGE).body, whole, "the image is what it would have been");
        assert!(check_blobs(&server) > 10);
    }
    assert!(hits >= 3, "only {hits} of 10 kills hit the packing");
}
