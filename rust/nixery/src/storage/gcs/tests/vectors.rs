//! Google's own test vectors for V4 signatures, which the SDK's crate has.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use google_cloud_auth::signer::Signer;
use google_cloud_storage::builder::storage::SignedUrlBuilder;
use google_cloud_storage::signed_url::UrlStyle;
use rsa::PublicKey;
use rsa::pkcs1v15::{Signature, VerifyingKey};
use rsa::pkcs8::DecodePrivateKey;
use rsa::sha2::Sha256;
use rsa::signature::Verifier;
use serde::Deserialize;

use super::super::key::AccountKey;
use crate::oci::Digest;

#[derive(Deserialize)]
struct Suite {
    #[serde(rename = "signingV4Tests")]
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Vector {
    description: String,
    bucket: String,
    object: Option<String>,
    method: String,
    expiration: u64,
    timestamp: String,
    expected_url: String,
    headers: BTreeMap<String, String>,
    query_parameters: BTreeMap<String, String>,
    scheme: Option<String>,
    url_style: Option<String>,
    bucket_bound_hostname: Option<String>,
    expected_canonical_request: String,
    expected_string_to_sign: String,
    hostname: Option<String>,
    client_endpoint: Option<String>,
    emulator_hostname: Option<String>,
    universe_domain: Option<String>,
}

/// What this is compiled for.
const PLATFORM: &str = if cfg!(target_arch = "aarch64") {
    "aarch64-unknown-linux-gnu"
} else {
    "x86_64-unknown-linux-gnu"
};

/// Where cargo has the SDK's source.
fn conformance() -> PathBuf {
    let output = Command::new(env!("CARGO"))
        // Those for other platforms need not be on this machine.
        .args(["metadata", "--format-version", "1", "--offline", "--filter-platform"])
        .arg(PLATFORM)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let sdk = packages.iter().find(|package| package["name"] == "google-cloud-storage").unwrap();
    let manifest = Path::new(sdk["manifest_path"].as_str().unwrap());
    manifest.parent().unwrap().join("src/storage/conformance")
}

/// The account of the vectors: its file, and what our reading of it makes of it.
fn account(directory: &Path) -> (String, AccountKey) {
    let file = directory.join("test_service_account.not-a-test.json");
    let account: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let pem = account["private_key"].as_str().unwrap().to_owned();
    (pem, AccountKey::from_account_file(&file).unwrap().unwrap())
}

fn vectors() -> (Vec<Vector>, String, AccountKey) {
    let directory = conformance();
    let text = fs::read(directory.join("v4_signatures.json")).unwrap();
    let suite: Suite = serde_json::from_slice(&text).unwrap();
    assert_eq!(suite.vectors.len(), 29);
    let (pem, key) = account(&directory);
    (suite.vectors, pem, key)
}

fn builder(vector: &Vector) -> SignedUrlBuilder {
    let bucket = format!("projects/_/buckets/{}", vector.bucket);
    let builder = match &vector.object {
        Some(object) => SignedUrlBuilder::for_object(bucket, object),
        None => SignedUrlBuilder::for_bucket(bucket),
    };
    let style = match vector.url_style.as_deref() {
        Some("VIRTUAL_HOSTED_STYLE") => UrlStyle::VirtualHostedStyle,
        Some("BUCKET_BOUND_HOSTNAME") => UrlStyle::BucketBoundHostname,
        _ => UrlStyle::PathStyle,
    };
    let mut builder = builder
        .with_method(vector.method.parse().unwrap())
        .with_url_style(style)
        .with_expiration(Duration::from_secs(vector.expiration));
    let scheme = vector.scheme.as_deref().unwrap_or("https");
    let bound = vector.bucket_bound_hostname.as_ref().or(vector.hostname.as_ref());
    let bound = bound.map(|host| format!("{scheme}://{host}"));
    let endpoint = bound.or(vector.client_endpoint.clone()).or(vector.emulator_hostname.clone());
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(domain) = &vector.universe_domain {
        builder = builder.with_universe_domain(domain);
    }
    let headers = vector.headers.iter();
    builder = headers.fold(builder, |builder, (name, value)| builder.with_header(name, value));
    let parameters = vector.query_parameters.iter();
    parameters.fold(builder, |builder, (name, value)| builder.with_query_param(name, value))
}

/// The bytes of hexadecimal digits.
fn bytes(hex: &str) -> Vec<u8> {
    let digits = |n: usize| u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).unwrap();
    (0..hex.len() / 2).map(digits).collect()
}

/// The signature of each vector is what our key makes of the text that is signed.
#[tokio::test]
async fn the_key_signs_as_the_vectors_say() {
    let (vectors, _, key) = vectors();
    let signer = Signer::from(key);
    for vector in vectors {
        let signature = signer.sign(&vector.expected_string_to_sign).await.unwrap();
        let (_, expected) = vector.expected_url.split_once("X-Goog-Signature=").unwrap();
        assert_eq!(signature, bytes(expected), "{}", vector.description);
    }
}

/// URLs are always of now, so the vectors are brought to that time: their URL is then the
/// one that is made, and its signature one of the text that they sign.
#[tokio::test]
async fn urls_are_made_as_the_vectors_say() {
    let (vectors, pem, key) = vectors();
    let private = rsa::PrivateKey::from_pkcs8_pem(&pem).unwrap();
    let verifier = VerifyingKey::<Sha256>::new(PublicKey::from(&private));
    let signer = Signer::from(key);
    for vector in vectors {
        let url = builder(&vector).sign_with(&signer).await.unwrap();
        let (unsigned, signature) = url.split_once("&X-Goog-Signature=").unwrap();
        let (_, rest) = unsigned.split_once("X-Goog-Date=").unwrap();
        let now = &rest[..16];

        let then = vector.timestamp.replace(['-', ':'], "");
        // One of the vectors has its time in a header as well.
        let header = vector.headers.get("X-Goog-Date").map(|date| format!("x-goog-date:{date}"));
        let moved = |text: &str| {
            let text = header.as_deref().map_or(text.to_owned(), |kept| text.replace(kept, "KEPT"));
            let text = text.replace(&then, now).replace(&then[..8], &now[..8]);
            header.as_deref().map_or(text.clone(), |kept| text.replace("KEPT", kept))
        };
        let (expected, _) = vector.expected_url.split_once("&X-Goog-Signature=").unwrap();
        assert_eq!(unsigned, moved(expected), "{}", vector.description);

        let request = Digest::of(moved(&vector.expected_canonical_request).as_bytes());
        let (head, _) = vector.expected_string_to_sign.rsplit_once('\n').unwrap();
        let text = format!("{}\n{}", moved(head), request.hex());
        let signature = Signature::try_from(&bytes(signature)[..]).unwrap();
        verifier.verify(text.as_bytes(), &signature).unwrap_or_else(|error| {
            panic!("{}: {error}", vector.description);
        });
    }
}
