//! TLS with certificates from files, and UNIX sockets.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::harness::{Server, Setup, digest_of, fixtures, run, wait_until};

/// A certificate for localhost, its own authority, and its key.
struct Certificate {
    directory: TempDir,
}

impl Certificate {
    fn new() -> Self {
        let this = Self { directory: TempDir::new().unwrap() };
        this.renew("/CN=first");
        this
    }

    /// Replaces it by another.
    fn renew(&self, subject: &str) {
        let made = TempDir::new().unwrap();
        let file = |name: &str| made.path().join(name);
        run(Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
            .args(["-nodes", "-days", "2", "-subj", subject])
            .args(["-addext", "subjectAltName=DNS:localhost", "-keyout"])
            .arg(file("key"))
            .arg("-out")
            .arg(file("pem")));
        for (made, place) in [("key", self.key()), ("pem", self.file())] {
            fs::copy(file(made), place).unwrap();
        }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("pem")
    }

    fn key(&self) -> PathBuf {
        self.directory.path().join("key")
    }

    fn setup(&self) -> Setup {
        Setup::new(fixtures())
            .variable("NIXERY_TLS_CERTIFICATE", self.file().to_str().unwrap())
            .variable("NIXERY_TLS_KEY", self.key().to_str().unwrap())
    }

    /// Asks by curl, which checks the certificate.
    fn curl(&self, server: &Server, path: &str, arguments: &[&str]) -> Output {
        let port = server.address.rsplit(':').next().unwrap();
        Command::new("curl")
            .args(["-sS", "--noproxy", "*", "--max-time", "60", "--cacert"])
            .arg(self.file())
            .args(["--resolve", &format!("localhost:{port}:127.0.0.1")])
            .args(arguments)
            .arg(format!("https://localhost:{port}{path}"))
            .output()
            .unwrap()
    }
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn images_are_served_by_tls() {
    let certificate = Certificate::new();
    let mut server = certificate.setup().start();
    for (arguments, protocol) in [(["--http1.1"], "1.1"), (["--http2"], "2")] {
        let written = ["-o", "/dev/null", "-w", "%{http_version}"];
        let found = certificate.curl(&server, "/v2/", &[&arguments[..], &written].concat());
        assert_eq!(text(&found), protocol);
        let manifest = certificate.curl(&server, "/v2/three/manifests/latest", &arguments);
        let manifest: serde_json::Value = serde_json::from_str(&text(&manifest)).unwrap();
        let digest = manifest["layers"][0]["digest"].as_str().unwrap();
        let blob = certificate.curl(&server, &format!("/v2/three/blobs/{digest}"), &arguments);
        assert_eq!(digest_of(&blob.stdout), digest);
        // What is said of this server's own address is true of it.
        let broken = certificate.curl(&server, "/v2/failing/manifests/latest", &arguments);
        let port = server.address.rsplit(':').next().unwrap();
        let page = format!("https://localhost:{port}/builds/");
        assert!(text(&broken).contains(&page), "{}", text(&broken));
    }
    for old in ["1.0", "1.1"] {
        let refused =
            certificate.curl(&server, "/v2/", &["--tls-max", old, "--ciphers", "ALL:@SECLEVEL=0"]);
        assert!(!refused.status.success(), "TLS {old}: {refused:?}");
    }
    text(&certificate.curl(&server, "/v2/", &["--tls-max", "1.2"]));
    assert!(server.terminate().success());
}

#[test]
fn who_forgets_tls_is_told() {
    let certificate = Certificate::new();
    let server = certificate.setup().start();
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("https://"), "{answer}");
    // Who begins TLS and goes no further is in nobody's way.
    let mut half = TcpStream::connect(&server.address).unwrap();
    half.write_all(b"\x16\x03\x01").unwrap();
    text(&certificate.curl(&server, "/v2/", &[]));
}

