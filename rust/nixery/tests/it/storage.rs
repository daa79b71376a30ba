//! What happens to the files must not happen to the clients.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::harness::{Setup, digest_of, fixtures, layers};

/// The Go program answered 200 with an empty or short body.
#[test]
fn missing_and_damaged_blobs_are_not_served_and_made_again() {
    type Damage = fn(&PathBuf);
    let damages: [Damage; 4] = [
        |file| fs::remove_file(file).unwrap(),
        |file| fs::write(file, "").unwrap(),
        |file| fs::File::options().write(true).open(file).unwrap().set_len(100).unwrap(),
        |file| {
            // The same length, with one bit turned.
            let mut content = fs::read(file).unwrap();
            content[500] ^= 1;
            fs::write(file, content).unwrap();
        },
    ];
    for restart in [false, true] {
        let mut server = Setup::new(fixtures()).start();
        for damage in damages {
            let layers = layers(&server, "three");
            let file = server.blobs().join(&layers[0]);
            damage(&file);
            if restart {
                let state = server.kill();
                server = Setup::new(fixtures()).start_in(&state);
            }
            let path = format!("/v2/three/blobs/sha256:{}", layers[0]);
            let response = server.get(&path);
            assert_eq!((response.status, response.error().0.as_str()), (404, "BLOB_UNKNOWN"));
            server.manifest("three");
            let blob = server.get(&path);
            assert_eq!(digest_of(&blob.body), format!("sha256:{}", layers[0]));
        }
    }
}

#[test]
fn records_that_are_damaged_or_gone_are_made_again() {
    let state = Arc::new(TempDir::new().unwrap());
    let setup = Setup::new(fixtures());
    let manifest = setup.start_in(&state).manifest("three").body;
    for kind in ["manifests", "builds"] {
        for content in [None, Some(""), Some("{\"version\":0}"), Some("not JSON")] {
            for entry in fs::read_dir(state.path().join("storage").join(kind)).unwrap() {
                let file = entry.unwrap().path();
                match content {
                    None => fs::remove_file(file).unwrap(),
                    Some(content) => fs::write(file, content).unwrap(),
                }
            }
            assert_eq!(setup.start_in(&state).manifest("three").body, manifest);
        }
    }
}

#[test]
fn directories_that_are_removed_are_made_again() {
    let server = Setup::new(fixtures()).start();
    let storage = server.state.path().join("storage");
    for gone in ["builds", "manifests", "layers", ""] {
        fs::remove_dir_all(storage.join(gone)).unwrap();
        server.manifest("three");
        server.manifest("two");
        // The last answer is remembered for two seconds.
        thread::sleep(Duration::from_millis(2100));
        assert_eq!(server.get("/readyz").status, 200);
    }
}

/// Everybody may ask, and each answer once took three files that were written and removed.
#[test]
fn whether_it_is_ready_is_tried_once_for_all_who_ask() {
    let server = Setup::new(fixtures()).start();
    let storage = server.state.path().join("storage");
    let changed = || -> Vec<_> {
        let directories = fs::read_dir(&storage).unwrap().map(|entry| entry.unwrap().path());
        directories.map(|path| fs::metadata(path).unwrap().modified().unwrap()).collect()
    };
    let start = changed();
    assert_eq!(server.get("/readyz").status, 200);
    let (begin, first) = (Instant::now(), changed());
    assert_ne!(start, first, "it was tried");
    let mut asked = 0;
    while begin.elapsed() < Duration::from_secs(1) {
        assert_eq!(server.get("/readyz").text(), "ready\n");
        asked += 1;
    }
    assert_eq!(first, changed(), "after {asked} questions");
    thread::sleep(Duration::from_millis(1500));
    assert_eq!(server.get("/readyz").status, 200);
    assert_ne!(first, changed(), "it is tried again");
}

#[test]
fn a_pinned_image_needs_no_builder_after_a_restart() {
    let state = Arc::new(TempDir::new().unwrap());
    let manifest = Setup::new(fixtures()).start_in(&state).manifest("three").body;
    let broken = Setup::new(fixtures()).builder("[ \"$1\" = --check ] || exit 70");
    let server = broken.start_in(&state);
    assert_eq!(server.manifest("three").body, manifest);
    assert_eq!(server.get("/v2/two/manifests/latest").status, 500);
}
