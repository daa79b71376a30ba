//! On the emulator.

use std::sync::Arc;

use super::*;
use crate::storage::contract;
use emulator::{ACCOUNT, BUCKET, Emulator};

#[path = "../../../tests/support/emulator.rs"]
mod emulator;
#[path = "../../../tests/support/fault_proxy.rs"]
#[expect(dead_code, reason = "the tests of the whole server use the rest")]
mod fault_proxy;
mod faults;
mod keys;
mod setup;
mod uploads;
mod urls;
mod vectors;

/// A blob's media type, where it doesn't matter.
const TYPE: &str = "application/octet-stream";

/// How the emulator's bucket is used at an endpoint.
fn options(endpoint: &str) -> BucketOptions {
    // Before anything can want to speak TLS; again is no fault.
    let _ = rustls::crypto::ring::default_provider().install_default();
    BucketOptions {
        bucket: BUCKET.to_owned(),
        endpoint: endpoint.to_owned(),
        public_endpoint: endpoint.to_owned(),
        identity: Identity::Anonymous,
        delivery: Delivery::Public,
        patience: Duration::from_secs(10),
    }
}

/// With the account that the emulator knows.
fn with_account(emulator: &Emulator) -> BucketOptions {
    BucketOptions {
        identity: Identity::File(emulator.account_file()),
        delivery: Delivery::Signed,
        ..options(emulator.url())
    }
}

/// Signed by a key of its own.
fn with_key(emulator: &Emulator) -> BucketOptions {
    let (key, account) = (emulator.key_file(), ACCOUNT.to_owned());
    BucketOptions { delivery: Delivery::SignedWithKey { key, account }, ..with_account(emulator) }
}

async fn open(options: &BucketOptions) -> Arc<Gcs> {
    Arc::new(Gcs::open(options).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract_with_plain_urls() {
    let emulator = Emulator::open_to_all();
    contract::check(open(&options(emulator.url())).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract_with_signed_urls() {
    let emulator = Emulator::with_account(&[]);
    contract::check(open(&with_account(&emulator)).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract_without_redirects() {
    let emulator = Emulator::with_account(&[]);
    let options = BucketOptions { delivery: Delivery::Streamed, ..with_account(&emulator) };
    contract::check(open(&options).await).await;
}