/// Those who say nothing once kept the server from ending until the time for a request was
/// over, and had that time twice: for the first byte, and for what follows.
#[test]
fn who_says_nothing_where_tls_is_spoken_is_not_waited_for() {
    let certificate = Certificate::new();
    let mut server = certificate.setup().start();
    let silent = TcpStream::connect(&server.address).unwrap();
    // Accepted after it.
    text(&certificate.curl(&server, "/v2/", &[]));
    let begin = Instant::now();
    assert!(server.terminate().success());
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
    drop(silent);

    let server = certificate.setup().variable("NIXERY_LIMITS_HEADER_TIMEOUT", "3").start();
    let begin = Instant::now();
    let mut slow = TcpStream::connect(&server.address).unwrap();
    slow.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    thread::sleep(Duration::from_secs(2));
    slow.write_all(b"\x16").unwrap();
    // Hung up on, in either way.
    let _ = slow.read(&mut [0]);
    let took = begin.elapsed().as_secs_f64();
    assert!((2.9..4.9).contains(&took), "{took} s");
}

#[test]
fn a_new_certificate_needs_no_restart() {
    let certificate = Certificate::new();
    let server = certificate.setup().start();
    text(&certificate.curl(&server, "/v2/", &[]));
    // It is looked at now and then …
    certificate.renew("/CN=second");
    wait_until("the new certificate", || server.has_logged("read a new certificate"));
    text(&certificate.curl(&server, "/v2/", &[]));
    // … and at once when told; what can't be used leaves what there is.
    let good = fs::read(certificate.key()).unwrap();
    fs::write(certificate.key(), "no key").unwrap();
    server.signal(Signal::HUP);
    wait_until("the error", || server.has_logged("keeping the certificate that there is"));
    text(&certificate.curl(&server, "/v2/", &[]));
    fs::write(certificate.key(), good).unwrap();
}

#[test]
fn a_certificate_that_cannot_be_used_keeps_the_server_from_starting() {
    let certificate = Certificate::new();
    fs::write(certificate.key(), "").unwrap();
    let state = Arc::new(TempDir::new().unwrap());
    let (status, log) = certificate.setup().try_start_in(&state).err().unwrap();
    assert!(!status.success());
    let key = certificate.key().display().to_string();
    assert!(log.contains(&key) && log.contains("has no private key"), "{log}");
}

/// One request by the UNIX socket.
fn ask(socket: &Path, path: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn images_are_served_by_a_unix_socket() {
    let state = Arc::new(TempDir::new().unwrap());
    let socket = state.path().join("nixery.sock");
    let setup = Setup::new(fixtures()).variable("NIXERY_SOCKET", socket.to_str().unwrap());
    let mut server = setup.start_in(&state);
    assert_eq!(server.address, format!("unix:{}", socket.display()));
    let file = fs::symlink_metadata(&socket).unwrap();
    assert!(file.file_type().is_socket());
    assert_eq!(file.permissions().mode() & 0o777, 0o660);
    assert!(ask(&socket, "/v2/one/manifests/latest").starts_with("HTTP/1.1 200 "));

    let (_, log) = setup.try_start_in(&state).err().unwrap();
    assert!(log.contains("another server listens there"), "{log}");
    assert!(ask(&socket, "/v2/").starts_with("HTTP/1.1 200 "), "the other one is unharmed");
    assert!(server.terminate().success());
    assert!(!socket.exists());

    // What a server leaves that was killed is replaced.
    setup.start_in(&state).kill();
    assert!(socket.exists());
    let mut server = setup.start_in(&state);
    assert!(ask(&socket, "/v2/").starts_with("HTTP/1.1 200 "));
    assert!(server.terminate().success());

    fs::write(&socket, "precious").unwrap();
    let (_, log) = setup.try_start_in(&state).err().unwrap();
    assert!(log.contains("NIXERY_SOCKET") && log.contains("left alone"), "{log}");
    assert_eq!(fs::read(&socket).unwrap(), b"precious");
}

#[test]
fn a_unix_socket_of_systemd_is_used_and_left() {
    let setup = Setup::new(fixtures()).socket(
        "listener = socket.socket(socket.AF_UNIX)
listener.bind(os.environ['STATE_DIRECTORY'] + '/given.sock')
listener.listen()",
    );
    let mut server = setup.start();
    let socket = server.state.path().join("given.sock");
    assert!(ask(&socket, "/v2/").starts_with("HTTP/1.1 200 "));
    assert!(server.terminate().success());
    assert!(socket.exists(), "it is systemd's");
}
