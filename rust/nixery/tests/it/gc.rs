//! Garbage collection takes what nobody needs, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime};

use crate::harness::{BROKEN, Server, Setup, digest_of, fixtures, run, wait_until};

/// The packages of which 30 images are made.
const PACKAGES: [&str; 5] = ["one", "two", "three", "four", "five"];

/// The image with this number, up to 30: each has other packages.
fn image(number: usize) -> String {
    let chosen = PACKAGES.iter().enumerate().filter(|(bit, _)| (number + 1) >> bit & 1 == 1);
    chosen.map(|(_, name)| *name).collect::<Vec<_>>().join("/")
}

/// Makes everything that is stored look as if it was used `hours` ago.
fn age(storage: &Path, hours: u64) {
    let time = SystemTime::now() - Duration::from_hours(hours);
    for directory in fs::read_dir(storage).unwrap() {
        for entry in fs::read_dir(directory.unwrap().path()).unwrap() {
            let file = File::open(entry.unwrap().path()).unwrap();
            if file.metadata().unwrap().modified().unwrap() > time {
                file.set_modified(time).unwrap();
            }
        }
    }
}

/// Bytes of blobs.
fn size(storage: &Path) -> u64 {
    let blobs = fs::read_dir(storage.join("layers")).unwrap();
    blobs.map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

fn files(storage: &Path) -> BTreeSet<PathBuf> {
    let directories = fs::read_dir(storage).unwrap();
    let entries = directories.flat_map(|entry| fs::read_dir(entry.unwrap().path()).unwrap());
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// `nixery --gc`, with the storage of a server.
fn collector(server: &Server, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nixery"));
    command.arg("--gc").env("NIXERY_CONFIG", "/dev/null").env("NIXERY_PKGS_PATH", "/none");
    command.env("STATE_DIRECTORY", server.state.path()).env("NIXERY_LOG", "warn");
    command.envs(variables.iter().copied());
    command
}

fn collect(server: &Server, variables: &[(&str, &str)]) -> String {
    String::from_utf8(run(&mut collector(server, variables)).stdout).unwrap()
}

#[test]
fn a_collection_to_half_the_bytes_leaves_whole_images() {
    let setup = Setup::new(fixtures());
    let server = setup.start();
    let storage = server.state.path().join("storage");
    // The first was asked for last.
    let made: Vec<_> = (0..30).map(|number| server.manifest(&image(number)).body).collect();
    let digests: Vec<String> = made.iter().map(|manifest| digest_of(manifest)).collect();
    assert_eq!(digests.iter().collect::<BTreeSet<_>>().len(), 30);
    let of_image: BTreeMap<String, PathBuf> = fs::read_dir(storage.join("manifests"))
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let record: serde_json::Value =
                serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            (record["record"]["manifests"][0]["digest"].as_str().unwrap().to_owned(), path)
        })
        .collect();
    age(&storage, 1000);
    for (hours, digest) in (2..).zip(&digests) {
        let time = SystemTime::now() - Duration::from_hours(hours);
        File::open(&of_image[digest]).unwrap().set_modified(time).unwrap();
    }

    let before = size(&storage);
    let half = (before / 2).to_string();
    let limit = [("NIXERY_GC_MAX_BYTES", half.as_str()), ("NIXERY_GC_KEEP", "999")];
    let would = {
        let (everything, mut command) = (files(&storage), collector(&server, &limit));
        let said = String::from_utf8(run(command.arg("--dry-run")).stdout).unwrap();
        assert_eq!(files(&storage), everything, "a dry run removes nothing");
        said
    };
    let said = collect(&server, &limit);
    assert_eq!(would.replace("would remove", "removed"), said);
    assert!(size(&storage) <= before / 2, "{} of {before} bytes are left: {said}", size(&storage));

    // What is left is whole, and one that needs no builder serves it.
    let state = server.kill();
    let server = setup.clone().builder(BROKEN).start_in(&state);
    let (mut kept, mut gone) = (0, 0);
    for (number, (digest, manifest)) in digests.iter().zip(&made).enumerate() {
        let image = image(number);
        let response = server.get(&format!("/v2/{image}/manifests/{digest}"));
        if of_image[digest].exists() {
            assert_eq!(response.status, 200, "{image}");
            server.fetch_parts(&image, &serde_json::from_slice(manifest).unwrap());
            assert_eq!(server.manifest(&image).body, *manifest);
            kept += 1;
        } else {
            assert_eq!(response.status, 404, "{image}");
            gone += 1;
        }
    }
    assert!(kept >= 2 && gone >= 5, "{kept} kept, {gone} removed");
    assert!(of_image[&digests[0]].exists() && !of_image[&digests[29]].exists());
    // What is gone is made again.
    let state = server.kill();
    let server = setup.start_in(&state);
    for (number, manifest) in made.iter().enumerate() {
        assert_eq!(server.manifest(&image(number)).body, *manifest);
    }
}

