//! Writing blobs.

use std::io::Write;

use md5::{Digest as _, Md5};

use super::*;
use crate::storage::RecordKind;
use crate::storage::gcs::api::Change;

/// Bytes that don't repeat.
pub(super) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = vec![0; length];
    for chunk in bytes.chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        chunk.copy_from_slice(&state.to_le_bytes()[..chunk.len()]);
    }
    bytes
}

/// Writes a blob as packing does, and says what became of it.
pub(super) async fn write(gcs: &Arc<Gcs>, content: &Arc<Vec<u8>>) -> Result<Digest, StorageError> {
    let (gcs, content) = (Arc::clone(gcs), Arc::clone(content));
    let work = tokio::task::spawn_blocking(move || {
        let mut writer = gcs.create_blob()?;
        for piece in content.chunks(300_007) {
            writer.write_all(piece).map_err(StorageError::while_writing_a_layer)?;
        }
        let digest = Digest::of(&content);
        writer.commit(&digest, &Md5::digest(&content[..]).into())?;
        Ok(digest)
    });
    work.await.unwrap()
}

pub(super) async fn read(gcs: &Gcs, digest: &Digest) -> std::io::Result<Vec<u8>> {
    let blob = gcs.open_blob(digest).await.unwrap().unwrap();
    let work = tokio::task::spawn_blocking(move || blob.read_all(u64::MAX));
    Ok(work.await.unwrap()?.unwrap())
}

