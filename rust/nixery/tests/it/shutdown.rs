//! The end of the server, when it is told to stop.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{Server, Setup, fixtures, get, is_running, wait_until};

/// A client that has begun to receive a large layer, and doesn't go on.
fn stalled(server: &Server) -> TcpStream {
    let manifest = server.manifest("large").json();
    let layers = manifest["layers"].as_array().unwrap();
    let largest = layers.iter().max_by_key(|layer| layer["size"].as_u64()).unwrap();
    let mut client = TcpStream::connect(&server.address).unwrap();
    let path = format!("/v2/large/blobs/{}", largest["digest"].as_str().unwrap());
    write!(client, "GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    client.read_exact(&mut [0; 1000]).unwrap();
    client
}

#[test]
fn clients_that_do_not_go_on_are_cut_off_at_the_deadline() {
    let mut server = Setup::new(fixtures()).variable("NIXERY_SHUTDOWN_TIMEOUT", "3").start();
    let mut client = stalled(&server);
    let begin = Instant::now();
    assert!(server.terminate().success());
    let took = begin.elapsed();
    assert!(took >= Duration::from_secs(3) && took < Duration::from_secs(15), "{took:?}");
    let rest = client.read_to_end(&mut Vec::new());
    assert!(rest.is_err() || rest.unwrap() < 29_000_000, "it was cut off");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut server = Setup::new(fixtures()).variable("NIXERY_SHUTDOWN_TIMEOUT", "600").start();
    let client = stalled(&server);
    server.signal(Signal::TERM);
    wait_until("the first signal", || server.has_logged("stopping"));
    let begin = Instant::now();
    assert!(server.terminate().success());
    assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
    drop(client);
}

/// A builder that doesn't end when told to is killed, with what has left its group.
#[test]
fn builders_end_with_the_server() {
    let stubborn = "[ \"$1\" = --check ] && exit
        trap '' TERM
        setsid sleep 86408 &
        sleep 86409
        sleep 86409";
    let mut server = Setup::new(fixtures()).builder(stubborn).start();
    let address = server.address.clone();
    let client = thread::spawn(move || get(&address, "/v2/one/manifests/latest"));
    wait_until("the build", || is_running("sleep 86408") && is_running("sleep 86409"));
    assert!(server.terminate().success());
    let response = client.join().unwrap();
    assert_eq!((response.status, response.error().0.as_str()), (503, "UNAVAILABLE"));
    assert!(!is_running("sleep 86408") && !is_running("sleep 86409"));
}
