//! Floods of HTTP/2, and streams that nobody takes.

use std::fs;
use std::io::Write;
use std::time::{Duration, Instant};

use super::speaker::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RESET, SETTINGS,
    Speaker, WINDOW, frame, head,
};
use super::{memory, metric};
use crate::harness::{Server, Setup, fixtures, get, wait_until};

/// Whether others are served promptly, and memory has not grown by more than 30 MB.
fn unharmed(server: &Server, before: u64, what: &str) {
    let start = Instant::now();
    assert_eq!(get(&server.address, "/v2/one/manifests/latest").status, 200);
    let (took, most) = (start.elapsed(), memory(server).1);
    println!("{what}: others wait {took:?}; memory from {before} to {most} kB at most");
    assert!(took < Duration::from_secs(1), "{what}: {took:?}");
    assert!(most < before + 30_000, "{what}: from {before} to {most} kB");
}

fn started() -> (Server, u64) {
    let server = Setup::new(fixtures()).start();
    server.manifest("one");
    let before = memory(&server).0;
    (server, before)
}

#[test]
fn requests_are_answered() {
    let (server, _) = started();
    let mut speaker = Speaker::new(&server, &[]);
    speaker.get(1, "/").unwrap();
    let page = speaker.wait(DATA).unwrap();
    assert!(String::from_utf8_lossy(&page.payload).contains("docker run --rm -ti h/shell"));
}

/// CVE-2023-44487.
#[test]
fn a_flood_of_requests_that_are_taken_back() {
    let (server, before) = started();
    let mut speaker = Speaker::new(&server, &[]);
    let mut flood = Vec::new();
    for number in 0..20_000 {
        let stream = 2 * number + 1;
        flood.extend(frame(
            HEADERS,
            END_STREAM | END_HEADERS,
            stream,
            &head("/v2/one/manifests/latest"),
        ));
        flood.extend(frame(RESET, 0, stream, &[0, 0, 0, 8]));
    }
    let sent = speaker.0.write_all(&flood);
    let goaway = speaker.wait(GOAWAY);
    // Hung up on, with the reason where that still came through.
    assert!(sent.is_err() || goaway.is_some());
    if let Some(goaway) = goaway {
        assert_eq!(goaway.payload[7], 11, "ENHANCE_YOUR_CALM");
    }
    unharmed(&server, before, "20,000 requests taken back");
}

/// CERT VU#421644.
#[test]
fn a_flood_of_continuations() {
    let (server, before) = started();
    let mut speaker = Speaker::new(&server, &[]);
    speaker.send(HEADERS, END_STREAM, 1, &head("/v2/")).unwrap();
    // Names and values of ten bytes, none of them known.
    let field = [&[0x00, 10][..], b"x123456789", &[10], b"y123456789"].concat();
    let block = field.repeat(700);
    let sent = (0..5000).take_while(|_| speaker.send(CONTINUATION, 0, 1, &block).is_ok()).count();
    println!("it was hung up after {sent} continuations at the latest");
    let goaway = speaker.wait(GOAWAY);
    assert!(sent < 5000 || goaway.is_some(), "80 MB were taken");
    wait_until("its end", || metric(&server, "nixery_connections ") == 1);
    unharmed(&server, before, "continuations without end");
}

#[test]
fn floods_of_settings_and_pings_that_nobody_reads_the_answers_of() {
    let (server, before) = started();
    for (what, one) in [
        ("settings", frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0])),
        ("pings", frame(PING, 0, 0, &[0; 8])),
    ] {
        let mut speaker = Speaker::new(&server, &[]);
        speaker.0.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
        let many = one.repeat(10_000);
        let sent = (0..300).take_while(|_| speaker.0.write_all(&many).is_ok()).count() * 10_000;
        println!("{sent} {what} were taken");
        unharmed(&server, before, what);
    }
}

#[test]
fn no_more_than_so_many_streams_are_open() {
    let server = Setup::new(fixtures()).variable("NIXERY_LIMITS_STREAMS", "5").start();
    let mut speaker = Speaker::new(&server, &[]);
    let settings = speaker.wait(SETTINGS).unwrap();
    assert_eq!(settings.flags & ACK, 0);
    let streams = settings.payload.chunks(6).find(|setting| setting[..2] == [0, 3]).unwrap();
    assert_eq!(streams[2..], [0, 0, 0, 5]);
    for number in 0..8 {
        speaker.get(2 * number + 1, "/v2/hanging-6/manifests/latest").unwrap();
    }
    let refused: Vec<u32> = (0..3).map(|_| speaker.wait(RESET).unwrap().stream).collect();
    assert_eq!(refused, [11, 13, 15]);
}