#[test]
fn what_was_asked_for_in_the_last_hour_stays() {
    let server = Setup::new(fixtures()).start();
    let storage = server.state.path().join("storage");
    let [by_name, by_digest] = ["one", "two"].map(|image| server.manifest(image));
    let unused = server.manifest("three");
    age(&storage, 24 * 100);
    let state = server.kill();
    let server = Setup::new(fixtures()).start_in(&state);
    server.manifest("one");
    let digest = digest_of(&by_digest.body);
    assert_eq!(server.get(&format!("/v2/two/manifests/{digest}")).status, 200);

    let everything = [("NIXERY_GC_MAX_BYTES", "1"), ("NIXERY_GC_KEEP", "0")];
    let said = collect(&server, &everything);
    assert!(said.contains("three"), "{said}");
    server.fetch_parts("one", &by_name.json());
    server.fetch_parts("two", &by_digest.json());
    let digest = digest_of(&unused.body);
    assert_eq!(server.get(&format!("/v2/three/manifests/{digest}")).status, 404);
}

/// The layer that a store path was packed into is removed, and another has it still.
#[test]
fn what_was_packed_is_not_packed_again_while_any_layer_has_it() {
    let server = Setup::new(fixtures()).start();
    let storage = server.state.path().join("storage");
    for image in ["three", "two", "one"] {
        server.manifest(image);
    }
    age(&storage, 100);
    let state = server.kill();
    let server = Setup::new(fixtures()).start_in(&state);
    let kept = server.manifest("two").json();
    let said = collect(&server, &[("NIXERY_GC_MAX_BYTES", "1")]);
    assert!(said.contains("removed cacert iana-etc three"), "{said}");
    server.fetch_parts("two", &kept);
    let state = server.kill();
    let server = Setup::new(fixtures()).builder(BROKEN).start_in(&state);
    server.fetch_parts("one/two", &server.manifest("one/two").json());
}

#[test]
fn pulls_succeed_while_two_collectors_remove_all_they_can() {
    let server = Setup::new(fixtures()).start();
    let storage = server.state.path().join("storage");
    for number in 0..30 {
        server.manifest(&image(number));
    }
    age(&storage, 100);
    let state = server.kill();
    let server = Setup::new(fixtures()).start_in(&state);
    let everything = [("NIXERY_GC_MAX_BYTES", "1"), ("NIXERY_GC_KEEP", "0")];
    thread::scope(|scope| {
        let puller = scope.spawn(|| {
            for number in 0..30 {
                let image = image(number);
                server.fetch_parts(&image, &server.manifest(&image).json());
            }
        });
        let collect = || {
            let reports = (0..10).map(|_| collect(&server, &everything));
            reports.filter(|said| said.contains("removed cacert")).count()
        };
        let collectors = [scope.spawn(collect), scope.spawn(collect)];
        puller.join().unwrap();
        let removing = collectors.map(|collector| collector.join().unwrap());
        assert_ne!(removing, [0, 0], "no image was removed");
    });
    age(&storage, 100);
    let said = collect(&server, &everything);
    assert_eq!(size(&storage), 0, "{said}");
    assert_eq!(files(&storage).len(), 0, "{said}");
    let state = server.kill();
    let server = Setup::new(fixtures()).start_in(&state);
    server.fetch_parts("one", &server.manifest("one").json());
}

#[test]
fn a_server_collects_by_itself() {
    let server = Setup::new(fixtures()).start();
    let storage = server.state.path().join("storage");
    server.manifest("one");
    age(&storage, 24 * 40);
    let state = server.kill();
    let server = Setup::new(fixtures()).variable("NIXERY_GC_INTERVAL", "1").start_in(&state);
    wait_until("the collection", || size(&storage) == 0);
    assert_eq!(server.get("/readyz").status, 200);
    server.manifest("one");
}
