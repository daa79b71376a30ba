//! What is in the images.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use tempfile::TempDir;

use crate::harness::{Server, Setup, debian, digest_of, fixtures, request, run};

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Fetches all of an image and checks every digest and length in it. Returns its
/// configuration, and a directory into which all layers were unpacked.
fn unpack(server: &Server, image: &str, format: &str) -> (serde_json::Value, TempDir) {
    let path = format!("/v2/{image}/manifests/latest");
    let manifest = request(&server.address, "GET", &path, &[("Accept", format)]);
    assert_eq!(manifest.status, 200, "{}", manifest.text());
    assert_eq!(manifest.header("content-type"), format);
    assert_eq!(manifest.header("docker-content-digest"), digest_of(&manifest.body));
    let manifest = manifest.json();
    assert_eq!(manifest["mediaType"], format);

    let blob = |descriptor: &serde_json::Value| {
        let digest = descriptor["digest"].as_str().unwrap();
        let blob = server.get(&format!("/v2/{image}/blobs/{digest}"));
        assert_eq!(blob.status, 200);
        assert_eq!(digest_of(&blob.body), digest);
        assert_eq!(descriptor["size"], blob.body.len());
        blob
    };
    let config = blob(&manifest["config"]).json();
    let layers = manifest["layers"].as_array().unwrap();
    let diff_ids = config["rootfs"]["diff_ids"].as_array().unwrap();
    assert_eq!(layers.len(), diff_ids.len());
    assert_eq!(layers.len(), config["history"].as_array().unwrap().len());

    let directory = TempDir::new().unwrap();
    let root = directory.path().join("root");
    fs::create_dir(&root).unwrap();
    for (layer, diff_id) in layers.iter().zip(diff_ids) {
        let file = directory.path().join("layer.gz");
        fs::write(&file, blob(layer).body).unwrap();
        let tar = run(Command::new("gzip").arg("-dc").arg(&file)).stdout;
        assert_eq!(*diff_id, digest_of(&tar), "the layer's diff id");
        let file = directory.path().join("layer.tar");
        fs::write(&file, tar).unwrap();
        run(Command::new("tar").arg("-C").arg(&root).arg("-xpf").arg(&file));
    }
    (config, directory)
}

#[test]
fn both_formats_are_the_same_image() {
    let server = Setup::new(fixtures()).start();
    let (oci, unpacked) = unpack(&server, "three/one", OCI);
    let (docker, _unpacked) = unpack(&server, "three/one", DOCKER);
    assert_eq!(oci, docker);
    assert_eq!(oci["architecture"], if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" });
    assert_eq!(oci["os"], "linux");
    assert_eq!(oci["created"], "1970-01-01T00:00:01Z");
    assert!(oci["config"].get("Cmd").is_none());

    let root = unpacked.path().join("root");
    let link = fs::read_link(root.join("bin/three-1.0")).unwrap();
    assert!(link.starts_with("/nix/store"), "{link:?}");
    let inside = root.join(link.strip_prefix("/").unwrap());
    assert!(fs::read_to_string(&inside).unwrap().contains("echo three"));
    let package = inside.parent().unwrap().parent().unwrap();
    assert!(package.join("empty").is_dir(), "an empty directory");
    let store = fs::read_dir(root.join("nix/store")).unwrap().count();
    assert_eq!(store, 5, "one, two, three, cacert, iana-etc");
}

/// Every file of a real closure arrives as it is in the Nix store.
#[test]
fn an_image_of_real_packages_is_whole() {
    use std::os::unix::fs::PermissionsExt;

    let server = Setup::new(debian()).start();
    let (config, unpacked) = unpack(&server, "shell/git/jq", OCI);
    let root = unpacked.path().join("root");
    let stored: BTreeSet<_> =
        fs::read_dir(root.join("nix/store")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(stored.len() > 30, "{}", stored.len());
    for path in stored {
        let original = std::path::Path::new("/").join(path.strip_prefix(&root).unwrap());
        run(Command::new("diff").args(["-r", "--no-dereference"]).args([&path, &original]));
    }
    for name in ["bash", "git", "jq", "ls", "sh"] {
        assert!(root.join("bin").join(name).symlink_metadata().is_ok(), "/bin/{name}");
    }
    let mode = |path: &str| fs::metadata(root.join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("."), mode("tmp")), (0o755, 0o1777));
    for file in ["etc/passwd", "etc/group", "etc/nsswitch.conf"] {
        assert!(!fs::read_to_string(root.join(file)).unwrap().is_empty(), "{file}");
    }
    for file in ["usr/bin/env", "etc/ssl/certs/ca-bundle.crt", "etc/ssl/certs/ca-certificates.crt"]
    {
        assert!(root.join(file).symlink_metadata().is_ok(), "{file}");
    }
    assert_eq!(config["config"]["Cmd"], serde_json::json!(["bash"]));
    let environment = config["config"]["Env"].to_string();
    for variable in ["PATH=", "SSL_CERT_FILE=/etc/ssl/certs/ca-bundle.crt", "LANG=C.UTF-8"] {
        assert!(environment.contains(variable), "{variable} in {environment}");
    }
    let history = config["history"].to_string();
    assert!(history.contains("git-") && history.contains("jq-"), "{history}");
}

#[test]
fn layers_stay_within_the_budget() {
    let setup = Setup::new(debian()).variable("NIXERY_IMAGE_MAX_LAYERS", "3");
    let server = setup.start();
    let manifest = server.manifest("shell/git/htop").json();
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 3 + 1, "and the links");
    unpack(&server, "shell/git/htop", DOCKER);
}
