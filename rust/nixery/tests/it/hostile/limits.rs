//! What is too large, and who comes too often.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use super::{connect, exchange, memory, metric, raise_file_limit};
use crate::harness::{Setup, fixtures, get, request, wait_until};

#[test]
fn what_is_too_large_is_a_clear_error() {
    let server = Setup::new(fixtures())
        .variable("NIXERY_LIMITS_URL_BYTES", "1024")
        .variable("NIXERY_LIMITS_HEADER_BYTES", "2048")
        .variable("NIXERY_LIMITS_BODY_BYTES", "10")
        .start();
    let long = format!("/v2/{}/manifests/latest", "a".repeat(1024));
    let value = "a".repeat(3000);
    for (method, path, header, status, word) in [
        ("GET", long.as_str(), ("x", ""), 414, "limits.url_bytes"),
        ("GET", "/v2/", ("x", value.as_str()), 431, "limits.header_bytes"),
        ("POST", "/api/v1/builds/one/latest", ("content-length", "11"), 413, "body"),
    ] {
        let response = request(&server.address, method, path, &[header]);
        assert_eq!(response.status, status, "{}", response.text());
        let (code, message) = response.error();
        assert!(code == "UNSUPPORTED" && message.contains(word), "{code}: {message}");
    }
    for limit in ["url", "headers", "body"] {
        assert_eq!(
            metric(&server, &format!("nixery_requests_refused_total{{limit=\"{limit}\"}}")),
            1
        );
    }
    // More than the parser takes at all: without words, but with the status.
    let many = "x: y\r\n".repeat(200);
    let answer = exchange(&server, format!("GET /v2/ HTTP/1.1\r\n{many}\r\n").as_bytes());
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[test]
fn a_hundred_megabytes_of_headers_take_no_memory() {
    let server = Setup::new(fixtures()).start();
    assert_eq!(server.get("/v2/").status, 200);
    let before = memory(&server).0;
    let start = Instant::now();
    let part = format!("x: {}\r\n", "y".repeat(64 * 1024 - 5));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (mut stream, part) = (connect(&server), part.clone());
            thread::spawn(move || {
                stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: h\r\n").unwrap();
                let sent = (0..1600).take_while(|_| stream.write_all(part.as_bytes()).is_ok());
                let sent = sent.count() * part.len();
                let mut answer = String::new();
                let _ = stream.read_to_string(&mut answer);
                (sent, answer)
            })
        })
        .collect();
    for client in clients {
        let (sent, answer) = client.join().unwrap();
        assert!(answer.starts_with("HTTP/1.1 431 "), "after {sent} bytes: {answer:?}");
    }
    let most = memory(&server).1;
    println!(
        "8 clients with 100 MB of headers each: 431 in {:?}; memory from {before} to {most} kB at most",
        start.elapsed()
    );
    assert!(most < before + 30_000, "from {before} to {most} kB");
}

#[test]
fn who_asks_too_often_is_told_when_to_come_back_and_others_are_not_held() {
    let server = Setup::new(fixtures())
        .variable("NIXERY_LIMITS_REQUESTS_PER_SECOND", "2")
        .variable("NIXERY_LIMITS_REQUESTS_BURST", "5")
        .variable("NIXERY_TRUSTED_PROXIES", "127.0.0.0/8")
        .start();
    let ask =
        |client: &str| request(&server.address, "GET", "/v2/", &[("X-Forwarded-For", client)]);
    for _ in 0..5 {
        assert_eq!(ask("198.51.100.9, 192.0.2.1").status, 200);
    }
    let refused = ask("198.51.100.8, 192.0.2.1");
    assert_eq!((refused.status, refused.error().0.as_str()), (429, "TOOMANYREQUESTS"));
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(ask("192.0.2.2").status, 200);
    thread::sleep(Duration::from_millis(1100));
    assert_eq!(ask("192.0.2.1").status, 200);
}

#[test]
fn connections_are_limited_for_each_address_and_in_all() {
    let server = Setup::new(fixtures())
        .variable("NIXERY_LIMITS_CONNECTIONS", "12")
        .variable("NIXERY_LIMITS_CONNECTIONS_PER_ADDRESS", "10")
        .start();
    let open = |number: usize| -> Vec<TcpStream> {
        (0..number).map(|_| TcpStream::connect(&server.address).unwrap()).collect()
    };
    // Without these, the answer is no registry's.
    let ask = || get(&server.address, "/v2/");
    let ten = open(10);
    let refused = ask();
    assert_eq!((refused.status, refused.error().0.as_str()), (429, "TOOMANYREQUESTS"));
    assert_eq!(refused.header("retry-after"), "10");
    drop(ten);
    wait_until("their end", || ask().status == 200);

    let server = Setup::new(fixtures()).variable("NIXERY_LIMITS_CONNECTIONS", "12").start();
    let twelve: Vec<TcpStream> =
        (0..12).map(|_| TcpStream::connect(&server.address).unwrap()).collect();
    let refused = get(&server.address, "/v2/");
    assert_eq!((refused.status, refused.error().0.as_str()), (503, "UNAVAILABLE"));
    drop(twelve);
    wait_until("their end", || get(&server.address, "/v2/").status == 200);
    wait_until("the count of one", || metric(&server, "nixery_connections ") == 1);
    assert!(metric(&server, "nixery_connections_refused_total{limit=\"total\"}") > 0);
}

