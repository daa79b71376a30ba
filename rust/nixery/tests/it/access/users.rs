//! The files with users, and what happens when they change.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use super::{ANN, BOB, Users, basic, get};
use crate::harness::{Setup, fixtures, wait_until};

#[test]
fn users_are_read_again_when_they_have_changed() {
    let users = Users::new();
    let server = users.known_to(Setup::new(fixtures())).start();
    let (ann, ci) = (basic("ann", "secret"), "Bearer ci-token");
    assert_eq!(get(&server, "/v2/", &ann).status, 200);
    users.write("htpasswd", &format!("{BOB}\n\neve:secret\n"));
    server.signal(Signal::HUP);
    wait_until("the complaint", || server.has_logged("keeping the users that there are"));
    let place = format!("{}: line 3", users.0.path().join("htpasswd").display());
    assert!(server.has_logged(&place) && !server.has_logged("eve:secret"), "{:?}", server.log());
    assert_eq!(get(&server, "/v2/", &ann).status, 200);

    // Nobody is at its other end.
    let file = users.0.path().join("htpasswd");
    fs::remove_file(&file).unwrap();
    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    server.signal(Signal::HUP);
    wait_until("the complaint", || server.has_logged("expected a regular file"));
    assert_eq!(get(&server, "/v2/", &ann).status, 200);
    fs::remove_file(&file).unwrap();

    users.write("htpasswd", BOB);
    users.write("tokens", "");
    server.signal(Signal::HUP);
    wait_until("the new users", || server.has_logged("read the files with users again"));
    for authorization in [&ann, ci] {
        assert_eq!(get(&server, "/v2/", authorization).status, 401, "{authorization}");
    }
    assert_eq!(get(&server, "/v2/", &basic("bob", "other")).status, 200);
}

#[test]
fn who_was_removed_is_out_at_once_though_other_things_hang() {
    let users = Users::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/popularity.json", listener.local_addr().unwrap());
    // Answers once, at the start, and then never.
    thread::spawn(move || {
        let mut held = Vec::new();
        for (index, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            if index == 0 {
                let _ = stream.read(&mut [0; 4096]).unwrap();
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").unwrap();
            } else {
                held.push(stream);
            }
        }
    });
    let setup = users.known_to(Setup::new(fixtures())).variable("NIX_POPULARITY_URL", &url);
    let server = setup.start();
    for (user, password, left) in [("ann", "secret", BOB), ("bob", "other", ANN)] {
        assert_eq!(get(&server, "/v2/", &basic(user, password)).status, 200);
        users.write("htpasswd", left);
        let begin = Instant::now();
        server.signal(Signal::HUP);
        wait_until("the removal", || get(&server, "/v2/", &basic(user, password)).status == 401);
        assert!(begin.elapsed() < Duration::from_secs(20), "it took {:?}", begin.elapsed());
        users.write("htpasswd", &format!("{ANN}\n{BOB}\n"));
        server.signal(Signal::HUP);
        wait_until("the return", || get(&server, "/v2/", &basic(user, password)).status == 200);
    }
    assert!(!server.has_logged("popularity table"), "{:?}", server.log());
}

#[test]
fn files_that_cannot_be_used_are_named_with_their_line() {
    for (name, content, expected) in [
        ("htpasswd", format!("{ANN}\nbob:$apr1$x$y\n"), "htpasswd: line 2: the password of bob"),
        ("tokens", "ci:ci-token\n".to_owned(), "tokens: line 1: the token of ci"),
    ] {
        let users = Users::new();
        users.write(name, &content);
        let setup = users.known_to(Setup::new(fixtures()));
        let (status, log) = setup.try_start_in(&Arc::new(TempDir::new().unwrap())).err().unwrap();
        assert_eq!(status.code(), Some(1), "{log}");
        assert!(log.contains(expected) && !log.contains("ci-token"), "{log}");
    }
    let missing = Setup::new(fixtures()).variable("NIXERY_ACCESS_TOKENS", "/does/not/exist");
    let (_, log) = missing.try_start_in(&Arc::new(TempDir::new().unwrap())).err().unwrap();
    assert!(log.contains("/does/not/exist; NIXERY_ACCESS_TOKENS (access.tokens)"), "{log}");
}
