//! What every storage must do, as one suite that runs over each of them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use md5::{Digest as _, Md5};

use super::blob::ReadNow;
use super::{Blob, BlobWriter, Object, RecordKey, RecordKind, Removal, Served, Storage};
use crate::oci::Digest;

/// Operations at a time.
const CONCURRENCY: usize = 8;

const TYPE: &str = "application/octet-stream";

/// Runs the suite. The storage must be empty.
pub(super) async fn check(storage: Arc<dyn Storage>) {
    storage.check().await.unwrap();
    absent_things_are_none(&*storage).await;
    records_are_kept_apart(&*storage).await;
    blobs_are_what_was_written(&*storage).await;
    uncommitted_blobs_are_absent(&*storage).await;
    open_blobs_stay_readable(&*storage).await;
    many_at_a_time(&storage).await;
    the_same_blob_at_a_time(&storage).await;
    records_are_replaced_in_one_step(&storage).await;
    what_is_listed_is_there(&*storage).await;
    what_was_used_is_not_removed(&*storage).await;
    bytes_of_other_blobs_are_appended(&*storage).await;
}

fn key(kind: RecordKind, name: &str) -> RecordKey {
    RecordKey { kind, key: Digest::of(name.as_bytes()) }
}

/// Runs what may wait for other machines.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

async fn content(blob: &Blob) -> Vec<u8> {
    let blob = blob.clone();
    blocking(move || blob.read_all(u64::MAX).unwrap().unwrap()).await
}

/// What a client is sent.
async fn served(storage: &dyn Storage, digest: &Digest) -> Option<Vec<u8>> {
    match storage.serve_blob(digest).await.unwrap()? {
        Served::Here(blob) => Some(content(&blob).await),
        Served::At(url) => {
            let response = reqwest::get(&url).await.unwrap().error_for_status().unwrap();
            Some(response.bytes().await.unwrap().to_vec())
        }
    }
}

/// Ends a blob.
async fn commit(writer: Box<dyn BlobWriter>, content: &[u8]) -> Digest {
    let (digest, md5) = (Digest::of(content), Md5::digest(content).into());
    blocking(move || writer.commit(&digest, &md5)).await.unwrap();
    digest
}

/// Adds a part of another blob, in whichever way.
async fn append(
    mut writer: Box<dyn BlobWriter>,
    source: &Blob,
    offset: u64,
    length: usize,
) -> Box<dyn BlobWriter> {
    let source = source.clone();
    blocking(move || {
        if !writer.share(&source, offset, length as u64).unwrap() {
            let mut bytes = vec![0; length];
            source.reader(offset, length as u64).read_exact(&mut bytes).unwrap();
            writer.write_all(&bytes).unwrap();
        }
        writer
    })
    .await
}

async fn absent_things_are_none(storage: &dyn Storage) {
    let digest = Digest::of(b"absent");
    assert!(storage.open_blob(&digest).await.unwrap().is_none());
    assert!(served(storage, &digest).await.is_none());
    assert!(storage.blob_size(&digest).await.unwrap().is_none());
    assert!(storage.read_record(&key(RecordKind::Build, "absent")).await.unwrap().is_none());
}

async fn records_are_kept_apart(storage: &dyn Storage) {
    let (build, manifest) = (key(RecordKind::Build, "a"), key(RecordKind::Manifest, "a"));
    storage.write_record(&build, b"one").await.unwrap();
    storage.write_record(&manifest, b"two").await.unwrap();
    assert_eq!(storage.read_record(&build).await.unwrap().unwrap(), "one");
    assert_eq!(storage.read_record(&manifest).await.unwrap().unwrap(), "two");
    storage.write_record(&build, b"").await.unwrap();
    assert_eq!(storage.read_record(&build).await.unwrap().unwrap(), "");
}