/// The path of the largest layer of the image `large`.
fn large_blob(server: &Server) -> String {
    let manifest = server.manifest("large").json();
    let layers = manifest["layers"].as_array().unwrap();
    let layer = layers.iter().max_by_key(|layer| layer["size"].as_u64()).unwrap();
    format!("/v2/large/blobs/{}", layer["digest"].as_str().unwrap())
}

/// Files and sockets that the server has open, where this may be seen of it (`proc_pid_fd(5)`).
fn open_files(server: &Server) -> Option<usize> {
    fs::read_dir(format!("/proc/{}/fd", server.process_id())).ok().map(Iterator::count)
}

/// Streams of one byte at a time once took all memory and file descriptors, with the defaults.
#[test]
fn streams_that_nobody_takes_are_bounded_for_each_client() {
    const CONNECTIONS: usize = 60;
    let server = Setup::new(fixtures()).start();
    let blob = large_blob(&server);
    let config = server.manifest("large").json()["config"]["digest"].as_str().unwrap().to_owned();
    let config = format!("/v2/large/blobs/{config}");
    let (before, files) = (memory(&server).0, open_files(&server));
    let flood = |path: &str| -> Vec<Speaker> {
        let speakers = (0..CONNECTIONS).map(|_| {
            let mut speaker = Speaker::new(&server, &[(4, 1)]);
            for number in 0..16 {
                speaker.get(2 * number + 1, path).unwrap();
            }
            speaker
        });
        speakers.collect()
    };
    let refused = || metric(&server, "nixery_requests_refused_total{limit=\"downloads\"}");
    // What is too small to be more than one piece waits as well.
    for path in [&blob, &config] {
        let (earlier, speakers) = (refused(), flood(path));
        let expected = earlier + 16 * CONNECTIONS as u64 - 512;
        wait_until("all answers", || refused() >= expected);
        assert_eq!(refused(), expected);
        let again = server.get(path);
        assert_eq!((again.status, again.error().0.as_str()), (429, "TOOMANYREQUESTS"));
        assert_eq!(again.header("retry-after"), "10");
        assert_eq!(server.get("/healthz").status, 200);
        let (most, opened) = (memory(&server).1, open_files(&server));
        println!("memory from {before} to {most} kB at most, files from {files:?} to {opened:?}");
        // 256 KiB for each of 512: hyper reads a piece ahead of the one that h2 has.
        assert!(most < before + 160_000, "from {before} to {most} kB");
        if let (Some(files), Some(opened)) = (files, opened) {
            assert!(opened < files + 512 + CONNECTIONS + 20, "from {files} to {opened}");
        }
        drop(speakers);
        wait_until("their end", || server.get(path).status == 200);
    }
}

/// A client can keep a stream's bytes back while it answers pings and goes on with others.
#[test]
fn a_stream_that_nobody_takes_is_ended_and_the_others_are_not() {
    let server = Setup::new(fixtures()).variable("NIXERY_LIMITS_WRITE_TIMEOUT", "6").start();
    let blob = large_blob(&server);
    // Windows of ten bytes.
    let mut speaker = Speaker::new(&server, &[(4, 10)]);
    speaker.get(1, &blob).unwrap();
    assert_eq!(speaker.wait(DATA).unwrap().payload.len(), 10);
    let start = Instant::now();
    let reset = speaker.wait(RESET).unwrap();
    let waited = start.elapsed().as_secs_f64();
    assert_eq!(reset.stream, 1);
    assert!((4.0..12.0).contains(&waited), "{waited} s");
    assert_eq!(metric(&server, "nixery_connections_timed_out_total{wait=\"write\"}"), 1);
    // The connection goes on.
    speaker.get(3, "/healthz").unwrap();
    assert_eq!(speaker.wait(DATA).unwrap().payload, b"ok\n");
    speaker.send(WINDOW, 0, 0, &[0, 0, 0, 1]).unwrap();
}
