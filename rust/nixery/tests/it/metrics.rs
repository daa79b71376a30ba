//! What is counted is documented, and counted.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use nixery::counters;

use crate::harness::{Setup, fixtures};

/// Names of metrics in a text, without what their form adds to them.
fn names(text: &str) -> BTreeSet<String> {
    let name = regex::Regex::new(r"nixery_[a-z_]+[a-z]").unwrap();
    let suffix = regex::Regex::new("_(bucket|sum|count)$").unwrap();
    name.find_iter(text).map(|found| suffix.replace(found.as_str(), "").into_owned()).collect()
}

#[test]
fn every_metric_is_documented() {
    let book = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../book/src/reference/metrics.md");
    let documented = names(&fs::read_to_string(book).unwrap());
    let known: BTreeSet<String> = counters::NAMES.into_iter().map(str::to_owned).collect();
    assert_eq!(documented, known);
}

#[test]
fn pulls_are_counted() {
    let server = Setup::new(fixtures()).start();
    let manifest = server.manifest("three");
    let layer = manifest.json()["layers"][0].clone();
    server.get(&format!("/v2/three/blobs/{}", layer["digest"].as_str().unwrap()));
    server.manifest("three");
    server.get("/v2/nothing-of-this-name/manifests/latest");
    let metrics = server.get("/metrics");
    assert_eq!(metrics.status, 200);
    assert!(metrics.header("content-type").starts_with("text/plain"));
    let text = metrics.text();
    let sent = 2 * manifest.body.len() + usize::try_from(layer["size"].as_u64().unwrap()).unwrap();
    for line in [
        "nixery_cache_requests_total{cache=\"memory\",result=\"hit\"} 1",
        "nixery_cache_requests_total{cache=\"memory\",result=\"miss\"} 2",
        "nixery_nix_runs_total{purpose=\"packages\",result=\"ok\"} 1",
        "nixery_nix_runs_total{purpose=\"packages\",result=\"error\"} 1",
        "nixery_build_seconds_count{result=\"ok\"} 1",
        "nixery_build_seconds_count{result=\"error\"} 1",
        "nixery_nix_seconds_count 2",
        "nixery_request_seconds_count{route=\"manifest by tag\"} 3",
        "nixery_request_seconds_count{route=\"blob\"} 1",
        "nixery_builds_running 0",
        "nixery_builds_waiting 0",
        &format!("nixery_served_bytes_total {sent}"),
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    let known: BTreeSet<String> = counters::NAMES.into_iter().map(str::to_owned).collect();
    assert!(names(text).is_subset(&known), "{:?}", names(text));
}
