//! Writing to and reading from a bucket, on an emulator that this starts.
//!
//! `NIXERY_BENCH_MEGABYTES` (2000) is the size of the layer.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a bench that can't go on ends")]

use std::fs;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use md5::{Digest as _, Md5};
use nixery::oci::Digest;
use nixery::storage::{BucketOptions, Delivery, Gcs, Identity, Served, Storage};
use sha2::Sha256;

#[path = "../tests/support/emulator.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod emulator;

use emulator::{BUCKET, Emulator};

/// Bytes written at a time, as packing does.
const PIECE: usize = 256 << 10;

/// Blobs that URLs are signed for.
const SIGNED: u32 = 200;

fn main() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(run());
}

async fn run() {
    let megabytes: u32 =
        std::env::var("NIXERY_BENCH_MEGABYTES").map_or(2000, |n| n.parse().unwrap());
    let emulator = Emulator::with_account(&[]);
    let options = BucketOptions {
        bucket: BUCKET.to_owned(),
        endpoint: emulator.url().to_owned(),
        public_endpoint: emulator.url().to_owned(),
        identity: Identity::File(emulator.account_file()),
        delivery: Delivery::Signed,
        patience: Duration::from_mins(5),
    };
    let storage: Arc<dyn Storage> = Arc::new(Gcs::open(&options).await.unwrap());
    sign(&*storage).await;

    let before = peak();
    let begin = Instant::now();
    let digest = write(&storage, megabytes).await;
    let rate = |took: Duration| f64::from(megabytes) / took.as_secs_f64();
    println!(
        "a layer of {megabytes} MB: written in {:.1} s, {:.0} MB/s; peak memory {} MiB, {} MiB before",
        begin.elapsed().as_secs_f64(),
        rate(begin.elapsed()),
        peak(),
        before
    );
    let begin = Instant::now();
    read(&*storage, &digest).await;
    println!(
        "read in {:.1} s, {:.0} MB/s; peak memory {} MiB",
        begin.elapsed().as_secs_f64(),
        rate(begin.elapsed()),
        peak()
    );
}

/// The time for a URL that is signed, and for one that is kept.
async fn sign(storage: &dyn Storage) {
    let mut digests = Vec::new();
    for number in 0..SIGNED {
        digests.push(storage.put_blob(&number.to_le_bytes(), "text/plain").await.unwrap());
    }
    for what in ["signed", "kept"] {
        let begin = Instant::now();
        for digest in &digests {
            let served = storage.serve_blob(digest).await.unwrap().unwrap();
            assert!(matches!(served, Served::At(_)));
        }
        println!(
            "a URL that is {what}: {:.3} ms",
            1000.0 * begin.elapsed().as_secs_f64() / f64::from(SIGNED)
        );
    }
}

/// Writes noise, which is made on the way.
async fn write(storage: &Arc<dyn Storage>, megabytes: u32) -> Digest {
    let storage = Arc::clone(storage);
    let work = tokio::task::spawn_blocking(move || {
        let mut writer = storage.create_blob().unwrap();
        let (mut sha256, mut md5) = (Sha256::new(), Md5::new());
        let mut piece = vec![0; PIECE];
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut left = megabytes as usize * 1_000_000;
        while left > 0 {
            for word in piece.chunks_mut(8) {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                word.copy_from_slice(&state.to_le_bytes());
            }
            let now = &piece[..left.min(PIECE)];
            writer.write_all(now).unwrap();
            sha256.update(now);
            md5.update(now);
            left -= now.len();
        }
        let digest = Digest::from_bytes(sha256.finalize().into());
        writer.commit(&digest, &md5.finalize().into()).unwrap();
        digest
    });
    work.await.unwrap()
}

async fn read(storage: &dyn Storage, digest: &Digest) {
    let blob = storage.open_blob(digest).await.unwrap().unwrap();
    let (size, expected) = (blob.size(), *digest);
    let work = tokio::task::spawn_blocking(move || {
        let mut reader = blob.reader(0, size);
        let mut sha256 = Sha256::new();
        let mut piece = vec![0; PIECE];
        let mut left = size;
        while left > 0 {
            let now = usize::try_from(left).unwrap().min(PIECE);
            reader.read_exact(&mut piece[..now]).unwrap();
            sha256.update(&piece[..now]);
            left -= now as u64;
        }
        assert_eq!(Digest::from_bytes(sha256.finalize().into()), expected);
    });
    work.await.unwrap();
}

/// The most memory that this process had at any time, in MiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}
