//! Settings of a bucket.

use super::{BASE, Config, Environment, StorageConfig, TempDir, error, fs};
use crate::storage::{Delivery, Identity};

const BUCKET: [(&str, &str); 2] = [("NIXERY_STORAGE_BACKEND", "gcs"), ("GCS_BUCKET", "images")];

pub(super) fn with(more: &[(&str, &str)]) -> Environment {
    BASE.into_iter().chain(BUCKET).chain(more.iter().copied()).collect()
}

#[test]
fn wrong_settings_of_a_bucket_are_named_with_what_is_right() {
    for (variable, value, expected) in [
        ("GCS_BUCKET", "gs://images", "without gs://"),
        ("GCS_BUCKET", "Images", "small letters"),
        ("GCS_BUCKET", "a/b", "small letters"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "key.json", "absolute"),
        ("NIXERY_GCS_ENDPOINT", "localhost:9000", "http:// or https://"),
        ("NIXERY_GCS_ENDPOINT", "http://host/storage", "a host only"),
        ("NIXERY_GCS_PUBLIC_ENDPOINT", "http://", "a host only"),
        ("NIXERY_GCS_REDIRECT", "no", "true or false"),
        ("NIXERY_GCS_ANONYMOUS", "1", "true or false"),
        ("NIXERY_GCS_SIGN", "always", "\"key\", \"iam\" or \"none\""),
        ("GCS_SIGNING_KEY", "/key.pem", "GCS_SIGNING_ACCOUNT (gcs.signing_account)"),
        ("GCS_SIGNING_ACCOUNT", "me@example.org", "GCS_SIGNING_KEY (gcs.signing_key)"),
    ] {
        let message = error(None, &with(&[(variable, value)]));
        assert!(message.contains(variable) && message.contains(expected), "{variable}: {message}");
    }
    let account = [("GCS_SIGNING_KEY", "/key.pem"), ("GCS_SIGNING_ACCOUNT", "me")];
    assert!(error(None, &with(&account)).contains("e-mail address"));
    let relative = [("GCS_SIGNING_KEY", "key.pem"), ("GCS_SIGNING_ACCOUNT", "me@example.org")];
    assert!(error(None, &with(&relative)).contains("absolute"));
}

#[test]
fn what_is_given_instead_of_a_secret_files_path_is_not_shown() {
    for (variable, other) in [
        ("GOOGLE_APPLICATION_CREDENTIALS", ("NIXERY_GCS_SIGN", "key")),
        ("GCS_SIGNING_KEY", ("GCS_SIGNING_ACCOUNT", "me@example.org")),
    ] {
        let message = error(None, &with(&[(variable, "{\"private_key\": \"secret\"}"), other]));
        assert!(message.contains(variable) && !message.contains("secret"), "{message}");
    }
}

#[test]
fn how_clients_get_blobs_of_a_bucket_is_chosen_by_what_is_set() {
    let delivery = |more: &[(&str, &str)]| {
        let config = Config::load(None, &with(more)).unwrap();
        let StorageConfig::Gcs(options) = config.storage else { panic!("{config:?}") };
        options.delivery
    };
    let key = [("GCS_SIGNING_KEY", "/key.pem"), ("GCS_SIGNING_ACCOUNT", "me@example.org")];
    assert_eq!(delivery(&[]), Delivery::Signed);
    assert!(matches!(delivery(&key), Delivery::SignedWithKey { .. }));
    assert_eq!(delivery(&[("NIXERY_GCS_SIGN", "iam")]), Delivery::SignedByService);
    assert_eq!(delivery(&[("NIXERY_GCS_SIGN", "none")]), Delivery::Public);
    assert_eq!(delivery(&[("NIXERY_GCS_REDIRECT", "false")]), Delivery::Streamed);
}

#[test]
fn what_systemd_passes_is_used_unless_another_file_is_set() {
    let directory = TempDir::new().unwrap();
    for name in ["google", "signing-key"] {
        fs::write(directory.path().join(name), "").unwrap();
    }
    let passed = ("CREDENTIALS_DIRECTORY", directory.path().to_str().unwrap());
    let options = |more: &[(&str, &str)]| {
        let environment = with(&[&[passed], more].concat());
        let config = Config::load(None, &environment).unwrap();
        let StorageConfig::Gcs(options) = config.storage else { panic!("{config:?}") };
        options
    };
    let account = ("GCS_SIGNING_ACCOUNT", "me@example.org");
    let of_systemd = options(&[account]);
    assert_eq!(of_systemd.identity, Identity::File(directory.path().join("google")));
    let key = directory.path().join("signing-key");
    let signed = Delivery::SignedWithKey { key, account: account.1.to_owned() };
    assert_eq!(of_systemd.delivery, signed);

    let set =
        options(&[account, ("GOOGLE_APPLICATION_CREDENTIALS", "/a"), ("GCS_SIGNING_KEY", "/k")]);
    assert_eq!(set.identity, Identity::File("/a".into()));
    let signed = Delivery::SignedWithKey { key: "/k".into(), account: account.1.to_owned() };
    assert_eq!(set.delivery, signed);
    assert_eq!(options(&[]).delivery, Delivery::Signed);
}

#[test]
fn an_emulator_needs_no_credentials() {
    let emulator = [
        ("NIXERY_GCS_ENDPOINT", "http://127.0.0.1:9000/"),
        ("NIXERY_GCS_ANONYMOUS", "true"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/of/other/programs.json"),
    ];
    let config = Config::load(None, &with(&emulator)).unwrap();
    let StorageConfig::Gcs(options) = config.storage else { panic!("{config:?}") };
    assert_eq!(options.endpoint, "http://127.0.0.1:9000");
    assert_eq!(options.public_endpoint, "http://127.0.0.1:9000");
    assert_eq!(options.identity, Identity::Anonymous);
}
