//! What is counted, and how it is written.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;

use lzma_rust2::{XzOptions, XzWriter};
use tempfile::tempdir;

use crate::program::{Place, Run, beside, program};
use crate::server::{Reply, Server};
use crate::store::{expected, store};

#[test]
fn counts_are_those_of_the_store() {
    let server = Server::start(&store().cache, |_, _| Reply::File);
    let place = Place::new();
    let run = place.run(&server.url(), &[]);
    let total = store().closure.len();
    run.ends(
        0,
        &[&format!("{total} store paths: {total} fetched now, 0 before, 0 not in the cache")],
    );
    assert_eq!(run.output, "");
    let counts = place.counts().unwrap();
    assert_eq!(counts, expected(&store().closure));
    assert!(counts["libc6"] > 10, "{counts:?}");
    assert_eq!(beside(&place.table()), ["popularity.json", "state", "store-paths"]);
}

#[test]
fn a_part_of_the_store_is_counted_by_itself() {
    let part = &store().closure[..store().closure.len() / 2];
    let server = Server::start(&store().cache, |_, _| Reply::File);
    let place = Place::with_list(&part.join("\n"));
    place.run(&server.url(), &[]).ends(0, &[]);
    assert_eq!(place.counts().unwrap(), expected(part));
}

#[test]
fn the_store_of_this_machine_gives_the_same() {
    let run = Run::of(program().arg("--from-store").args(&store().packages));
    run.ends(0, &[&format!("{} store paths", store().closure.len())]);
    let counts: BTreeMap<String, u64> = serde_json::from_str(&run.output).unwrap();
    assert_eq!(counts, expected(&store().closure));
}

#[test]
fn a_store_path_that_is_none_is_refused_in_the_words_of_nix() {
    let run = Run::of(program().args(["--from-store", "/nix/store/none"]));
    run.ends(1, &["error: ", "/nix/store/none", "nix path-info failed"]);
    let run = Run::of(program().args(["--from-store", "/nix/store/x"]).env("PATH", "/"));
    run.ends(1, &["can't run nix; it must be on PATH"]);
}

// Nix said that it "does not contain a 'flake.nix'".
#[test]
fn what_is_not_in_the_store_is_refused() {
    let directory = tempdir().unwrap();
    let run = Run::of(program().arg("--from-store").arg(directory.path()));
    run.ends(1, &["is not in the Nix store: expected a store path, or a link to one"]);
    assert!(!run.errors.contains("flake"), "{}", run.errors);
    // Links to store paths are as good as those.
    let link = directory.path().join("result");
    std::os::unix::fs::symlink(&store().packages[0], &link).unwrap();
    Run::of(program().arg("--from-store").arg(&link)).ends(0, &["store paths"]);
}

// As the server reads it: an object of names and whole numbers. Sorted, and so the same
// bytes for the same packages.
#[test]
fn the_table_is_the_same_on_every_run() {
    let server = Server::start(&store().cache, |_, _| Reply::File);
    let tables = ["1", "64"].map(|concurrency| {
        let place = Place::new();
        place.run(&server.url(), &["--concurrency", concurrency]).ends(0, &[]);
        // What is there before is replaced.
        let once = fs::read_to_string(place.table()).unwrap();
        place.run(&server.url(), &[]).ends(0, &["0 fetched now"]);
        assert_eq!(fs::read_to_string(place.table()).unwrap(), once);
        once
    });
    assert_eq!(tables[0], tables[1]);
    let keys: Vec<&str> = tables[0].lines().filter_map(|line| line.split('"').nth(1)).collect();
    assert!(keys.is_sorted() && keys.len() == expected(&store().closure).len(), "{keys:?}");
}

#[test]
fn channels_have_lists_by_name_by_url_and_compressed() {
    let lists = tempdir().unwrap();
    let plain = store().closure.join("\n") + "\n";
    let mut xz = XzWriter::new(Vec::new(), XzOptions::with_preset(1)).unwrap();
    xz.write_all(plain.as_bytes()).unwrap();
    fs::create_dir_all(lists.path().join("channels/nixos-test")).unwrap();
    let file = lists.path().join("channels/nixos-test/store-paths.xz");
    fs::write(&file, xz.finish().unwrap()).unwrap();
    fs::write(lists.path().join("plain"), plain).unwrap();
    let channels = Server::start(lists.path(), |_, _| Reply::File);
    let cache = Server::start(&store().cache, |_, _| Reply::File);

    let base = format!("{}/channels/", channels.url());
    let url = format!("{}/plain", channels.url());
    let file_url = format!("file://{}", file.display());
    for channel in ["nixos-test", &url, &file_url, file.to_str().unwrap()] {
        let mut command = program();
        command.args([channel, "--channels", &base, "--cache", &cache.url()]);
        // Where the state is unless it is told.
        let run = Run::of(command.env("XDG_CACHE_HOME", lists.path()));
        run.ends(0, &[]);
        let counts: BTreeMap<String, u64> = serde_json::from_str(&run.output).unwrap();
        assert_eq!(counts, expected(&store().closure), "{channel}");
    }
    let asked = cache.asked();
    assert_eq!(asked.len(), store().closure.len());
    assert!(asked.values().all(|times| *times == 1), "{asked:?}");
    assert!(lists.path().join("nixery-popcount").is_dir());
}
