use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use super::*;
use crate::archive::fixture::Store;

fn round_trip(listing: &Listing) -> Listing {
    serde_json::from_str(&serde_json::to_string(listing).unwrap()).unwrap()
}

impl Listing {
    /// Whether there is anything at `path`, such as `bin/bash`.
    fn contains(&self, path: &str) -> bool {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut directory = 0;
        for part in parent.split('/').filter(|part| !part.is_empty()) {
            let Some(&(_, Some(next))) = self.find(directory, part) else { return false };
            directory = next;
        }
        self.find(directory, name).is_some()
    }

    /// The entry `name` of a directory, if there is one.
    fn find(&self, directory: usize, name: &str) -> Option<&Entry> {
        self.entries(directory).iter().find(|(entry, _)| entry.0 == name.as_bytes())
    }
}

#[test]
fn knows_what_is_in_a_package() {
    let store = Store::new();
    let files = [("bin/bash", ""), ("bin/sh", "-> bash"), ("share/doc/", ""), ("gone", "-> none")];
    let listing = Listing::read(&store.add("bash", &files)).unwrap();
    for there in ["bin", "bin/bash", "bin/sh", "/bin/sh", "share/doc", "gone"] {
        assert!(listing.contains(there), "{there}");
    }
    for missing in ["", "bas", "bin/bash/x", "share/doc/x", "bin/zsh", "gone/x"] {
        assert!(!listing.contains(missing), "{missing}");
    }
    assert_eq!(round_trip(&listing), listing);
}

#[test]
fn nix_support_is_left_out_at_the_top_only() {
    let store = Store::new();
    let path = store.add("tools", &[("nix-support/setup-hook", ""), ("lib/nix-support/x", "")]);
    let listing = Listing::read(&path).unwrap();
    assert!(!listing.contains("nix-support"));
    assert!(listing.contains("lib/nix-support/x"));
    // The package, lib, and lib/nix-support.
    assert_eq!(listing.directories.len(), 3);
}

#[test]
fn links_to_directories_in_the_store_are_directories() {
    let store = Store::new();
    let other = store.add("other", &[("man/man1/git.1", "")]);
    let to_other = format!("-> {}/man", other.as_str());
    let files = [("lib/a", ""), ("lib64", "-> lib"), ("share/man", &to_other), ("self", "-> .")];
    let path = store.add("linked", &files);
    let listing = Listing::read(&path).unwrap();
    for there in ["lib64/a", "share/man/man1/git.1", "self/self/self/lib/a"] {
        assert!(listing.contains(there), "{there}");
    }
    // The package, lib, share, man and man1: each of them once.
    assert_eq!(listing.directories.len(), 5);

    let link = store.path("link");
    symlink(path.as_path(), link.as_path()).unwrap();
    assert!(Listing::read(&link).unwrap().contains("lib/a"));
}

/// What the server's own disk holds must not show in images.
#[test]
fn links_out_of_the_store_are_not_followed() {
    let (store, outside) = (Store::new(), tempfile::tempdir().unwrap());
    fs::write(outside.path().join("secret"), "").unwrap();
    let out = format!("-> {}", outside.path().display());
    let path = store.add("leaky", &[("etc", &out), ("all", "-> ..")]);
    let listing = Listing::read(&path).unwrap();
    assert!(listing.contains("etc") && listing.contains("all"));
    assert_eq!(listing.directories.len(), 1, "{listing:?}");
}

#[test]
fn any_bytes_may_be_a_name() {
    let store = Store::new();
    let path = store.add("bytes", &[("100%41", "")]);
    let name = b"caf\xe9\n";
    fs::write(path.as_path().join(std::ffi::OsStr::from_bytes(name)), "").unwrap();
    let listing = round_trip(&Listing::read(&path).unwrap());
    let names: Vec<_> = listing.entries(0).iter().map(|(name, _)| &name.0[..]).collect();
    assert_eq!(names, [&b"100%41"[..], name]);
}

#[test]
fn a_package_that_is_a_file_has_no_names() {
    let store = Store::new();
    let path = store.path("script");
    fs::write(path.as_path(), "#!").unwrap();
    assert_eq!(Listing::read(&path).unwrap(), Listing::default());
    let error = Listing::read(&store.path("missing")).unwrap_err();
    assert!(error.to_string().contains("-missing"), "{error}");
}

/// A record from storage may be damaged; that must not be fatal.
#[test]
fn numbers_that_lead_nowhere_are_empty_directories() {
    let listing: Listing = serde_json::from_str(r#"[[["bin",7],["lib",0]]]"#).unwrap();
    assert!(listing.contains("bin") && !listing.contains("bin/x"));
    assert!(listing.contains("lib/lib/bin"));
}

/// Records are files that anything may have written.
#[test]
fn names_that_lead_elsewhere_are_refused() {
    for name in ["", ".", "..", "a/b", "%2e%2e", "a%2Fb", "a%00"] {
        let json = format!("[[[{name:?}, null]]]");
        assert!(serde_json::from_str::<Listing>(&json).is_err(), "{name:?}");
    }
    assert!(serde_json::from_str::<Listing>(r#"[[["...", null], ["a%25", null]]]"#).is_ok());
}

#[test]
fn fuzzed() {
    let seeds = [
        r#"[[["bin",1],["share",2]],[["bash",null],["sh",null]],[["man",1],["%FF%25",null]]]"#,
        r#"[[["a",0],["b",7],["c",1]],[["d",0],["e",1]]]"#,
        "[]",
        "[[]]",
    ];
    let words = [r#"["x",1],"#, r#"["y",null],"#, "[],", "%2F", "%00", "%2e%2e", "null"];
    crate::fuzz::parser("listings of packages", seeds).words(words).factor(64).run(
        |input| {
            let listing = serde_json::from_slice::<Listing>(input);
            let listing = listing.map_err(|error| error.to_string()).ok()?;
            let found = ["bin/bash", "a/a/a/a/d", "", "/", "a//b"].map(|at| listing.contains(at));
            Some((listing, found))
        },
        |_, parsed| {
            let Some((listing, _)) = parsed else { return };
            assert_eq!(round_trip(&listing), listing);
            let names = listing.directories.iter().flatten().map(|(name, _)| &name.0);
            for name in names {
                assert!(!name.is_empty() && name != b"." && name != b"..");
                assert!(!name.iter().any(|byte| matches!(byte, b'/' | 0)));
            }
        },
    );
}
