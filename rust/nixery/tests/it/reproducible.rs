//! The same packages make the same image, everywhere.

use crate::harness::{Setup, debian, fixtures};

/// Digests of the manifests in both formats, which cover everything else.
fn digests(setup: &Setup, image: &str) -> [String; 2] {
    let server = setup.start();
    let path = format!("/v2/{image}/manifests/latest");
    [
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    ]
    .map(|format| {
        let accept = [("Accept", format)];
        let response = crate::harness::request(&server.address, "GET", &path, &accept);
        assert_eq!(response.status, 200, "{}", response.text());
        response.header("docker-content-digest").to_owned()
    })
}

#[test]
fn fresh_storages_and_other_numbers_of_threads_make_no_difference() {
    let with = |threads: &str| {
        let setup = Setup::new(debian()).variable("NIXERY_PACKING_THREADS", threads);
        digests(&setup, "shell/git/jq")
    };
    let one = with("1");
    assert_eq!(one, with("4"));
    assert_ne!(one[0], one[1], "two formats");
}

#[test]
fn the_order_of_the_names_makes_no_difference() {
    let setup = Setup::new(debian());
    assert_eq!(digests(&setup, "git/htop"), digests(&setup, "htop/git/htop"));
}

/// In the Go program, ten builds of an image whose layers had equal ratings gave
/// ten different manifests.
#[test]
fn equal_ratings_make_no_difference() {
    let setup = Setup::new(fixtures()).variable("NIXERY_IMAGE_MAX_LAYERS", "2");
    let first = digests(&setup, "one/two/three");
    for _ in 0..5 {
        assert_eq!(first, digests(&setup, "three/two/one"));
    }
}

#[test]
fn other_levels_make_other_layers() {
    let at = |level| Setup::new(fixtures()).variable("NIXERY_PACKING_LEVEL", level);
    assert_ne!(digests(&at("1"), "one"), digests(&at("9"), "one"));
}