async fn blobs_are_what_was_written(storage: &dyn Storage) {
    let small = storage.put_blob(b"small", TYPE).await.unwrap();
    assert_eq!(small, Digest::of(b"small"));
    assert_eq!(storage.put_blob(b"small", TYPE).await.unwrap(), small, "again is no error");
    assert_eq!(storage.blob_size(&small).await.unwrap(), Some(5));

    let empty = storage.put_blob(b"", TYPE).await.unwrap();
    assert_eq!(content(&storage.open_blob(&empty).await.unwrap().unwrap()).await, b"");

    let large: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[(n % 3) as usize]).collect();
    let mut writer = storage.create_blob().unwrap();
    for part in large.chunks(700_001) {
        writer.write_all(part).unwrap();
    }
    let digest = commit(writer, &large).await;
    let blob = storage.open_blob(&digest).await.unwrap().unwrap();
    assert_eq!(blob.size(), 3_000_000);
    assert!(content(&blob).await == large);
    assert!(served(storage, &digest).await.unwrap() == large);

    blocking(move || {
        let mut part = [0; 10];
        blob.read_exact_at(&mut part, 2_999_990).unwrap();
        assert_eq!(part, large[2_999_990..]);
        assert!(blob.read_exact_at(&mut part, 2_999_991).is_err(), "past the end");
        assert!(blob.read_exact_at(&mut part, u64::MAX).is_err(), "far past the end");
        if let ReadNow::Read(read) = blob.read_now(&mut part, 1_000_000).unwrap() {
            assert_eq!(part[..read], large[1_000_000..1_000_000 + read]);
        }
        assert!(blob.read_all(2_999_999).unwrap().is_none(), "over the limit");
        let mut reader = blob.reader(1_000_000, 2_000_000);
        let mut half = vec![0; 1_000_000];
        for expected in large[1_000_000..].chunks(1_000_000) {
            reader.read_exact(&mut half).unwrap();
            assert!(half == expected, "in order");
        }
    })
    .await;
}

async fn uncommitted_blobs_are_absent(storage: &dyn Storage) {
    let mut writer = storage.create_blob().unwrap();
    writer.write_all(b"never committed").unwrap();
    writer.flush().unwrap();
    let digest = Digest::of(b"never committed");
    assert!(storage.open_blob(&digest).await.unwrap().is_none());
    drop(writer);
    assert!(storage.open_blob(&digest).await.unwrap().is_none());
}

async fn open_blobs_stay_readable(storage: &dyn Storage) {
    let digest = storage.put_blob(b"read while written again", TYPE).await.unwrap();
    let blob = storage.open_blob(&digest).await.unwrap().unwrap();
    storage.put_blob(b"read while written again", TYPE).await.unwrap();
    assert_eq!(content(&blob).await, b"read while written again");
}

