//! What a service manager tells the server, and is told by it.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::harness::{Server, Setup, fixtures, get, wait_until};

/// What systemd would listen on.
struct Manager {
    socket: UnixDatagram,
    directory: TempDir,
}

impl Manager {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        Self { socket, directory }
    }

    fn setup(&self) -> Setup {
        let socket = self.directory.path().join("notify");
        Setup::new(fixtures()).variable("NOTIFY_SOCKET", socket.to_str().unwrap())
    }

    /// Waits until this is told.
    fn expect(&self, state: &str) {
        let start = Instant::now();
        let mut told = Vec::new();
        while start.elapsed() < Duration::from_secs(20) {
            let mut message = [0; 4096];
            match self.socket.recv(&mut message) {
                Ok(length) => {
                    let message = String::from_utf8_lossy(&message[..length]).into_owned();
                    if message.lines().any(|line| line == state) {
                        return;
                    }
                    told.push(message);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
        }
        panic!("{state} isn't told, but {told:?}");
    }
}

#[test]
fn readiness_life_and_the_end_are_told() {
    let manager = Manager::new();
    let mut server = manager.setup().variable("WATCHDOG_USEC", "200000").start();
    manager.expect("READY=1");
    assert_eq!(server.get("/readyz").status, 200);
    for _ in 0..3 {
        manager.expect("WATCHDOG=1");
    }
    let status = thread::scope(|scope| {
        let ended = scope.spawn(|| server.terminate());
        manager.expect("STOPPING=1");
        ended.join().unwrap()
    });
    assert!(status.success(), "{status}");
}

#[test]
fn a_server_that_cannot_use_its_storage_is_never_ready() {
    let manager = Manager::new();
    let setup = manager.setup().variable("STORAGE_PATH", "/dev/null/storage");
    let started = setup.try_start_in(&std::sync::Arc::new(TempDir::new().unwrap()));
    assert!(started.is_err());
    let mut message = [0; 4096];
    assert_eq!(manager.socket.recv(&mut message).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn the_popularity_table_is_read_again_at_a_signal() {
    let manager = Manager::new();
    let table = manager.directory.path().join("popularity.json");
    fs::write(&table, "{}").unwrap();
    let url = format!("file://{}", table.display());
    let server = manager.setup().variable("NIX_POPULARITY_URL", &url).start();
    manager.expect("READY=1");
    let digest = |server: &Server| server.manifest("five").body;
    let before = digest(&server);

    fs::write(&table, "not a table").unwrap();
    server.signal(Signal::HUP);
    manager.expect("RELOADING=1");
    manager.expect("READY=1");
    wait_until("the error", || server.has_logged("keeping the popularity table that there is"));
    assert_eq!(digest(&server), before);

    let popular = ["one-1.0", "two-1.0", "three-1.0", "four-1.0"];
    let popular: Vec<String> = popular.iter().map(|name| format!("\"{name}\": 1000000")).collect();
    fs::write(&table, format!("{{{}}}", popular.join(","))).unwrap();
    server.signal(Signal::HUP);
    manager.expect("RELOADING=1");
    manager.expect("READY=1");
    wait_until("the message", || server.has_logged("read the popularity table again"));
    assert_ne!(digest(&server), before, "popular packages have other layers");
}

/// The socket is there before the server: connections wait and are not refused.
#[test]
fn it_serves_on_a_socket_that_it_is_given() {
    let setup = Setup::new(fixtures()).variable("PORT", "1").builder(
        // What the builder has where the server has its socket.
        r#"[ "$1" = --check ] || { readlink /proc/$$/fd/3 || echo nothing; } > "$STATE_DIRECTORY/third"
exec "$REAL_BUILDER" "$@""#,
    );
    let setup = setup.socket("listener = socket.create_server(('127.0.0.1', 0))");
    let server = setup.start();
    assert!(!server.address.ends_with(":1"), "{}", server.address);
    assert_eq!(get(&server.address, "/v2/").status, 200);
    server.manifest("one");
    let third = fs::read_to_string(server.state.path().join("third")).unwrap();
    assert!(!third.contains("socket"), "{third}");
}

/// Its client could not know: with systemd's socket, a restart must not be noticed.
#[test]
fn who_connected_before_the_end_is_still_answered() {
    let mut server = Setup::new(fixtures()).start();
    let mut client = TcpStream::connect(&server.address).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // Accepted for certain, in order.
    assert_eq!(get(&server.address, "/v2/").status, 200);
    let mut answer = String::new();
    let status = thread::scope(|scope| {
        let ended = scope.spawn(|| server.terminate());
        thread::sleep(Duration::from_millis(300));
        client.write_all(b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        client.read_to_string(&mut answer).unwrap();
        ended.join().unwrap()
    });
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer:?}");
    assert!(status.success(), "{status}");
}

/// … but one that says nothing delays the end by no more than a second.
#[test]
fn who_says_nothing_does_not_delay_the_end() {
    let mut server = Setup::new(fixtures()).start();
    let silent = TcpStream::connect(&server.address).unwrap();
    assert_eq!(get(&server.address, "/v2/").status, 200);
    let start = Instant::now();
    assert!(server.terminate().success());
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    drop(silent);
}
