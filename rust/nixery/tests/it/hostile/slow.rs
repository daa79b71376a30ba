//! Clients that are slow, or leave.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use super::{connect, memory, metric, raise_file_limit};
use crate::harness::{Server, Setup, digest_of, fixtures, request, wait_until};

/// Seconds that slow clients are given.
const PATIENCE: &str = "4";

fn impatient() -> Setup {
    ["HEADER", "IDLE", "WRITE"].iter().fold(Setup::new(fixtures()), |setup, wait| {
        setup.variable(&format!("NIXERY_LIMITS_{wait}_TIMEOUT"), PATIENCE)
    })
}

/// Path of a layer of 30 MB, and its digest.
fn large(server: &Server) -> (String, String) {
    let manifest = server.manifest("large").json();
    let layers = manifest["layers"].as_array().unwrap();
    let layer = layers.iter().max_by_key(|layer| layer["size"].as_u64()).unwrap();
    let digest = layer["digest"].as_str().unwrap().to_owned();
    (format!("/v2/large/blobs/{digest}"), digest)
}

/// How long it takes until the server closes the connection, after what it has answered.
fn closed_after(stream: &mut TcpStream) -> Duration {
    let start = Instant::now();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
    }
    start.elapsed()
}

#[test]
fn who_sends_no_request_in_time_is_hung_up_on() {
    // That of HTTP/2 answers no pings, which come in proportion to this.
    let server = impatient().variable("NIXERY_LIMITS_WRITE_TIMEOUT", "120").start();
    for (what, sent) in [
        ("nothing", ""),
        ("what may become HTTP/2", "PRI * HTTP/2"),
        ("half a head", "GET /v2/ HTTP/1.1\r\nHost"),
        ("HTTP/2 without a request", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"),
        ("half a head after a request", "GET /v2/ HTTP/1.1\r\nHost: h\r\n\r\nGET /v2/ HT"),
        ("no second request", "GET /v2/ HTTP/1.1\r\nHost: h\r\n\r\n"),
    ] {
        let mut stream = connect(&server);
        stream.write_all(sent.as_bytes()).unwrap();
        let waited = closed_after(&mut stream).as_secs_f64();
        assert!((2.0..9.0).contains(&waited), "{what}: {waited} s");
    }
    let timed_out = |wait: &str| {
        metric(&server, &format!("nixery_connections_timed_out_total{{wait=\"{wait}\"}}"))
    };
    // What of a second head came with the first is found out only as no more comes.
    assert_eq!((timed_out("head") + timed_out("idle"), timed_out("write")), (6, 0));
    assert!(timed_out("head") >= 4);
}

/// Each waits for Nix and has nothing to say, much longer than clients are waited for.
#[test]
fn who_waits_for_an_image_or_watches_one_is_not_hung_up_on() {
    let server = impatient()
        .builder("[ \"$1\" = --check ] || sleep 12\nexec \"$REAL_BUILDER\" \"$@\"")
        .start();
    let mut watching = connect(&server);
    let mut waiting = connect(&server);
    waiting.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    write!(waiting, "GET /v2/two/manifests/latest HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    wait_until("the build", || server.has_logged("preparing packages"));
    watching.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    write!(
        watching,
        "GET /api/v1/builds/two/latest HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\
         Connection: close\r\n\r\n"
    )
    .unwrap();
    let mut begin = [0; 12];
    waiting.read_exact(&mut begin).unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200");
    let mut events = String::new();
    watching.read_to_string(&mut events).unwrap();
    assert!(events.contains("event: end"), "{events}");
}

#[test]
fn who_leaves_at_any_stage_does_no_harm() {
    let server = Setup::new(fixtures()).start();
    let (blob, digest) = large(&server);
    let open = |bytes: &str| {
        let mut stream = connect(&server);
        stream.write_all(bytes.as_bytes()).unwrap();
        stream
    };
    for _ in 0..50 {
        drop(open(""));
        drop(open("GET /v2/ HT"));
        drop(open("GET /v2/ HTTP/1.1\r\nHost: h\r\n\r\n"));
        // While the image is made.
        drop(open("GET /v2/three/manifests/latest HTTP/1.1\r\nHost: h\r\n\r\n"));
        // In the middle of the answer; what is unread makes it a reset.
        let mut body = open(&format!("GET {blob} HTTP/1.1\r\nHost: h\r\n\r\n"));
        body.read_exact(&mut [0; 1000]).unwrap();
        drop(body);
        // Half of the connection.
        let half = open(&format!("GET {blob} HTTP/1.1\r\nHost: h\r\n\r\n"));
        half.shutdown(std::net::Shutdown::Write).unwrap();
        drop(half);
    }
    let start = Instant::now();
    assert_eq!(digest_of(&server.get(&blob).body), digest);
    println!("a layer of 30 MB after 300 clients that left: {:?}", start.elapsed());
    server.manifest("three");
    wait_until("the end of all connections", || metric(&server, "nixery_connections ") == 1);
    let log = server.log();
    let loud: Vec<_> = log.iter().filter(|entry| entry["level"] != "INFO").collect();
    assert!(loud.is_empty(), "{loud:?}");
}

/// How long normal requests take, in milliseconds: median and the slowest of fifty.
fn normal(server: &Server) -> (f64, f64) {
    let mut times: Vec<f64> = (0..50)
        .map(|_| {
            let start = Instant::now();
            assert_eq!(
                request(&server.address, "GET", "/v2/one/manifests/latest", &[]).status,
                200
            );
            start.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    times.sort_by(f64::total_cmp);
    (times[25], times[49])
}

/// A thousand that send a byte a second, and then a thousand that take a byte a second.
#[test]
fn a_thousand_slow_clients_do_not_slow_others_down() {
    const CLIENTS: usize = 1000;
    raise_file_limit();
    let server = impatient()
        .variable("NIXERY_LIMITS_CONNECTIONS_PER_ADDRESS", "2000")
        .variable("NIXERY_LIMITS_DOWNLOADS_PER_ADDRESS", "2000")
        .variable("NIXERY_LIMITS_IDLE_TIMEOUT", "120")
        .start();
    let (blob, _) = large(&server);
    server.manifest("one");
    let (before, alone) = (memory(&server).0, normal(&server));
    println!("alone: {before} kB, {:.1} ms, slowest {:.1} ms", alone.0, alone.1);

    let timed_out = |wait: &str| {
        metric(&server, &format!("nixery_connections_timed_out_total{{wait=\"{wait}\"}}"))
    };
    for (what, wait, head) in [
        ("sending", "head", String::new()),
        ("taking", "write", format!("GET {blob} HTTP/1.1\r\nHost: h\r\n\r\n")),
    ] {
        let start = Instant::now();
        let mut clients: Vec<TcpStream> = (0..CLIENTS)
            .map(|_| {
                let mut stream = connect(&server);
                stream.write_all(head.as_bytes()).unwrap();
                stream.set_nonblocking(true).unwrap();
                stream
            })
            .collect();
        let mut most = 0;
        let mut slowest = (0.0_f64, 0.0_f64);
        while timed_out(wait) < CLIENTS as u64 {
            assert!(start.elapsed() < Duration::from_secs(40), "{what}: {} ended", timed_out(wait));
            for stream in &mut clients {
                // Who was hung up on may notice it here.
                if head.is_empty() {
                    let _ = stream.write(b"G");
                } else {
                    let _ = stream.read(&mut [0]);
                }
            }
            let others = normal(&server);
            slowest = (slowest.0.max(others.0), slowest.1.max(others.1));
            most = most.max(memory(&server).0);
            thread::sleep(Duration::from_millis(700));
        }
        println!(
            "{CLIENTS} {what} a byte a second: all ended after {:.1} s; memory {most} kB, that is \
             {} kB each; others waited {:.1} ms, at most {:.1} ms",
            start.elapsed().as_secs_f64(),
            most.saturating_sub(before) / CLIENTS as u64,
            slowest.0,
            slowest.1
        );
        assert!(slowest.0 < 250.0, "{what}: others waited {} ms", slowest.0);
        assert!(most < before + 400 * CLIENTS as u64, "{what}: {most} kB, {before} kB before");
    }
}
