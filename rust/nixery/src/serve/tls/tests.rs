use std::fs;
use std::process::Command;

use tempfile::TempDir;

use super::*;

/// A certificate that is good for nothing but tests, and its key.
fn make(directory: &Path, name: &str) -> TlsFiles {
    let files = TlsFiles {
        certificate: directory.join(format!("{name}.pem")),
        key: directory.join(format!("{name}.key")),
    };
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
        .args(["-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost"])
        .arg("-keyout")
        .arg(&files.key)
        .arg("-out")
        .arg(&files.certificate)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    files
}

fn open(files: &TlsFiles) -> Result<Tls, String> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Tls::open(files.clone()).map_err(|error| ErrorChain(&error).to_string())
}

#[test]
fn what_cannot_be_used_is_named_with_its_file() {
    let directory = TempDir::new().unwrap();
    let (one, two) = (make(directory.path(), "one"), make(directory.path(), "two"));
    assert!(open(&one).is_ok());
    let file = |name: &str, content: &str| {
        let path = directory.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let with_certificate =
        |certificate: PathBuf| open(&TlsFiles { certificate, ..one.clone() }).err().unwrap();
    let with_key = |key: PathBuf| open(&TlsFiles { key, ..one.clone() }).err().unwrap();
    let encrypted = directory.path().join("encrypted.key");
    let made = Command::new("openssl")
        .args(["pkey", "-aes256", "-passout", "pass:secret", "-in"])
        .arg(&one.key)
        .arg("-out")
        .arg(&encrypted)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    for (problem, expected) in [
        (with_certificate("/missing.pem".into()), ["/missing.pem", "No such file"]),
        (with_certificate(one.key.clone()), ["one.key", "has no certificate"]),
        (with_certificate(file("empty.pem", "")), ["empty.pem", "has no certificate"]),
        (
            with_certificate(file("cut.pem", "-----BEGIN CERTIFICATE-----\nMII\n")),
            ["cut.pem", "is not PEM"],
        ),
        (with_key(one.certificate.clone()), ["one.pem", "has no private key"]),
        (with_key(encrypted), ["encrypted.key", "is encrypted"]),
        (with_key(two.key.clone()), ["two.key", "KeyMismatch"]),
    ] {
        for part in expected {
            assert!(problem.contains(part), "{part}: {problem}");
        }
    }
}

#[test]
fn a_new_certificate_is_used_and_a_bad_one_is_not() {
    let directory = TempDir::new().unwrap();
    let (one, two) = (make(directory.path(), "one"), make(directory.path(), "two"));
    let tls = open(&one).unwrap_or_else(|error| panic!("{error}"));
    let first = Arc::clone(&tls.current.read().unwrap());
    assert!(!tls.renew().unwrap(), "nothing has changed");

    fs::copy(&two.certificate, &one.certificate).unwrap();
    assert!(tls.renew().is_err(), "the key is still the old one");
    assert!(!tls.renew().unwrap(), "that is said once");
    assert!(Arc::ptr_eq(&first, &tls.current.read().unwrap()));

    fs::copy(&two.key, &one.key).unwrap();
    assert!(tls.renew().unwrap());
    assert!(!Arc::ptr_eq(&first, &tls.current.read().unwrap()));

    let away = directory.path().join("away");
    for _ in 0..2 {
        fs::rename(&one.key, &away).unwrap();
        assert!(tls.renew().is_err());
        assert!(!tls.renew().unwrap(), "that is said once");
        fs::rename(&one.certificate, directory.path().join("gone")).unwrap();
        assert!(tls.renew().is_err(), "it is another problem");
        fs::rename(directory.path().join("gone"), &one.certificate).unwrap();
        assert!(tls.renew().is_err(), "and another one");
        fs::rename(&away, &one.key).unwrap();
        assert!(!tls.renew().unwrap(), "what there is again is the same");
    }
}
