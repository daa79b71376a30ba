//! What was made once is not made again: not by Nix, not by packing, not by another
//! server.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use crate::harness::{
    BROKEN, COUNTING, Repository, Server, Setup, Source, calls, debian, digest_of, fixtures, run,
    wait_until,
};

/// The value of a counter.
fn counter(server: &Server, name: &str) -> u64 {
    let metrics = server.get("/metrics");
    let line = metrics.text().lines().find(|line| line.starts_with(name)).map(str::to_owned);
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

/// Checks that all of an image can be fetched and is what its digests say.
fn fetch(server: &Server, image: &str) -> serde_json::Value {
    let manifest = server.manifest(image).json();
    server.fetch_parts(image, &manifest);
    manifest
}

#[test]
fn new_combinations_of_known_packages_need_no_nix() {
    let repository = Repository::of_fixtures();
    let setup = Setup::new(repository.source()).builder(COUNTING);
    for restarts in [false, true] {
        let mut server = setup.start();
        for (image, expected) in [("two", 1), ("three", 2), ("two/three", 2), ("three/two", 2)] {
            if restarts {
                let state = server.kill();
                server = setup.start_in(&state);
            }
            fetch(&server, image);
            assert_eq!(calls(&server), expected, "after {image}, restarts: {restarts}");
        }
    }
}

/// The second one has no Nix at all, not even a store.
#[test]
fn a_second_server_serves_all_of_it_without_nix() {
    let repository = Repository::of_fixtures();
    let setup = Setup::new(repository.source());
    let first = setup.start();
    let made = ["two", "three", "two/three"].map(|image| first.manifest(image).body);
    let storage = first.state.path().join("storage");

    let mut second =
        setup.clone().builder(BROKEN).variable("STORAGE_PATH", storage.to_str().unwrap());
    let script = r#"mkdir -p /nix && mount -t tmpfs none /nix && exec "$0" "$@""#;
    let user = if rustix::process::geteuid().is_root() { "-m" } else { "-rm" };
    second.runner = ["unshare", user, "sh", "-c", script].map(str::to_owned).to_vec();
    let second = second.start();
    for (image, made) in ["two", "three", "two/three"].into_iter().zip(made) {
        assert_eq!(second.manifest(image).body, made);
        fetch(&second, image);
    }
    fetch(&second, "three/cacert/two");
    assert_eq!(counter(&second, "nixery_nix_runs_total"), 0);
}

/// However the paths of an image were packed before, it is the same image.
#[test]
fn layers_are_put_together_from_others_byte_by_byte() {
    let image = "git/jq/htop";
    let fresh = Setup::new(debian()).start();
    let expected = fresh.manifest(image).body;
    let server = Setup::new(debian()).start();
    for other in ["git", "jq/nano", "shell/htop"] {
        fetch(&server, other);
    }
    let packed = counter(&server, "nixery_layer_bytes_total{origin=\"packed\"}");
    assert_eq!(server.manifest(image).body, expected);
    fetch(&server, image);
    let copied = counter(&server, "nixery_layer_bytes_total{origin=\"copied\"}");
    assert!(copied > 1_000_000, "only {copied} bytes were copied");
    let more = counter(&server, "nixery_layer_bytes_total{origin=\"packed\"}") - packed;
    // The links, and the directories above the paths and the end of each archive.
    assert!(more < 200_000, "{more} bytes were packed again");
}

/// All records of a kind.
fn records(state: &Path, kind: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(state.join("storage").join(kind)).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// What becomes of a record's text.
type Damage<'a> = &'a dyn Fn(&str) -> String;

#[test]
fn records_that_cannot_be_used_are_made_again_and_the_log_says_so() {
    let no_blob = digest_of(b"no such blob");
    let replace_digests = |text: &str| {
        let digest = regex::Regex::new("sha256:[0-9a-f]{64}").unwrap();
        digest.replace_all(text, no_blob.as_str()).into_owned()
    };
    let next_version = |text: &str| text.replacen("\"version\":2", "\"version\":3", 1);
    let damages: [(&str, Damage<'_>); 5] = [
        ("can't be read", &|_| String::new()),
        ("can't be read", &|text| text[..text.len() / 2].to_owned()),
        ("another version", &next_version),
        ("can't be read", &|_| "{\"version\":2,\"record\":{}}".to_owned()),
        ("names a layer that is missing|has lost its manifest", &replace_digests),
    ];
    let state = Arc::new(TempDir::new().unwrap());
    let setup = Setup::new(fixtures());
    let expected = {
        let server = setup.start_in(&state);
        fetch(&server, "two");
        fetch(&server, "three")
    };
    // What has to be gone for a record to be asked for.
    let above: [(&str, &[&str]); 4] = [
        ("manifests", &[]),
        ("packages", &["manifests"]),
        ("builds", &["manifests"]),
        ("paths", &["manifests", "builds"]),
    ];
    for (kind, gone) in above {
        for (message, damage) in &damages {
            if kind == "packages" && message.contains("names a layer") {
                continue; // They name no blobs.
            }
            fs::remove_dir_all(state.path().join("cache")).unwrap();
            for kind in gone {
                fs::remove_dir_all(state.path().join("storage").join(kind)).unwrap();
            }
            for record in records(state.path(), kind) {
                let text = fs::read_to_string(&record).unwrap();
                fs::write(&record, damage(&text)).unwrap();
            }
            let server = setup.start_in(&state);
            assert_eq!(fetch(&server, "three"), expected, "{kind}, {message}");
            let said = || message.split('|').any(|text| server.has_logged(text));
            wait_until("the message in the log", said);
        }
    }
}

/// A record that points to the wrong place in a good layer.
#[test]
fn a_record_that_is_wrong_about_a_path_is_noticed() {
    let state = Arc::new(TempDir::new().unwrap());
    let setup = Setup::new(fixtures());
    let expected = {
        let server = setup.start_in(&state);
        fetch(&server, "three")
    };
    for kind in ["manifests", "builds"] {
        fs::remove_dir_all(state.path().join("storage").join(kind)).unwrap();
    }
    fs::remove_dir_all(state.path().join("cache")).unwrap();
    for record in records(state.path(), "paths") {
        let text = fs::read_to_string(&record).unwrap();
        let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let offset = json["record"]["members"]["offset"].as_u64().unwrap();
        json["record"]["members"]["offset"] = (offset - 1).into();
        fs::write(&record, json.to_string()).unwrap();
    }
    let server = setup.start_in(&state);
    assert_eq!(fetch(&server, "three"), expected);
    assert!(server.has_logged("packing all paths again"));
}

/// Blobs and store paths are gone, and only the records are left.
#[test]
fn store_paths_that_are_gone_are_realised_again() {
    let directory = TempDir::new().unwrap();
    let unique = directory.path().file_name().unwrap().to_str().unwrap().replace('.', "");
    let set = format!(
        "{{ ... }}: let package = name: text: derivation {{ inherit name; system = \
         builtins.currentSystem; builder = \"/bin/sh\"; args = [ \"-c\" \"echo ${{text}} > $out\" ]; }} \
         // {{ type = \"derivation\"; }}; in rec {{ cacert = package \"cacert-{unique}\" \"c\"; \
         iana-etc = package \"iana-{unique}\" \"i\"; lib = package \"lib-{unique}\" \"l\"; \
         tool = package \"tool-{unique}\" \"${{lib}}\"; }}"
    );
    let repository = Repository::of_fixtures();
    repository.commit(&set);
    let setup = Setup::new(repository.source()).builder(COUNTING);
    let server = setup.start();
    let expected = fetch(&server, "tool");
    assert_eq!(calls(&server), 1);
    let state = server.kill();
    fs::remove_dir_all(state.path().join("storage/layers")).unwrap();
    let paths: Vec<PathBuf> = fs::read_dir("/nix/store")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().unwrap().ends_with(&unique))
        .collect();
    assert_eq!(paths.len(), 4, "{paths:?}");
    // The killed server's roots keep them for a while.
    fs::remove_dir_all(state.path().join("roots")).unwrap();
    run(std::process::Command::new("nix-store").arg("--delete").args(&paths));

    let server = setup.start_in(&state);
    assert_eq!(fetch(&server, "tool"), expected);
    // Nix is asked for the paths, and then, as no binary cache has them, to build.
    assert_eq!(calls(&server), 3);
    assert!(server.has_logged("realising store paths"));
}

#[test]
fn a_directory_is_known_again_by_its_content() {
    let directory = TempDir::new().unwrap();
    let set = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/packages/default.nix");
    fs::copy(set, directory.path().join("default.nix")).unwrap();
    let setup = Setup::new(Source::Path(directory.path().to_owned())).builder(COUNTING);
    let server = setup.start();
    let made = server.manifest("two").body;
    server.manifest("one/two");
    assert_eq!(calls(&server), 2);
    let state = server.kill();
    let server = setup.start_in(&state);
    assert_eq!(server.manifest("two").body, made);
    server.manifest("one");
    assert_eq!(calls(&server), 2);

    let always = setup.variable("NIXERY_SOURCE_FINGERPRINT", "false");
    let state = server.kill();
    assert_eq!(always.start_in(&state).manifest("two").body, made);
    let server = always.start_in(&state);
    server.manifest("two");
    assert_eq!(calls(&server), 4, "Nix runs for each server");
}

#[test]
fn a_clean_work_tree_is_its_commit() {
    let repository = Repository::of_fixtures();
    let commit = repository.git(&["rev-parse", "HEAD"]);
    let server = Setup::new(Source::Path(repository.path().to_owned())).start();
    let manifest = fetch(&server, "one");
    let config = manifest["config"]["digest"].as_str().unwrap();
    let config = server.get(&format!("/v2/one/blobs/{config}")).json();
    assert_eq!(config["config"]["Labels"]["org.opencontainers.image.revision"], commit);
}
