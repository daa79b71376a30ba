use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

fn tree() -> TempDir {
    let base = TempDir::new().unwrap();
    fs::create_dir_all(base.path().join("sub/empty")).unwrap();
    fs::write(base.path().join("default.nix"), "{ }").unwrap();
    fs::write(base.path().join("sub/one"), "1").unwrap();
    symlink("sub/one", base.path().join("link")).unwrap();
    base
}

fn fingerprint(tree: &TempDir) -> String {
    Hashes::default().fingerprint(tree.path()).unwrap().content
}

#[test]
fn the_same_content_has_the_same_fingerprint_anywhere() {
    let (one, two) = (tree(), tree());
    assert_eq!(fingerprint(&one), fingerprint(&two));
    fs::create_dir(two.path().join(".git")).unwrap();
    fs::write(two.path().join(".git/index"), "changes all the time").unwrap();
    assert_eq!(fingerprint(&one), fingerprint(&two));
}

#[test]
fn every_change_shows() {
    let changes: [fn(&Path); 9] = [
        |tree| fs::write(tree.join("default.nix"), "{  }").unwrap(),
        |tree| fs::write(tree.join("sub/one"), "2").unwrap(),
        |tree| fs::write(tree.join("sub/two"), "").unwrap(),
        |tree| fs::remove_file(tree.join("sub/one")).unwrap(),
        |tree| fs::remove_dir(tree.join("sub/empty")).unwrap(),
        |tree| fs::rename(tree.join("sub/one"), tree.join("one")).unwrap(),
        |tree| {
            fs::remove_file(tree.join("link")).unwrap();
            symlink("sub", tree.join("link")).unwrap();
        },
        |tree| {
            fs::remove_file(tree.join("link")).unwrap();
            fs::write(tree.join("link"), "1").unwrap();
        },
        |tree| {
            let mode = fs::Permissions::from_mode(0o755);
            fs::set_permissions(tree.join("sub/one"), mode).unwrap();
        },
    ];
    let before = fingerprint(&tree());
    for (number, change) in changes.into_iter().enumerate() {
        // Also for one who has seen the tree before.
        let (tree, hashes) = (tree(), Hashes::default());
        let seen = hashes.fingerprint(tree.path()).unwrap();
        assert_eq!(seen.content, before);
        std::thread::sleep(COARSE / 5);
        change(tree.path());
        let after = hashes.fingerprint(tree.path()).unwrap();
        assert_ne!(after.content, before, "change {number}");
        assert_eq!(after.content, fingerprint(&tree), "change {number}");
        assert!(number == 3 || number == 4 || after.changed > seen.changed, "change {number}");
    }
}

#[test]
fn what_links_lead_to_counts_too() {
    let (tree, outside) = (tree(), tree());
    symlink(outside.path(), tree.path().join("outside")).unwrap();
    symlink(outside.path().join("sub/one"), tree.path().join("file")).unwrap();
    symlink(tree.path(), outside.path().join("circle")).unwrap();
    symlink("/does/not/exist", tree.path().join("dangling")).unwrap();
    let before = fingerprint(&tree);
    assert_eq!(fingerprint(&tree), before);
    fs::write(outside.path().join("sub/one"), "2").unwrap();
    let after = fingerprint(&tree);
    assert_ne!(after, before);
    // A way back in that leads through the outside.
    symlink(tree.path().join("default.nix"), outside.path().join("back")).unwrap();
    symlink(outside.path().join("back"), tree.path().join("back")).unwrap();
    let before = fingerprint(&tree);
    fs::remove_file(outside.path().join("back")).unwrap();
    symlink(tree.path().join("sub/one"), outside.path().join("back")).unwrap();
    assert_ne!(fingerprint(&tree), before);
}

#[test]
fn what_is_too_large_is_so_each_time() {
    let (tree, hashes) = (tree(), Hashes::default());
    for name in ["one", "two"] {
        let file = File::create(tree.path().join(name)).unwrap();
        file.set_len(MAX_BYTES / 2 + 1).unwrap();
    }
    for _ in 0..2 {
        let result = hashes.fingerprint(tree.path());
        assert!(matches!(result, Err(LookError::TooLarge)), "{result:?}");
    }
}

#[test]
fn contents_are_read_only_once() {
    let (tree, hashes) = (tree(), Hashes::default());
    std::thread::sleep(2 * COARSE);
    let before = hashes.fingerprint(tree.path()).unwrap().content;
    assert_eq!(hashes.lock().len(), 2);
    // A wrong hash that is remembered shows that the file isn't read again.
    for (_, digest) in hashes.lock().values_mut() {
        *digest = Digest::of(b"wrong");
    }
    assert_ne!(hashes.fingerprint(tree.path()).unwrap().content, before);
}