#[test]
fn only_so_many_clients_watch_builds() {
    // A quarter for each address.
    let server = Setup::new(fixtures())
        .variable("NIXERY_LIMITS_WATCHERS", "8")
        .variable("NIXERY_TRUSTED_PROXIES", "127.0.0.0/8")
        .start();
    let path = "/api/v1/builds/hanging-5/latest";
    request(&server.address, "POST", path, &[]);
    let watch_from = |client: &str| {
        let mut stream = connect(&server);
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\
             X-Forwarded-For: {client}\r\n\r\n"
        )
        .unwrap();
        let mut begin = [0; 12];
        stream.read_exact(&mut begin).unwrap();
        (stream, String::from_utf8_lossy(&begin).into_owned())
    };
    let watch = || watch_from("192.0.2.1");
    let (one, two) = (watch(), watch());
    assert_eq!([one.1.as_str(), two.1.as_str()], ["HTTP/1.1 200", "HTTP/1.1 200"]);
    assert_eq!(watch().1, "HTTP/1.1 429");
    assert_eq!(server.get(path).status, 200, "without events");
    drop(one.0);
    wait_until("a place", || watch().1 == "HTTP/1.1 200");
    // Others are not in its way, up to the limit of all.
    let others: Vec<_> = (2..9).map(|n| watch_from(&format!("192.0.2.{n}"))).collect();
    let let_in = others.iter().filter(|other| other.1 == "HTTP/1.1 200").count();
    assert!((6..8).contains(&let_in), "{let_in} of 7");
}

/// One client once filled the queue of builds for all others.
#[test]
fn one_client_has_half_of_the_queue_of_builds() {
    let server = Setup::new(fixtures())
        .variable("NIXERY_NIX_MAX_BUILDS", "1")
        .variable("NIXERY_NIX_MAX_QUEUE", "4")
        .variable("NIXERY_TRUSTED_PROXIES", "127.0.0.0/8")
        .start();
    let ask = |client: &str, image: &str| {
        let path = format!("/api/v1/builds/{image}/latest");
        request(&server.address, "POST", &path, &[("X-Forwarded-For", client)])
    };
    // The others wait for the first.
    for image in ["hanging-5", "one", "two"] {
        assert_eq!(ask("192.0.2.1", image).status, 202, "{image}");
    }
    let refused = ask("192.0.2.1", "three");
    assert_eq!((refused.status, refused.error().0.as_str()), (429, "TOOMANYREQUESTS"));
    assert!(refused.error().1.contains("3 images that were asked for from your address"));
    assert_eq!(refused.header("retry-after"), "10");
    assert_eq!(ask("192.0.2.1", "one").status, 202, "what is being made may be waited for");
    for image in ["one/two", "one/three"] {
        assert_eq!(ask("192.0.2.2", image).status, 202, "{image}");
    }
    let refused = ask("192.0.2.2", "two/three");
    assert!(refused.error().1.contains("nix.max_queue"), "all are taken: {}", refused.text());
}

/// What one client has begun once came before all that others wanted later.
#[test]
fn clients_take_turns_to_have_something_built() {
    // Longer than POST waits whether there is an answer at once.
    let slow = "[ \"$1\" = --check ] && exit\nsleep 2\nexec \"$REAL_BUILDER\" \"$@\"";
    let server = Setup::new(fixtures())
        .builder(slow)
        .variable("NIXERY_NIX_MAX_BUILDS", "1")
        .variable("NIXERY_TRUSTED_PROXIES", "127.0.0.0/8")
        .start();
    let of = |image: &str| format!("/api/v1/builds/{image}/latest");
    let ask = |client: &str, image: &str| {
        let answer = request(&server.address, "POST", &of(image), &[("X-Forwarded-For", client)]);
        assert_eq!(answer.status, 202, "{image}");
    };
    // Nix runs for each of them.
    for image in ["two", "three", "four", "five"] {
        ask("192.0.2.1", image);
    }
    ask("192.0.2.2", "one");
    let state = |image: &str| server.get(&of(image)).json()["state"].clone();
    wait_until("the other client's turn", || state("one") == "made");
    assert_ne!(state("five"), "made");
}

/// With the defaults: a load test from one address is no attack.
#[test]
fn five_hundred_connections_of_one_address_are_served() {
    raise_file_limit();
    let server = Setup::new(fixtures()).start();
    let mut streams: Vec<TcpStream> = (0..500).map(|_| connect(&server)).collect();
    for _ in 0..4 {
        for stream in &mut streams {
            stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        }
        for stream in &mut streams {
            let mut begin = [0; 12];
            stream.read_exact(&mut begin).unwrap();
            assert_eq!(&begin, b"HTTP/1.1 200");
            let mut rest = [0; 1024];
            assert!(stream.read(&mut rest).unwrap() > 0);
        }
    }
}