/// Waits until unfinished blobs are gone: they are removed in the background.
async fn nothing_is_left(gcs: &Gcs) {
    for _ in 0..200 {
        if gcs.shared.bucket.api.list("staging/").await.unwrap().is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{:?}", gcs.shared.bucket.api.list("staging/").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_blobs_are_sent_in_parts() {
    let emulator = Emulator::open_to_all();
    let gcs = open(&options(emulator.url())).await;
    // Of no part more, exactly two, a few, and more than are joined at once.
    let part = 8 << 20;
    for length in [part - 1, part, part + 1, 2 * part, 40 << 20, 33 * part + 5] {
        let content = Arc::new(noise(length));
        let digest = write(&gcs, &content).await.unwrap();
        let resource = gcs.shared.bucket.api.stat(&name_of(&Object::Blob(digest))).await;
        assert!(resource.unwrap().unwrap().has(&Checksums::of(&content)), "{length}");
        assert!(read(&gcs, &digest).await.unwrap() == **content, "{length}");
        nothing_is_left(&gcs).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_say_what_they_are_and_for_how_long() {
    let emulator = Emulator::open_to_all();
    let gcs = open(&options(emulator.url())).await;
    let record = RecordKey { kind: RecordKind::Build, key: Digest::of(b"record") };
    gcs.write_record(&record, b"{}").await.unwrap();
    let manifest = "application/vnd.oci.image.manifest.v1+json";
    let layer = "application/vnd.oci.image.layer.v1.tar+gzip";
    let (small, large) = (Arc::new(noise(100)), Arc::new(noise(20 << 20)));
    for (object, media_type, cache) in [
        (Object::Blob(gcs.put_blob(b"{}", manifest).await.unwrap()), manifest, bucket::IMMUTABLE),
        (Object::Blob(write(&gcs, &small).await.unwrap()), layer, bucket::IMMUTABLE),
        (Object::Blob(write(&gcs, &large).await.unwrap()), layer, bucket::IMMUTABLE),
        (Object::Record(record), "application/json", bucket::NO_STORE),
    ] {
        let url = format!("{}/{BUCKET}/{}", emulator.url(), name_of(&object));
        let response = reqwest::get(url).await.unwrap();
        assert_eq!(response.headers()["content-type"], media_type);
        assert_eq!(response.headers()["cache-control"], cache);
    }
}

/// The requests that have sent content so far.
async fn sent(emulator: &Emulator) -> usize {
    let requests = reqwest::get(format!("{}/_/requests", emulator.url())).await.unwrap();
    let requests: Vec<(String, String, u16)> =
        serde_json::from_slice(&requests.bytes().await.unwrap()).unwrap();
    requests.iter().filter(|(_, path, _)| path.starts_with("/upload/")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_not_sent_again() {
    let emulator = Emulator::open_to_all();
    let (one, other) = (open(&options(emulator.url())).await, open(&options(emulator.url())).await);
    let content = Arc::new(noise(1 << 20));
    let digest = write(&one, &content).await.unwrap();
    let before = sent(&emulator).await;
    assert_eq!(write(&other, &content).await.unwrap(), digest);
    assert_eq!(other.put_blob(&content, TYPE).await.unwrap(), digest);
    assert_eq!(sent(&emulator).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_other_bytes_is_replaced() {
    let emulator = Emulator::open_to_all();
    let gcs = open(&options(emulator.url())).await;
    for content in [noise(1000), noise(20 << 20)].map(Arc::new) {
        let name = name_of(&Object::Blob(Digest::of(&content)));
        let wrong = Bytes::from_static(b"something else");
        let kind = Kind { media_type: TYPE, cache_control: NO_STORE };
        let checksums = Checksums::of(&wrong);
        gcs.shared.bucket.put(&name, wrong, &checksums, kind, None).await.unwrap();
        let digest = write(&gcs, &content).await.unwrap();
        assert!(read(&gcs, &digest).await.unwrap() == **content);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_is_given_up_leaves_nothing() {
    let emulator = Emulator::open_to_all();
    let gcs = open(&options(emulator.url())).await;
    let mut writer = gcs.create_blob().unwrap();
    let writer = tokio::task::spawn_blocking(move || {
        writer.write_all(&noise(30 << 20)).unwrap();
        writer
    });
    let writer = writer.await.unwrap();
    assert!(!gcs.shared.bucket.api.list("staging/").await.unwrap().is_empty());
    drop(writer);
    nothing_is_left(&gcs).await;
    assert!(gcs.shared.bucket.api.list("").await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_server_left_is_removed_when_it_is_old() {
    let emulator = Emulator::open_to_all();
    let gcs = open(&options(emulator.url())).await;
    let content = Bytes::from_static(b"a part");
    for name in ["staging/one/000000", "staging/one/000001", "staging/two/000000"] {
        let kind = Kind { media_type: TYPE, cache_control: NO_STORE };
        let checksums = Checksums::of(&content);
        gcs.shared.bucket.put(name, content.clone(), &checksums, kind, Some(0)).await.unwrap();
    }
    gcs.remove_abandoned().await.unwrap();
    assert_eq!(gcs.shared.bucket.api.list("staging/").await.unwrap().len(), 3);
    gcs.shared.remove_unfinished(Duration::ZERO).await.unwrap();
    nothing_is_left(&gcs).await;
}

/// Old marks are renewed, and what was marked meanwhile is not removed.
#[tokio::test(flavor = "multi_thread")]
async fn marks_are_by_the_clock_of_the_service() {
    let emulator = Emulator::open_to_all();
    let gcs = open(&options(emulator.url())).await;
    let object = Object::Blob(gcs.put_blob(b"marked", TYPE).await.unwrap());
    let version = gcs.shared.bucket.api.stat(&name_of(&object)).await.unwrap().unwrap();
    let api = &gcs.shared.bucket.api;
    assert!(matches!(api.mark(&version).await.unwrap(), Change::Made(_)));
    let marked = api.stat(&version.name).await.unwrap().unwrap();
    assert!(marked.updated > version.updated);
    // Both know only the version before.
    assert!(matches!(api.mark(&version).await.unwrap(), Change::OtherVersion));
    let removal = api.delete(&version.name, Some(&version)).await.unwrap();
    assert!(matches!(removal, Change::OtherVersion));
    assert!(matches!(api.delete(&version.name, Some(&marked)).await.unwrap(), Change::Made(())));
    assert!(matches!(api.mark(&marked).await.unwrap(), Change::Absent));
}
