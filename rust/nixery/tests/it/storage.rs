//! What happens to the files must not happen to the clients.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;

use crate::harness::{Server, Setup, debian, digest_of, fixtures, wait_until};

/// The digests of an image's layers, as file names.
fn layers(server: &Server, image: &str) -> Vec<String> {
    let manifest = server.manifest(image).json();
    let layers = manifest["layers"].as_array().unwrap();
    layers.iter().map(|layer| layer["digest"].as_str().unwrap()[7..].to_owned()).collect()
}

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
        assert_eq!(server.get("/readyz").status, 200);
    }
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

/// In the Go program a full disk left files that failed all later images.
#[test]
fn a_full_disk_fails_the_image_and_nothing_after_it() {
    // A small file system that only the server sees, with most of it taken.
    let script = r#"
        mkdir -p "$STORAGE_PATH" && mount -t tmpfs -o size=24m none "$STORAGE_PATH" &&
        head -c 20m /dev/zero > "$STORAGE_PATH/ballast" && exec "$0" "$@"
    "#;
    let user = if rustix::process::geteuid().is_root() { "-m" } else { "-rm" };
    let state = Arc::new(TempDir::new().unwrap());
    let storage = state.path().join("small");
    let mut setup = Setup::new(debian()).variable("STORAGE_PATH", storage.to_str().unwrap());
    setup.runner = ["unshare", user, "sh", "-c", script].map(str::to_owned).to_vec();
    let server = setup.start_in(&state);
    // What it sees, seen from here.
    let inside = PathBuf::from(format!("/proc/{}/root", server.process_id()))
        .join(storage.strip_prefix("/").unwrap());

    server.manifest("cacert");
    let failed = server.get("/v2/git/manifests/latest");
    assert_eq!((failed.status, failed.error().0.as_str()), (500, "UNKNOWN"), "{}", failed.text());
    wait_until("the reason in the log", || {
        server.log().iter().any(|entry| entry.to_string().contains("no space left"))
    });
    // Layers that were packed at the same time stop as soon as they notice.
    wait_until("the end of all unfinished files", || {
        let mut names = fs::read_dir(inside.join("layers")).unwrap();
        !names.any(|entry| entry.unwrap().file_name().to_string_lossy().starts_with('.'))
    });
    server.manifest("cacert");

    fs::remove_file(inside.join("ballast")).unwrap();
    for layer in layers(&server, "jq") {
        let blob = server.get(&format!("/v2/jq/blobs/sha256:{layer}"));
        assert_eq!(digest_of(&blob.body), format!("sha256:{layer}"));
    }
}
