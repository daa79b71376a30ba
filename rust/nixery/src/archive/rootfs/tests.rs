use std::process::Command;

use super::*;
use crate::archive::fixture::{Store, entries, gunzip, pipe, pool};

/// A package called `name` with a listing made by hand: see [`Listing`].
fn package(name: &str, directories: &[&[(&str, Option<usize>)]]) -> (StorePath, Listing) {
    let path = StorePath::new(format!("/nix/store/{}-{name}", "0".repeat(32))).unwrap();
    (path, Listing::from_directories(directories))
}

fn target(name: &str, path: &str) -> Vec<u8> {
    format!("/nix/store/{}-{name}/{path}", "0".repeat(32)).into_bytes()
}

/// Asserts that `path` is a link to the same path, or `to`, in package `name`.
#[track_caller]
fn assert_link(rootfs: &RootFs, path: &str, name: &str, to: &str) {
    assert_eq!(rootfs.root.get(path), Some(&Node::Symlink { target: target(name, to) }), "{path}");
}

#[track_caller]
fn assert_directory(rootfs: &RootFs, path: &str) {
    assert!(matches!(rootfs.root.get(path), Some(Node::Directory(_))), "{path}");
}

const BASH: &[&[(&str, Option<usize>)]] = &[
    &[("bin", Some(1)), ("share", Some(2))],
    &[("bash", None)],
    &[("doc", Some(3))],
    &[("bash", Some(4))],
    &[("README", None)],
];

#[test]
fn files_are_links_and_shared_directories_are_real() {
    let rootfs = plan(&[
        package("bash", BASH),
        package(
            "git",
            &[
                &[("bin", Some(1)), ("share", Some(2))],
                &[("git", None)],
                &[("doc", Some(3)), ("perl", Some(5))],
                &[("git", Some(4))],
                &[("README", None)],
                &[("Git", Some(6))],
                &[("Git.pm", None)],
            ],
        ),
    ]);
    assert_link(&rootfs, "bin/bash", "bash", "bin/bash");
    assert_link(&rootfs, "bin/git", "git", "bin/git");
    // Two have share/doc, so that it is real; each of its directories is one's own.
    assert_link(&rootfs, "share/doc/bash", "bash", "share/doc/bash");
    assert_link(&rootfs, "share/doc/git", "git", "share/doc/git");
    // Real although only one has it: the second level.
    assert_directory(&rootfs, "share/perl");
    assert_link(&rootfs, "share/perl/Git", "git", "share/perl/Git");
}

#[test]
fn the_lower_store_path_wins_whatever_the_order() {
    let a = package("a", &[&[("bin", Some(1)), ("x", None)], &[("tool", None)]]);
    let b = package("b", &[&[("bin", Some(1)), ("x", Some(2))], &[("tool", None)], &[("y", None)]]);
    let rootfs = plan(&[a.clone(), b.clone()]);
    assert_link(&rootfs, "bin/tool", "a", "bin/tool");
    assert_link(&rootfs, "x", "a", "x");
    assert_eq!(plan(&[b.clone(), a.clone(), b]), rootfs);
}

#[test]
fn a_directory_that_comes_first_wins_over_a_file() {
    let a = package("a", &[&[("x", Some(1))], &[("y", None)]]);
    let b = package("b", &[&[("x", None)]]);
    let c = package("c", &[&[("x", Some(1))], &[("z", None)]]);
    let rootfs = plan(&[a, b, c]);
    assert_link(&rootfs, "x/y", "a", "x/y");
    assert_link(&rootfs, "x/z", "c", "x/z");
}

#[test]
fn links_in_a_circle_end() {
    let circle: &[&[(&str, Option<usize>)]] = &[
        &[("self", Some(0)), ("to", Some(1))],
        &[("back", Some(0)), ("on", Some(2))],
        &[("up", Some(1)), ("file", None)],
    ];
    let rootfs = plan(&[package("a", circle), package("b", circle)]);
    assert_link(&rootfs, "self", "a", "self");
    assert_link(&rootfs, "to/on/up", "a", "to/on/up");
    assert_link(&rootfs, "to/on/file", "a", "to/on/file");
}

/// Two links in each directory to the next one are 2^60 paths.
#[test]
fn a_tree_that_links_make_huge_is_cut_off() {
    let names: Vec<[(&str, Option<usize>); 2]> =
        (1..=60).map(|next| [("left", Some(next)), ("right", Some(next))]).collect();
    let directories: Vec<&[_]> = names.iter().map(|names| &names[..]).collect();
    plan(&[package("a", &directories), package("b", &directories)]);
}

