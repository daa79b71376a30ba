//! Reading keys.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

use super::super::key::{AccountKey, KeyError};
use super::*;
use crate::storage::RecordKind;
use emulator::Emulator;

/// What openssl writes, in a directory of its own.
fn openssl(arguments: &[&str]) -> (TempDir, std::path::PathBuf) {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("key.pem");
    let output = Command::new("openssl").args(arguments).arg("-out").arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (directory, file)
}

fn refusal(content: &[u8]) -> String {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("key.pem");
    fs::write(&file, content).unwrap();
    let error = AccountKey::from_pem_file(&file, "me@example.org").unwrap_err();
    assert!(error.to_string().contains("key.pem"), "{error}");
    error.to_string()
}

#[test]
fn both_forms_of_private_keys_are_read() {
    let (_one, pkcs8) = openssl(&["genpkey", "-algorithm", "RSA", "-quiet"]);
    AccountKey::from_pem_file(&pkcs8, "me@example.org").unwrap();
    let (_two, pkcs1) = openssl(&["rsa", "-traditional", "-in", pkcs8.to_str().unwrap()]);
    assert!(fs::read_to_string(&pkcs1).unwrap().starts_with("-----BEGIN RSA PRIVATE KEY-----"));
    AccountKey::from_pem_file(&pkcs1, "me@example.org").unwrap();
    // As `openssl pkcs12` writes it.
    let with_attributes =
        format!("Bag Attributes\n  x: 1\n{}", fs::read_to_string(&pkcs8).unwrap());
    fs::write(&pkcs8, with_attributes).unwrap();
    AccountKey::from_pem_file(&pkcs8, "me@example.org").unwrap();
}

#[test]
fn what_is_unusable_file_is_named() {
    let (_one, private) = openssl(&["genpkey", "-algorithm", "RSA", "-quiet"]);
    let private = private.to_str().unwrap();
    let (_two, public) = openssl(&["pkey", "-pubout", "-in", private]);
    let message = refusal(&fs::read(&public).unwrap());
    assert!(message.contains("has a public key; expected a private RSA key"), "{message}");

    let encrypted = ["pkcs8", "-topk8", "-passout", "pass:x", "-in", private];
    let (_three, encrypted) = openssl(&encrypted);
    assert!(refusal(&fs::read(&encrypted).unwrap()).contains("passphrase"));

    let curve = ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
    let (_four, curve) = openssl(&curve);
    assert!(refusal(&fs::read(&curve).unwrap()).contains("expected a private RSA key"));

    let (_five, short) =
        openssl(&["genpkey", "-algorithm", "RSA", "-quiet", "-pkeyopt", "rsa_keygen_bits:1024"]);
    assert!(refusal(&fs::read(&short).unwrap()).contains("a key of 1024 bits that can't be used"));

    let whole = fs::read_to_string(private).unwrap();
    let half = format!("{}\n-----END PRIVATE KEY-----\n", &whole[..whole.len() / 2]);
    assert!(refusal(half.as_bytes()).contains("can't be read"));
    assert!(refusal(b"").contains("has no key in it"));
    // Where line ends were lost, as in variables of CI.
    for end in ["", " ", "\\n"] {
        let message = refusal(whole.replace('\n', end).as_bytes());
        let body = whole.lines().nth(1).unwrap();
        let shown = message.to_lowercase().contains(&body[..20].to_lowercase());
        assert!(!shown, "the key is shown: {message}");
    }
    let account = format!("{{\"type\": \"service_account\", \"private_key\": {whole:?}}}");
    assert!(refusal(account.as_bytes()).contains("GOOGLE_APPLICATION_CREDENTIALS"));
    assert!(refusal(b"{\"type\": \"service_account\"}").contains("GOOGLE_APPLICATION_CREDENTIALS"));
    assert!(refusal(&[0x30, 0x82, 0xff, 0xfe]).contains("openssl pkcs12"));

    let error = AccountKey::from_pem_file("/does/not/exist".as_ref(), "me@x").unwrap_err();
    assert!(matches!(error, KeyError::Unreadable { .. }), "{error}");
}

#[test]
fn the_key_is_not_shown() {
    let (_directory, file) = openssl(&["genpkey", "-algorithm", "RSA", "-quiet"]);
    let key = AccountKey::from_pem_file(&file, "me@example.org").unwrap();
    assert_eq!(format!("{key:?}"), "AccountKey { account: \"me@example.org\", .. }");
}

/// Keys are replaced now and then, and the old ones are withdrawn.
#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_key_is_taken_when_the_old_one_is_refused() {
    let (emulator, withdrawn) = (Emulator::with_account(&[]), Emulator::with_account(&[]));
    let base = TempDir::new().unwrap();
    let file = base.path().join("account.json");
    std::fs::copy(withdrawn.account_file(), &file).unwrap();
    let identity = Identity::File(file.clone());
    let gcs = open(&BucketOptions { identity, ..with_account(&emulator) }).await;
    let content = b"content";
    assert!(gcs.put_blob(content, TYPE).await.is_err());
    std::fs::copy(emulator.account_file(), &file).unwrap();
    // As long as those at hand are taken for new.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let digest = gcs.put_blob(content, TYPE).await.unwrap();
    let url = |served| match served {
        Some(Served::At(url)) => url,
        other => panic!("{other:?}"),
    };
    let good = url(gcs.serve_blob(&digest).await.unwrap());
    let got = reqwest::get(&good).await.unwrap().error_for_status().unwrap();
    assert_eq!(got.bytes().await.unwrap(), &content[..]);

    // Told to, it takes what is there without being refused first.
    std::fs::copy(withdrawn.account_file(), &file).unwrap();
    gcs.reload().await;
    assert_ne!(url(gcs.serve_blob(&digest).await.unwrap()), good, "signed by another key");
    std::fs::write(&file, "{").unwrap();
    gcs.reload().await;
    std::fs::copy(emulator.account_file(), &file).unwrap();
    gcs.reload().await;
    gcs.write_record(&RecordKey { kind: RecordKind::Build, key: digest }, b"x").await.unwrap();
}
