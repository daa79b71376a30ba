use std::fs::File;
use std::time::{Duration, SystemTime};

use tempfile::{NamedTempFile, TempDir};

use super::temporary::{TEMPORARY_AGE, unused_name};
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
    let digest = storage.put_blob(b"content", "text/plain").await.unwrap();
    let again = Filesystem::open(directory.path()).unwrap();
    let blob = again.open_blob(&digest).await.unwrap().unwrap();
    assert_eq!(blob.read_all(100).unwrap().unwrap(), b"content");
}

/// The Go program answered 200 with what was left of such files.
#[tokio::test]
async fn a_blob_that_was_damaged_is_not_there() {
    for damage in [&b""[..], b"conten", b"CONTENT", b"content and more"] {
        let (directory, storage) = storage();
        let digest = storage.put_blob(b"content", "text/plain").await.unwrap();
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
    let digest = storage.put_blob(b"content", "text/plain").await.unwrap();
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

    storage.remove_abandoned().unwrap();
    assert!(!left.exists() && just_made.exists());
    fs::write(&left, b"half").unwrap();
    age(&left).unwrap();
    Filesystem::open(directory.path()).unwrap();
    assert!(!left.exists() && just_made.exists());
    writer.write_all(b"tent").unwrap();
    writer.commit(&Digest::of(b"content"), &[0; 16]).unwrap();
    assert!(storage.open_blob(&Digest::of(b"content")).await.unwrap().is_some());
}

/// Another server's start once removed what a garbage collection had put aside only to
/// look whether it is used.
#[test]
fn what_was_just_put_aside_is_not_taken_for_abandoned() {
    let (directory, storage) = storage();
    let blobs = directory.path().join(BLOBS);
    let put_aside = |age| {
        let name = unused_name(&blobs).into_os_string().into_string().unwrap();
        let (name, time) = name.rsplit_once('-').unwrap();
        let time = time.parse::<u128>().unwrap() - Duration::as_nanos(&age);
        let path = PathBuf::from(format!("{name}-{time}"));
        fs::write(&path, b"old").unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        path
    };
    let (now, long_ago) = (put_aside(Duration::ZERO), put_aside(2 * TEMPORARY_AGE));
    storage.remove_abandoned().unwrap();
    assert!(now.exists() && !long_ago.exists());
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

/// A directory that isn't empty can't be replaced, as any name can't on a broken disk.
#[tokio::test]
async fn what_cannot_be_given_its_name_leaves_nothing() {
    let (directory, storage) = storage();
    let key = RecordKey { kind: RecordKind::Build, key: Digest::of(b"record") };
    let digest = Digest::of(b"content");
    let names = [storage.record_path(&key), directory.path().join(BLOBS).join(digest.hex())];
    for name in &names {
        fs::create_dir_all(name.join("not empty")).unwrap();
    }
    let failures = [
        storage.write_record(&key, b"record").await.unwrap_err(),
        storage.put_blob(b"content", "text/plain").await.unwrap_err(),
    ];
    for (failure, name) in failures.iter().zip(&names) {
        assert!(failure.to_string().contains(name.to_str().unwrap()), "{failure}");
        assert_eq!(fs::read_dir(name.parent().unwrap()).unwrap().count(), 1, "{failure}");
        fs::remove_dir_all(name).unwrap();
    }
    storage.write_record(&key, b"record").await.unwrap();
    storage.put_blob(b"content", "text/plain").await.unwrap();
    assert!(storage.open_blob(&digest).await.unwrap().is_some());
}

/// Blobs and records that are there are worth more than their marks.
#[test]
fn marks_may_be_missing_only_where_nothing_can_be_written() {
    for (errno, expected) in [
        (rustix::io::Errno::ROFS, true),
        (rustix::io::Errno::NOSPC, true),
        (rustix::io::Errno::DQUOT, true),
        (rustix::io::Errno::IO, false),
        (rustix::io::Errno::PERM, false),
    ] {
        assert_eq!(super::collect::takes_no_marks(&errno.into()), expected, "{errno}");
    }
}

/// Garbage collection on two machines, and somebody who uses what they would remove.
#[test]
fn what_is_marked_in_the_moment_of_its_removal_stays() {
    let (directory, storage) = storage();
    let key = RecordKey { kind: RecordKind::Build, key: Digest::of(b"record") };
    let path = storage.record_path(&key);
    let object = Object::Record(key);
    let (mut kept, mut removed) = (0, 0);
    for round in 0..2000 {
        fs::write(&path, b"record").unwrap();
        let old = SystemTime::now() - Duration::from_hours(2);
        File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        let before = SystemTime::now() - Duration::from_hours(1);
        let start = std::sync::Barrier::new(3);
        let (marked, removals) = std::thread::scope(|scope| {
            let remove = || {
                start.wait();
                storage.shared.remove(&object, before).unwrap()
            };
            let removers = [scope.spawn(remove), scope.spawn(remove)];
            start.wait();
            // Somewhere in the middle of what the others do.
            for _ in 0..(round % 50) * 20 {
                std::hint::spin_loop();
            }
            let marked = storage.shared.touch(&object).unwrap();
            (marked, removers.map(|remover| remover.join().unwrap()))
        });
        let gone = removals.contains(&Removal::Removed);
        assert_eq!(path.exists(), !gone, "{removals:?}");
        assert!(!(marked && gone), "who was told that it is there relies on it");
        kept += u32::from(!gone);
        removed += u32::from(gone);
    }
    println!("{kept} kept, {removed} removed");
    assert!(kept > 0 && removed > 0, "{kept} kept, {removed} removed: nothing was tried");
    drop(directory);
}

#[tokio::test]
async fn what_is_no_file_is_no_blob() {
    let (directory, storage) = storage();
    let digest = storage.put_blob(b"content", "text/plain").await.unwrap();
    let path = directory.path().join(BLOBS).join(digest.hex());
    let pipe = |path: &Path| {
        let mkfifo = std::process::Command::new("mkfifo").arg(path).status().unwrap();
        assert!(mkfifo.success());
    };
    let others: [&dyn Fn(&Path); 2] = [&pipe, &|path| fs::create_dir(path).unwrap()];
    for make in others {
        fs::remove_file(&path).unwrap();
        make(&path);
        assert!(storage.open_blob(&digest).await.unwrap().is_none());
        storage.put_blob(b"content", "text/plain").await.unwrap();
        assert!(storage.open_blob(&digest).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn what_is_no_record_is_none() {
    let (_directory, storage) = storage();
    let key = RecordKey { kind: RecordKind::Build, key: Digest::of(b"key") };
    let path = storage.record_path(&key);
    let pipe = || {
        let mkfifo = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(mkfifo.success());
    };
    // Has no blocks on the disk.
    let long = || fs::File::create_new(&path).unwrap().set_len(MAX_RECORD + 1).unwrap();
    let others: [&dyn Fn(); 2] = [&pipe, &long];
    for make in others {
        make();
        assert_eq!(storage.read_record(&key).await.unwrap(), None);
        storage.write_record(&key, b"record").await.unwrap();
        assert_eq!(storage.read_record(&key).await.unwrap().unwrap(), "record");
        fs::remove_file(&path).unwrap();
    }
}
