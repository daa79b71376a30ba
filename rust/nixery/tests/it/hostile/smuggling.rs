//! Requests that a proxy in front may see as another number of requests than the server.

use super::exchange;
use crate::harness::{Setup, fixtures, request};

/// Each is one request in front of what would be a second one for a parser that is misled.
/// The answer is one response, or two where both are plainly there, by any reading.
#[test]
fn one_request_is_never_answered_twice() {
    let server = Setup::new(fixtures()).start();
    server.manifest("one");
    let next = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
    let chunked = format!("0\r\n\r\n{next}");
    let long = format!("{:x}\r\n{next}\r\n0\r\n\r\n", next.len());
    for (shape, head, body, statuses) in [
        ("nothing special", "", next, &[200, 404][..]),
        ("a length", "Content-Length: 5\r\n", &format!("12345{next}"), &[200]),
        ("a length that is not there", "Content-Length: 0\r\n", next, &[200, 404]),
        (
            "length and chunks",
            "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
            &chunked,
            &[200],
        ),
        ("chunks and length", "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", &long, &[200]),
        ("two lengths", "Content-Length: 5\r\nContent-Length: 6\r\n", next, &[400]),
        ("a list of lengths", "Content-Length: 5, 6\r\n", next, &[400]),
        ("a length with a sign", "Content-Length: +5\r\n", next, &[400]),
        ("a negative length", "Content-Length: -1\r\n", next, &[400]),
        ("an enormous length", "Content-Length: 99999999999999999999\r\n", next, &[400]),
        ("a hexadecimal length", "Content-Length: 0x5\r\n", next, &[400]),
        ("an unknown coding", "Transfer-Encoding: xchunked\r\n", &chunked, &[400]),
        ("another coding last", "Transfer-Encoding: chunked, identity\r\n", &chunked, &[400]),
        ("a folded coding", "Transfer-Encoding:\r\n chunked\r\n", &chunked, &[400]),
        ("a blank before the colon", "Transfer-Encoding : chunked\r\n", &chunked, &[400]),
        ("a blank before the name", " Transfer-Encoding: chunked\r\n", &chunked, &[400]),
        ("a vertical tab", "Transfer-Encoding: \x0bchunked\r\n", &chunked, &[400]),
        ("a bare return", "X: a\rTransfer-Encoding: chunked\r\n", &chunked, &[400]),
        ("a zero byte", "X: a\0b\r\n", &chunked, &[400]),
        ("no name", ": x\r\n", next, &[400]),
        (
            "an extension of a chunk",
            "Transfer-Encoding: chunked\r\n",
            &format!("0;a=\n\r\n\r\n{next}"),
            &[200],
        ),
        (
            "a chunk that ends early",
            "Transfer-Encoding: chunked\r\n",
            &format!("1\r\nab\r\n0\r\n\r\n{next}"),
            &[200],
        ),
        (
            "a chunk without end",
            "Transfer-Encoding: chunked\r\n",
            &format!("ffffffffffffffff\r\n{next}"),
            &[200],
        ),
        (
            "a trailer",
            "Transfer-Encoding: chunked\r\n",
            &format!("0\r\nX: y\r\n\r\n{next}"),
            &[200],
        ),
        (
            "chunks for 100-continue",
            "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n",
            &chunked,
            &[200],
        ),
    ] {
        for method in ["GET", "HEAD", "POST"] {
            let path = if method == "POST" { "/api/v1/builds/one/latest" } else { "/v2/" };
            let sent = format!("{method} {path} HTTP/1.1\r\nHost: h\r\n{head}\r\n{body}");
            let answer = exchange(&server, sent.as_bytes());
            let found: Vec<u16> = answer
                .split("HTTP/1.1 ")
                .skip(1)
                .map(|response| response[..3].parse().unwrap())
                .collect();
            assert_eq!(found, statuses, "{shape}, {method}: {answer}");
        }
    }
    assert_eq!(server.get("/v2/").status, 200);
}

#[test]
fn bare_line_feeds_and_versions_do_not_make_more_requests() {
    let server = Setup::new(fixtures()).start();
    for (sent, most) in [
        ("GET /v2/ HTTP/1.1\nHost: h\n\n", 1),
        ("GET /v2/ HTTP/1.1\r\nHost: h\nContent-Length: 5\r\n\r\n12345GET /x HTTP/1.1\r\n\r\n", 1),
        (
            "GET /v2/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\n\r\n",
            1,
        ),
        ("GET /v2/ HTTP/1.0\r\n\r\nGET /x HTTP/1.0\r\n\r\n", 1),
        ("GET /v2/\r\n\r\n", 1),
        ("GET /v2/ HTTP/2.0\r\n\r\n", 1),
        ("GET  /v2/ HTTP/1.1\r\n\r\n", 1),
        ("GET /v2/ x HTTP/1.1\r\nHost: h\r\n\r\n", 1),
        ("GET\t/v2/ HTTP/1.1\r\nHost: h\r\n\r\n", 1),
        ("\r\n\r\n\r\nGET /v2/ HTTP/1.1\r\nHost: h\r\n\r\n", 1),
        ("CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\nGET /x HTTP/1.1\r\nHost: h\r\n\r\n", 1),
    ] {
        let answer = exchange(&server, sent.as_bytes());
        let responses = answer.matches("HTTP/1.").count();
        assert!(responses <= most, "{sent:?}: {answer}");
    }
    assert_eq!(server.get("/v2/").status, 200);
}

/// RFC 9112, 3.2.2.
#[test]
fn a_whole_url_is_asked_for_by_its_path_and_names_the_host() {
    let server = Setup::new(fixtures()).start();
    let found = request(&server.address, "GET", "http://nixery.example.org:81/v2/", &[]);
    assert_eq!(found.status, 200);
    let page = request(&server.address, "GET", "http://nixery.example.org:81/", &[]);
    assert!(page.text().contains("docker run --rm -ti nixery.example.org:81/"), "{}", page.text());
}