async fn many_at_a_time(storage: &Arc<dyn Storage>) {
    let tasks: Vec<_> = (0..CONCURRENCY)
        .map(|task| {
            let storage = Arc::clone(storage);
            tokio::spawn(async move {
                for step in 0..8 {
                    let text = format!("task {task} step {step} ").repeat(1000);
                    let digest = storage.put_blob(text.as_bytes(), TYPE).await.unwrap();
                    let blob = storage.open_blob(&digest).await.unwrap().unwrap();
                    assert_eq!(content(&blob).await, text.as_bytes());
                    let key = key(RecordKind::Build, &text);
                    storage.write_record(&key, text.as_bytes()).await.unwrap();
                    assert_eq!(storage.read_record(&key).await.unwrap().unwrap(), text);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

async fn the_same_blob_at_a_time(storage: &Arc<dyn Storage>) {
    let text = "the same for all ".repeat(10_000);
    let digest = Digest::of(text.as_bytes());
    let tasks: Vec<_> = (0..CONCURRENCY)
        .map(|_| {
            let (storage, text) = (Arc::clone(storage), text.clone());
            tokio::spawn(async move {
                for _ in 0..8 {
                    storage.put_blob(text.as_bytes(), TYPE).await.unwrap();
                    let blob = storage.open_blob(&digest).await.unwrap().unwrap();
                    assert!(content(&blob).await == text.as_bytes());
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

async fn what_is_listed_is_there(storage: &dyn Storage) {
    let blob = Object::Blob(storage.put_blob(b"listed", TYPE).await.unwrap());
    let records = RecordKind::ALL.map(|kind| Object::Record(key(kind, "listed")));
    for record in &records {
        let Object::Record(key) = record else { continue };
        storage.write_record(key, b"four").await.unwrap();
    }
    let listed = storage.list().await.unwrap();
    let size = |object: &Object| {
        let stored: Vec<_> = listed.iter().filter(|stored| stored.object == *object).collect();
        assert_eq!(stored.len(), 1, "{object:?} in {listed:?}");
        assert!(stored[0].used.elapsed().is_ok_and(|age| age < Duration::from_mins(1)));
        stored[0].size
    };
    assert_eq!(size(&blob), 6);
    assert!(records.iter().all(|record| size(record) == 4));
}

async fn what_was_used_is_not_removed(storage: &dyn Storage) {
    let digest = storage.put_blob(b"removed", TYPE).await.unwrap();
    let record = key(RecordKind::Build, "removed");
    storage.write_record(&record, b"removed").await.unwrap();
    for object in [Object::Blob(digest), Object::Record(record.clone())] {
        let now = SystemTime::now();
        let minute = Duration::from_mins(1);
        assert_eq!(storage.remove(&object, now - minute).await.unwrap(), Removal::Used);
        assert!(storage.touch(&object).await.unwrap());
        assert_eq!(storage.remove(&object, now + minute).await.unwrap(), Removal::Removed);
        assert!(!storage.touch(&object).await.unwrap());
        assert_eq!(storage.remove(&object, now).await.unwrap(), Removal::Absent);
    }
    assert!(storage.open_blob(&digest).await.unwrap().is_none());
    assert!(storage.read_record(&record).await.unwrap().is_none());
    storage.put_blob(b"removed", TYPE).await.unwrap();
    assert!(storage.open_blob(&digest).await.unwrap().is_some());
}

async fn bytes_of_other_blobs_are_appended(storage: &dyn Storage) {
    let large: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[(n % 3) as usize]).collect();
    let digest = storage.put_blob(&large, TYPE).await.unwrap();
    let source = storage.open_blob(&digest).await.unwrap().unwrap();
    let memory = Blob::in_memory(b"from memory".as_slice().into());
    let mut writer = storage.create_blob().unwrap();
    writer.write_all(b"first ").unwrap();
    let mut writer = append(writer, &source, 4_097, 600_001).await;
    writer.write_all(b" then ").unwrap();
    let writer = append(writer, &memory, 5, 6).await;
    let expected = [b"first ", &large[4_097..604_098], b" then ", b"memory"].concat();
    let digest = commit(writer, &expected).await;
    let made = storage.open_blob(&digest).await.unwrap().unwrap();
    assert!(content(&made).await == expected);
}

/// The Go program rewrote files in place, so that readers saw them empty.
async fn records_are_replaced_in_one_step(storage: &Arc<dyn Storage>) {
    let key = key(RecordKind::Manifest, "replaced");
    let versions = ["a".repeat(50_000), "b".repeat(90_000)];
    storage.write_record(&key, versions[0].as_bytes()).await.unwrap();
    let writer = {
        let (storage, key, versions) = (Arc::clone(storage), key.clone(), versions.clone());
        tokio::spawn(async move {
            for step in 0..50 {
                storage.write_record(&key, versions[step % 2].as_bytes()).await.unwrap();
            }
        })
    };
    while !writer.is_finished() {
        let read = storage.read_record(&key).await.unwrap().unwrap();
        assert!(versions.iter().any(|version| read == version.as_bytes()), "a torn record");
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
}
