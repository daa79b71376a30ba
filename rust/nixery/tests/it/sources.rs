//! Package sets in git repositories and in directories.

use std::fs;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::harness::{COUNTING, Server, Setup, Source, calls, git};

/// A package set of a few packages, whose content is `version`.
fn package_set(version: &str) -> String {
    let package = |name: &str| {
        format!(
            "{name} = derivation {{ name = \"{name}-{version}\"; system = builtins.currentSystem; \
             builder = \"/bin/sh\"; args = [ \"-c\" \"echo {version} > $out\" ]; }} \
             // {{ type = \"derivation\"; }};"
        )
    };
    let packages = ["thing", "cacert", "iana-etc"].map(package).join("\n");
    format!("{{ system ? \"\" }}: {{ {packages} }}")
}

fn config(server: &Server, tag: &str) -> serde_json::Value {
    let manifest = server.get(&format!("/v2/thing/manifests/{tag}"));
    assert_eq!(manifest.status, 200, "{tag}: {}", manifest.text());
    let digest = manifest.json()["config"]["digest"].as_str().unwrap().to_owned();
    server.get(&format!("/v2/thing/blobs/{digest}")).json()
}

#[test]
fn a_repository_has_branches_tags_commits_and_a_default_branch() {
    let directory = TempDir::new().unwrap();
    let repository = directory.path();
    let commit = |version: &str| {
        fs::write(repository.join("default.nix"), package_set(version)).unwrap();
        git(repository, &["add", "."]);
        git(repository, &["commit", "-q", "-m", version]);
        git(repository, &["rev-parse", "HEAD"])
    };
    git(repository, &["init", "-q", "-b", "trunk"]);
    let first = commit("first");
    git(repository, &["tag", "-a", "v1.0", "-m", "the first"]);
    let second = commit("second");
    git(repository, &["checkout", "-q", "-b", "side"]);
    let third = commit("third");
    git(repository, &["checkout", "-q", "trunk"]);

    let url = format!("file://{}", repository.display());
    let server = Setup::new(Source::Repository(url.clone())).start();
    for (tag, revision, version) in [
        ("latest", &second, "second"),
        ("trunk", &second, "second"),
        ("side", &third, "third"),
        ("v1.0", &first, "first"),
        (&first, &first, "first"),
        (&third, &third, "third"),
    ] {
        let config = config(&server, tag);
        let labels = &config["config"]["Labels"];
        assert_eq!(labels["org.opencontainers.image.revision"], **revision, "{tag}");
        assert_eq!(labels["org.opencontainers.image.source"], url);
        assert!(config["history"].to_string().contains(&format!("thing-{version}")), "{tag}");
    }

    let no_such_commit = "0".repeat(40);
    for tag in ["nothing", "v1", &first[..12], &no_such_commit, "a..b"] {
        let response = server.get(&format!("/v2/thing/manifests/{tag}"));
        assert_eq!(response.status, 404, "{tag}: {}", response.text());
        let (code, message) = response.error();
        assert_eq!(code, "MANIFEST_UNKNOWN");
        assert!(message.contains(tag), "{message}");
    }
}

#[test]
fn a_directory_is_read_anew_when_it_changes() {
    let directory = TempDir::new().unwrap();
    let write = |version: &str| {
        fs::write(directory.path().join("default.nix"), package_set(version)).unwrap();
    };
    write("before");
    let source = Source::Path(directory.path().to_owned());
    let server = Setup::new(source).builder(COUNTING).start();
    assert!(config(&server, "latest")["history"].to_string().contains("thing-before"));
    assert_eq!(calls(&server), 1);
    let head = crate::harness::head(&server.address, "/v2/thing/manifests/latest");
    assert_eq!((head.status, calls(&server)), (200, 1), "a GET after a HEAD runs Nix only once");
    write("after");
    // That much time a client may take between HEAD and GET.
    thread::sleep(Duration::from_secs(6));
    assert!(config(&server, "latest")["history"].to_string().contains("thing-after"));

    let response = server.get("/v2/thing/manifests/v2");
    assert_eq!(response.status, 404);
    assert!(response.error().1.contains("latest"), "{}", response.text());
}

#[test]
fn a_source_that_is_not_there_is_said() {
    let server = Setup::new(Source::Path("/does/not/exist".into())).start();
    let response = server.get("/v2/thing/manifests/latest");
    assert_eq!(response.status, 404, "{}", response.text());
    let gone = Source::Repository("file:///does/not/exist".to_owned());
    let response = Setup::new(gone).start().get("/v2/thing/manifests/latest");
    assert_eq!((response.status, response.error().0.as_str()), (503, "UNAVAILABLE"));
}
