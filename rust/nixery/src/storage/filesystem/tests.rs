use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::temporary::TEMPORARY_AGE;
use super::*;

fn storage() -> (TempDir, Filesystem) {
    let directory = TempDir::new().unwrap();
    let storage = Filesystem::open(directory.path()).unwrap();
    (directory, storage)
}

fn files(directory: &TempDir) -> usize {
    fs::read_dir(directory.path().join(BLOBS)).unwrap().count()
}

#[tokio::test]
async fn keeps_the_contract() {
    let (_directory, storage) = storage();
    super::super::contract::check(Arc::new(storage)).await;
}

#[tokio::test]
async fn keeps_the_contract_where_opening_must_be_waited_for() {
    let (_directory, mut storage) = storage();
    Arc::get_mut(&mut storage.shared).unwrap().tells_cached = false;
    super::super::contract::check(Arc::new(storage)).await;
}

#[tokio::test]
async fn what_was_stored_is_there_for_another_process() {
    let (directory, storage) = storage();
    let digest = storage.put_blob(b"content").await.unwrap();
    let again = Filesystem::open(directory.path()).unwrap();
    let blob = again.open_blob(&digest).await.unwrap().unwrap();
    assert_eq!(blob.read_all(100).unwrap().unwrap(), b"content");
}

/// The Go program answered 200 with what was left of such files.
#[tokio::test]
async fn a_blob_that_was_damaged_is_not_there() {
    for damage in [&b""[..], b"conten", b"CONTENT", b"content and more"] {
        let (directory, storage) = storage();
        let digest = storage.put_blob(b"content").await.unwrap();
        let path = directory.path().join(BLOBS).join(digest.hex());
        fs::write(&path, damage).unwrap();
        for storage in [storage, Filesystem::open(directory.path()).unwrap()] {
            assert!(storage.open_blob(&digest).await.unwrap().is_none());
        }
        assert!(!path.exists(), "so that it can be made again");
    }
}

#[tokio::test]
async fn damage_is_found_also_under_the_old_time() {
    let (directory, storage) = storage();
    let digest = storage.put_blob(b"content").await.unwrap();
    let path = directory.path().join(BLOBS).join(digest.hex());
    let file = File::options().write(true).open(&path).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    // Longer than what some kernels' clocks for files take for one moment.
    std::thread::sleep(Duration::from_millis(20));
    (&file).write_all(b"CONTENT").unwrap();
    file.set_modified(modified).unwrap();
    assert!(storage.open_blob(&digest).await.unwrap().is_none());
}

#[tokio::test]
async fn an_abandoned_writer_leaves_nothing() {
    let (directory, storage) = storage();
    let mut writer = storage.create_blob().unwrap();
    writer.write_all(b"half").unwrap();
    assert_eq!(files(&directory), 1);
    drop(writer);
    assert_eq!(files(&directory), 0);
}

#[tokio::test]
async fn what_a_killed_writer_left_is_removed_but_not_what_is_being_written() {
    let (directory, storage) = storage();
    let blobs = directory.path().join(BLOBS);
    let old = SystemTime::now() - 2 * TEMPORARY_AGE;
    let age = |name: &Path| File::options().write(true).open(name).unwrap().set_modified(old);
    let left = blobs.join(".tmp-killed");
    fs::write(&left, b"half").unwrap();
    age(&left).unwrap();
    let just_made = blobs.join(".tmp-young");
    fs::write(&just_made, b"").unwrap();
    let mut writer = storage.create_blob().unwrap();
    writer.write_all(b"con").unwrap();
    for entry in fs::read_dir(&blobs).unwrap() {
        let path = entry.unwrap().path();
        if path != just_made {
            age(&path).unwrap();
        }
    }

    Filesystem::open(directory.path()).unwrap();
    assert!(!left.exists() && just_made.exists());
    writer.write_all(b"tent").unwrap();
    writer.commit(&Digest::of(b"content")).unwrap();
    assert!(storage.open_blob(&Digest::of(b"content")).await.unwrap().is_some());
}

#[test]
fn a_place_that_cannot_be_used_is_named() {
    let file = NamedTempFile::new().unwrap();
    let error = Filesystem::open(&file.path().join("storage")).unwrap_err().to_string();
    assert!(error.contains(file.path().to_str().unwrap()), "{error}");
}

#[tokio::test]
async fn a_full_disk_is_told_from_other_failures() {
    // Every write to this device fails with "no space left".
    let mut full = File::options().write(true).open("/dev/full").unwrap();
    let error = full.write_all(b"x").map_err(StorageError::io("write", "p")).unwrap_err();
    assert!(matches!(error, StorageError::Full { .. }), "{error:?}");
}
