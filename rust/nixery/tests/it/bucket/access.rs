//! Who the server is for the service.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use super::{fetch, setup};
use crate::harness::{ACCOUNT, Emulator, Fault, FaultProxy, Rule, fixtures};

/// The metadata server's tokens last as long as it says, here for some seconds. One of its
/// answers is a refusal, after which the SDK asks no more.
#[test]
fn a_token_that_runs_out_is_renewed() {
    let emulator = Emulator::with_account(&["--token-lifetime", "4"]);
    let proxy = FaultProxy::start(emulator.address());
    proxy.add(Rule::new(Fault::Status(403, "{}")).path("/token").skip(1));
    let server = setup(fixtures(), &emulator)
        .variable("GOOGLE_APPLICATION_CREDENTIALS", "")
        .variable("HOME", "/nonexistent")
        .variable("GCE_METADATA_HOST", &proxy.address().to_string())
        .variable("NIXERY_GCS_REDIRECT", "false")
        .start();
    for image in ["one", "two", "three", "four", "five"] {
        fetch(&server, image);
        thread::sleep(Duration::from_secs(4));
    }
    assert_eq!(proxy.injected(), 1, "{:?}", proxy.seen());
    assert!(server.has_logged("were refused: making them anew"));
    fetch(&server, "one/five");
}

/// Google's service signs for whoever has no key. It can't be told to the SDK where that
/// service is, so the server sees another file of hosts, and trusts another authority.
#[test]
fn urls_are_signed_by_the_service_where_that_is_wanted() {
    if !rustix::process::geteuid().is_root() {
        println!("not run: only root can have a port below 1024");
        return;
    }
    let directory = TempDir::new().unwrap();
    let authority = directory.path().join("authority.pem");
    let iam = ["--iam", "127.0.0.77:443", "--iam-ca", authority.to_str().unwrap()];
    let emulator = Emulator::with_account(&iam);
    let hosts =
        emulator.file("hosts", "127.0.0.1 localhost\n127.0.0.77 iamcredentials.googleapis.com\n");
    let script = format!("mount --bind {} /etc/hosts && exec \"$0\" \"$@\"", hosts.display());
    let mut setup = setup(fixtures(), &emulator)
        .variable("GOOGLE_APPLICATION_CREDENTIALS", "")
        .variable("HOME", "/nonexistent")
        .variable("GCE_METADATA_HOST", &emulator.address().to_string())
        .variable("SSL_CERT_FILE", authority.to_str().unwrap())
        .variable("NIXERY_GCS_SIGN", "iam");
    setup.runner = ["unshare", "-m", "sh", "-c", &script].map(str::to_owned).to_vec();
    let server = setup.start();
    fetch(&server, "two");
    let manifest = server.manifest("two").json();
    let config = manifest["config"]["digest"].as_str().unwrap();
    assert_eq!(server.get(&format!("/v2/two/blobs/{config}")).status, 307);
}

#[test]
fn a_server_whose_bucket_cannot_be_used_does_not_start() {
    let emulator = Emulator::with_account(&[]);
    let public = emulator.file("public.pem", "-----BEGIN PUBLIC KEY-----\nMA==\n");
    let state = Arc::new(TempDir::new().unwrap());
    for (variables, told) in [
        (vec![("GCS_BUCKET", "another-bucket")], "there is no bucket another-bucket"),
        (vec![("NIXERY_GCS_SIGN", "none")], "clients can't get blobs from the bucket"),
        (vec![("NIXERY_GCS_ANONYMOUS", "true")], "doesn't accept the credentials"),
        (vec![("GOOGLE_APPLICATION_CREDENTIALS", "/none.json")], "can't read /none.json"),
        (
            vec![("GCS_SIGNING_KEY", public.to_str().unwrap()), ("GCS_SIGNING_ACCOUNT", ACCOUNT)],
            "public.pem has a public key; expected a private RSA key in PEM",
        ),
    ] {
        let setup = variables
            .into_iter()
            .fold(setup(fixtures(), &emulator), |setup, (name, value)| setup.variable(name, value));
        let (status, log) = setup.try_start_in(&state).err().expect(told);
        assert_eq!(status.code(), Some(1), "{log}");
        assert!(log.contains(told), "{told}: {log}");
    }
}
