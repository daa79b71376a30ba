//! A server that is killed while it packs real packages, which takes long enough for the
//! kill to hit it. `soak/kills.rs` does it at any moment, and mostly with small ones.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::harness::{Setup, debian, get, wait_until};
use crate::soak::Stored;

const IMAGE: &str = "shell/git/jq";

/// Kills that must hit the packing, and how many may be tried until they have.
const HITS: u32 = 3;
const TRIES: u64 = 10;

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
    let (mut hits, mut tries) = (0, 0..TRIES);
    while hits < HITS {
        let Some(round) = tries.next() else { panic!("only {hits} kills hit the packing") };
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
        let storage = state.path().join("storage");
        let left = Stored::in_directory(&storage);
        left.check();
        hits += u32::from(left.unfinished > 0);

        let server = setup.start_in(&state);
        assert_eq!(server.manifest(IMAGE).body, whole, "the image is what it would have been");
        let (before, stored) = (left.blobs().len(), Stored::in_directory(&storage));
        println!("round {round}: {before} blobs were whole, {} unfinished", left.unfinished);
        stored.check();
        assert!(stored.blobs().len() > 10);
    }
}