#[test]
fn has_what_programs_expect() {
    let rootfs = plan(&[]);
    let mode = |path: &str| match rootfs.root.get(path) {
        Some(Node::Directory(directory)) => directory.mode,
        other => panic!("{path}: {other:?}"),
    };
    assert_eq!(rootfs.root.mode, 0o755);
    assert_eq!((mode("tmp"), mode("var/tmp"), mode("root")), (0o1777, 0o1777, 0o700));
    let file = |path: &str| match rootfs.root.get(path) {
        Some(Node::File { mode: 0o644, content }) => String::from_utf8(content.clone()).unwrap(),
        other => panic!("{path}: {other:?}"),
    };
    assert!(file("etc/passwd").starts_with("root:x:0:0:"));
    assert!(file("etc/group").contains("nogroup:x:65534:"));
    assert!(file("etc/nsswitch.conf").contains("hosts: files dns\n"));
    for missing in ["bin/sh", "usr/bin/env", "etc/ssl/certs/ca-bundle.crt"] {
        assert_eq!(rootfs.root.get(missing), None);
    }
}

#[test]
fn what_packages_bring_wins_over_what_is_added() {
    let rootfs = plan(&[
        package("bash", BASH),
        package("dash", &[&[("bin", Some(1))], &[("sh", None)]]),
        package(
            "users",
            &[
                &[("etc", Some(1)), ("tmp", Some(2)), ("root", None)],
                &[("passwd", None)],
                &[("theirs", None)],
            ],
        ),
    ]);
    assert_link(&rootfs, "bin/sh", "dash", "bin/sh");
    assert_link(&rootfs, "etc/passwd", "users", "etc/passwd");
    assert!(matches!(rootfs.root.get("etc/group"), Some(Node::File { .. })));
    // They have to be directories with these modes for anything to work.
    let Some(Node::Directory(tmp)) = rootfs.root.get("tmp") else { panic!("no /tmp") };
    assert_eq!((tmp.mode, tmp.entries.len()), (0o1777, 1));
    assert_directory(&rootfs, "root");
}

#[test]
fn shell_and_env_are_where_scripts_look() {
    let coreutils = package("coreutils", &[&[("bin", Some(1))], &[("env", None)]]);
    let rootfs = plan(&[package("bash", BASH), coreutils]);
    assert_link(&rootfs, "bin/sh", "bash", "bin/bash");
    assert_link(&rootfs, "usr/bin/env", "coreutils", "bin/env");
}

#[test]
fn certificates_are_at_both_usual_paths() {
    for name in ["ca-bundle.crt", "ca-certificates.crt"] {
        let rootfs = plan(&[package(
            "cacert",
            &[&[("etc", Some(1))], &[("ssl", Some(2))], &[("certs", Some(3))], &[(name, None)]],
        )]);
        let file = format!("etc/ssl/certs/{name}");
        assert_link(&rootfs, "etc/ssl/certs/ca-bundle.crt", "cacert", &file);
        assert_link(&rootfs, "etc/ssl/certs/ca-certificates.crt", "cacert", &file);
    }
}

#[test]
fn becomes_a_layer_that_other_programs_read() {
    let store = Store::new();
    let bash = store.add("bash", &[("bin/bash", "#!"), ("nix-support/x", "")]);
    let rootfs = plan(&[(bash.clone(), Listing::read(&bash).unwrap())]);
    let pack = || {
        let mut layer = Vec::new();
        let packed = pack_rootfs(&pool(2), &rootfs, &mut layer, &AtomicBool::new(false)).unwrap();
        (packed, layer)
    };
    let (packed, layer) = pack();
    assert!(pack() == (packed.clone(), layer.clone()));
    assert!(packed.members.is_empty());
    let archive = gunzip(&layer);
    assert_eq!(packed.diff_id, crate::oci::Digest::of(&archive));

    let seen = entries(&archive);
    assert_eq!((&seen[0].0[..], seen[0].2), ("./", 0o755));
    let sh = seen.iter().find(|entry| entry.0 == "./bin/sh").unwrap();
    assert_eq!(sh.3, format!("{bash}/bin/bash"));
    assert!(!seen.iter().any(|entry| entry.0.contains("nix-support")));
    let listed = String::from_utf8(pipe(Command::new("tar").arg("-tvf-"), &archive)).unwrap();
    let tmp = listed.lines().find(|line| line.ends_with(" ./tmp/")).unwrap();
    assert!(tmp.starts_with("drwxrwxrwt 0/0 "), "{tmp}");
}
