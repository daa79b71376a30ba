//! URLs that clients are sent to.

use super::*;

async fn get(url: &str) -> (u16, Vec<u8>) {
    let response = reqwest::get(url).await.unwrap();
    (response.status().as_u16(), response.bytes().await.unwrap().to_vec())
}

/// The URL of a blob that was stored.
async fn url_of_blob(gcs: &Gcs, content: &[u8]) -> String {
    let digest = gcs.put_blob(content, TYPE).await.unwrap();
    match gcs.serve_blob(&digest).await.unwrap().unwrap() {
        Served::At(url) => url,
        Served::Here(_) => panic!("it isn't sent elsewhere"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_urls_are_good_as_they_are_and_no_other() {
    let emulator = Emulator::with_account(&[]);
    for options in [with_account(&emulator), with_key(&emulator)] {
        let gcs = open(&options).await;
        let url = url_of_blob(&gcs, b"one").await;
        let other = url_of_blob(&gcs, b"two").await;
        assert_eq!(get(&url).await, (200, b"one".to_vec()));
        assert_eq!(get(&other).await, (200, b"two".to_vec()));

        let (address, query) = url.split_once('?').unwrap();
        let (_, signature) = query.split_once("X-Goog-Signature=").unwrap();
        let digit = if signature.starts_with('0') { "1" } else { "0" };
        let signature_changed = url.replace(signature, &format!("{digit}{}", &signature[1..]));
        let (other_address, _) = other.split_once('?').unwrap();
        for tampered in [
            signature_changed,
            url.replace("X-Goog-Expires=300", "X-Goog-Expires=3000"),
            format!("{other_address}?{query}"),
            address.to_owned(),
            format!("{url}&generation=0"),
        ] {
            assert_ne!(tampered, url);
            assert_eq!(get(&tampered).await.0, 403, "{tampered}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_urls_end() {
    // As if the URL were used seven minutes after it was signed.
    let emulator = Emulator::with_account(&["--clock-offset", "420"]);
    let gcs = open(&with_account(&emulator)).await;
    let digest = gcs.put_blob(b"late", TYPE).await.unwrap();
    let redirects = gcs.shared.redirects.as_ref().unwrap();
    let url = redirects.url(BUCKET, &name_of(&Object::Blob(digest))).await.unwrap();
    let (status, body) = get(&url).await;
    assert_eq!(status, 403);
    assert!(String::from_utf8_lossy(&body).contains("Expired"));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_wrong_clock_the_server_sends_blobs_itself() {
    for ahead in ["420", "-420"] {
        let emulator = Emulator::with_account(&["--clock-offset", ahead]);
        let gcs = open(&with_account(&emulator)).await;
        let digest = gcs.put_blob(b"whatever the time", TYPE).await.unwrap();
        let served = gcs.serve_blob(&digest).await.unwrap().unwrap();
        let Served::Here(blob) = served else { panic!("{served:?}") };
        let read = tokio::task::spawn_blocking(move || blob.read_all(100).unwrap().unwrap());
        assert_eq!(read.await.unwrap(), b"whatever the time");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_is_signed_once_for_all_who_come_at_the_time() {
    let emulator = Emulator::with_account(&[]);
    let gcs = open(&with_account(&emulator)).await;
    let url = url_of_blob(&gcs, b"asked for again").await;
    assert_eq!(url_of_blob(&gcs, b"asked for again").await, url);
    assert!(url.contains("X-Goog-Expires=300&"), "{url}");
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_urls_are_of_where_clients_reach_the_service() {
    let emulator = Emulator::open_to_all();
    let public_endpoint = "https://bucket.example.org".to_owned();
    let gcs = open(&BucketOptions { public_endpoint, ..options(emulator.url()) }).await;
    let url = url_of_blob(&gcs, b"public").await;
    let digest = Digest::of(b"public").hex();
    assert_eq!(url, format!("https://bucket.example.org/{BUCKET}/layers/{digest}"));
}
