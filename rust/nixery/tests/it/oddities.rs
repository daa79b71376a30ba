//! Packages that are unlike others, and a store that loses one.

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

use crate::harness::{Server, Setup, digest_of, fixtures, pipe, wait_until};

/// Everything in an image but store paths of others, by its name, as GNU tar tells it.
fn contents(server: &Server, image: &str) -> BTreeMap<String, String> {
    let manifest = server.manifest(image).json();
    let mut found = BTreeMap::new();
    for layer in manifest["layers"].as_array().unwrap() {
        let digest = layer["digest"].as_str().unwrap();
        let blob = server.get(&format!("/v2/{image}/blobs/{digest}")).body;
        assert_eq!(digest_of(&blob), digest);
        let listing = pipe("tar", &["-tvz", "--quoting-style=escape", "--full-time"], &blob);
        for line in String::from_utf8(listing).unwrap().lines() {
            // Mode, owner, size, date, time, name.
            let fields: Vec<&str> = line.split_whitespace().collect();
            found.insert(fields[5].to_owned(), format!("{} {}", fields[0], fields[2]));
        }
    }
    found
}

fn one<'a>(contents: &'a BTreeMap<String, String>, end: &str) -> &'a str {
    let of_store = |name: &&String| name.starts_with("nix/store/") && name.ends_with(end);
    let names: Vec<&String> = contents.keys().filter(of_store).collect();
    assert_eq!(names.len(), 1, "{end}: {names:?}");
    &contents[names[0]]
}

#[test]
fn odd_names_modes_and_files_are_in_the_image() {
    let server = Setup::new(fixtures()).start();
    let contents = contents(&server, "odd");
    let long = "0".repeat(255);
    assert_eq!(one(&contents, &format!("share/{long}/{long}/{long}")), "-r--r--r-- 5");
    assert_eq!(one(&contents, "share/\\377\\376"), "-r--r--r-- 5");
    assert_eq!(one(&contents, "odd-1.0/empty/"), "dr-xr-xr-x 0");
    assert_eq!(one(&contents, "share/sparse"), "-r--r--r-- 52428800");
    // Nix has everything in its store be readable.
    assert_eq!(one(&contents, "share/unreadable"), "-r--r--r-- 7");
    for hard_link in ["bin/odd", "bin/even"] {
        assert_eq!(one(&contents, hard_link), "-r-xr-xr-x 19");
        // In the root file system they are links.
        assert!(contents[&format!("./{hard_link}")].starts_with('l'), "{contents:?}");
    }
    assert!(contents["./share/\\377\\376"].starts_with('l'));
}

#[test]
fn a_package_without_files_is_a_directory() {
    let server = Setup::new(fixtures()).start();
    assert_eq!(one(&contents(&server, "nothing"), "nothing-1.0/"), "dr-xr-xr-x 0");
}

#[test]
fn a_package_of_100_000_files_is_packed_in_little_memory() {
    let server = Setup::new(fixtures()).start();
    server.manifest("one");
    let (before, begin) = (server.peak_memory(), Instant::now());
    let contents = contents(&server, "many");
    let grown = server.peak_memory() - before;
    println!("{:?}, {} MB", begin.elapsed(), grown / 1_000_000);
    let files = contents.iter().filter(|(_, kind)| kind.starts_with("-r--r--r-- 0")).count();
    assert!(files >= 100_000, "{files}");
    assert!(grown < 200_000_000, "{grown} bytes");
}

#[test]
fn what_nix_refuses_in_its_store_fails_the_build() {
    let server = Setup::new(fixtures()).start();
    for package in ["pipe", "socket"] {
        let response = server.get(&format!("/v2/{package}/manifests/latest"));
        let (code, message) = response.error();
        assert_eq!((response.status, code.as_str()), (403, "DENIED"), "{message}");
        assert!(message.contains("unsupported type"), "{message}");
    }
}

/// Nothing is recorded that isn't there, and the next one who asks has it made.
#[test]
fn a_path_that_the_store_loses_while_it_is_packed_fails_that_image_once() {
    let losing = r#"
[ "$1" = --check ] && exit
"$REAL_BUILDER" "$@" > "$STATE_DIRECTORY/reply"
status=$?
path=$(jq -r '.packages[]? | select(.request == "vanishing") | .path' "$STATE_DIRECTORY/reply")
if [ ! -e "$STATE_DIRECTORY/lost" ]; then
  echo "$path" > "$STATE_DIRECTORY/lost"
  find "$STATE_DIRECTORY/roots" -lname "$path" -delete
  nix-store --delete --ignore-liveness "$path" >&2
fi
cat "$STATE_DIRECTORY/reply"
exit $status"#;
    let server = Setup::new(fixtures()).builder(losing).start();
    let response = server.get("/v2/vanishing/manifests/latest");
    let (code, message) = response.error();
    assert_eq!((response.status, code.as_str()), (500, "UNKNOWN"), "{message}");
    let path = fs::read_to_string(server.state.path().join("lost")).unwrap();
    let path = path.trim();
    assert!(path.ends_with("-vanishing-1.0"), "{path}");
    let error = format!("cannot read {path}");
    wait_until("the error", || server.has_logged(&error));
    assert!(!message.contains(path), "what is wrong with the store is the operator's affair");
    let manifests = server.state.path().join("storage/manifests");
    assert_eq!(fs::read_dir(manifests).map_or(0, Iterator::count), 0);

    assert_eq!(one(&contents(&server, "vanishing"), "-vanishing-1.0/bin/"), "dr-xr-xr-x 0");
}
