//! The registry protocol, as one table: what is asked, and what is answered.
//!
//! Sources: what docker, containerd, containers/image and go-containerregistry rely on
//! beyond the OCI distribution specification, which `conformance.rs` is about.

use crate::harness::{Response, Server, Setup, fixtures, request};

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// A request and its answer. In all texts `{manifest}` stands for the digest of
/// the OCI manifest, `{layer}` for that of a layer and `{size}` for its length.
struct Case {
    method: &'static str,
    path: &'static str,
    headers: &'static [(&'static str, &'static str)],
    status: u16,
    /// Headers that the answer has; with an empty value, that it hasn't.
    answers: &'static [(&'static str, &'static str)],
    /// What the body contains.
    body: &'static str,
}

const fn case(method: &'static str, path: &'static str, status: u16) -> Case {
    Case { method, path, headers: &[], status, answers: &[], body: "" }
}

type Headers = &'static [(&'static str, &'static str)];

impl Case {
    const fn with(mut self, headers: Headers) -> Self {
        self.headers = headers;
        self
    }

    const fn answers(mut self, answers: Headers) -> Self {
        self.answers = answers;
        self
    }

    const fn body(mut self, body: &'static str) -> Self {
        self.body = body;
        self
    }
}

const TABLE: &[Case] = &[
    // Is this a registry?
    case("GET", "/v2/", 200).answers(&[("content-type", "application/json")]).body("{}"),
    case("HEAD", "/v2/", 200),
    case("GET", "/v2", 200),
    case("GET", "/v2/?ns=docker.io", 200),
    // Manifests by tag.
    case("GET", "/v2/one/manifests/latest", 200)
        .answers(&[
            ("content-type", OCI),
            ("docker-content-digest", "{manifest}"),
            ("etag", "\"{manifest}\""),
            ("vary", "accept"),
        ])
        .body(OCI),
    case("HEAD", "/v2/one/manifests/latest", 200)
        .answers(&[("content-type", OCI), ("docker-content-digest", "{manifest}")]),
    case("GET", "/v2/one/manifests/latest", 200)
        .with(&[("Accept", DOCKER)])
        .answers(&[("content-type", DOCKER)])
        .body(DOCKER),
    case("GET", "/v2/one/manifests/latest", 200)
        .with(&[("Accept", "application/vnd.oci.image.index.v1+json, */*")])
        .answers(&[("content-type", OCI)]),
    case("GET", "/v2/one/manifests/latest?ns=docker.io", 200)
        .answers(&[("docker-content-digest", "{manifest}")]),
    case("GET", "/v2/%6f%6Ee/manifests/latest", 200)
        .answers(&[("docker-content-digest", "{manifest}")]),
    case("GET", "/v2/one%2Fone/manifests/latest", 200)
        .answers(&[("docker-content-digest", "{manifest}")]),
    case("GET", "/v2/one/manifests/latest", 304)
        .with(&[("If-None-Match", "\"{manifest}\"")])
        .answers(&[("docker-content-digest", "{manifest}")]),
    // Manifests by digest: there at once when the tag was answered.
    case("GET", "/v2/one/manifests/{manifest}", 200)
        .answers(&[("content-type", OCI), ("docker-content-digest", "{manifest}")])
        .body(OCI),
    case("HEAD", "/v2/one/manifests/{manifest}", 200).answers(&[("content-type", OCI)]),
    case("GET", "/v2/another/name/manifests/{manifest}", 200),
    // A digest-only fetcher tries blobs first.
    case("GET", "/v2/one/blobs/{manifest}", 200)
        .answers(&[("docker-content-digest", "{manifest}")])
        .body(OCI),
    case(
        "GET",
        "/v2/one/manifests/sha256:0000000000000000000000000000000000000000000000000000000000000000",
        404,
    )
    .answers(&[("content-type", "application/json")])
    .body("MANIFEST_UNKNOWN"),
    // Blobs.
    case("GET", "/v2/one/blobs/{layer}", 200).answers(&[
        ("content-length", "{size}"),
        ("content-type", "application/octet-stream"),
        ("docker-content-digest", "{layer}"),
        ("etag", "\"{layer}\""),
        ("accept-ranges", "bytes"),
    ]),
    case("HEAD", "/v2/one/blobs/{layer}", 200)
        .answers(&[("content-length", "{size}"), ("docker-content-digest", "{layer}")]),
    case("GET", "/v2/one/blobs/{layer}?ns=docker.io", 200),
    case("GET", "/v2/one/blobs/{layer}", 206)
        .with(&[("Range", "bytes=10-19")])
        .answers(&[("content-length", "10"), ("content-range", "bytes 10-19/{size}")]),
    case("GET", "/v2/one/blobs/{layer}", 206)
        .with(&[("Range", "bytes=-10")])
        .answers(&[("content-length", "10")]),
    case("HEAD", "/v2/one/blobs/{layer}", 200)
        .with(&[("Range", "bytes=0-0")])
        .answers(&[("content-length", "{size}")]),
    case("GET", "/v2/one/blobs/{layer}", 206)
        .with(&[("Range", "bytes=0-0"), ("If-Range", "\"{layer}\"")])
        .answers(&[("content-length", "1")]),
    case("GET", "/v2/one/blobs/{layer}", 200)
        .with(&[("Range", "bytes=0-0"), ("If-Range", "\"other\"")])
        .answers(&[("content-length", "{size}")]),
    case("GET", "/v2/one/blobs/{layer}", 416)
        .with(&[("Range", "bytes={size}-")])
        .answers(&[("content-range", "bytes */{size}")])
        .body("SIZE_INVALID"),
    case("GET", "/v2/one/blobs/{layer}", 304).with(&[("If-None-Match", "\"{layer}\"")]),
    case("HEAD", "/v2/one/blobs/{layer}", 304)
        .with(&[("If-None-Match", "\"{layer}\"")])
        .answers(&[("content-length", "{size}")]),
    case(
        "GET",
        "/v2/one/blobs/sha256:0000000000000000000000000000000000000000000000000000000000000000",
        404,
    )
    .answers(&[("content-type", "application/json")])
    .body("BLOB_UNKNOWN"),
    case("GET", "/v2/one/blobs/sha512:00", 400).body("DIGEST_INVALID"),
    case("GET", "/v2/one/blobs/..%2f..%2f..%2fetc%2fpasswd", 404),
    // What is malformed.
    case("GET", "/v2/ONE/manifests/latest", 400)
        .answers(&[("content-type", "application/json")])
        .body("NAME_INVALID"),
    case("GET", "/v2/one//two/manifests/latest", 400).body("NAME_INVALID"),
    case("GET", "/v2/../manifests/latest", 400).body("NAME_INVALID"),
    case("GET", "/v2/arm64/amd64/one/manifests/latest", 400).body("NAME_INVALID"),
    case("GET", "/v2/one/manifests/-x", 400).body("TAG_INVALID"),
    case("GET", "/v2/%ff/manifests/latest", 400).body("NAME_INVALID"),
    case("GET", "/v2/one/manifests/other", 404).body("MANIFEST_UNKNOWN"),
    case("GET", "/v2/_catalog", 404).body("UNSUPPORTED"),
    case("GET", "/v2/one/unknown/thing", 404).body("UNSUPPORTED"),
    // Pushing.
    case("POST", "/v2/one/blobs/uploads/", 405)
        .answers(&[("allow", "GET, HEAD")])
        .body("UNSUPPORTED"),
    // For people, and for load balancers.
    case("GET", "/", 200)
        .answers(&[("content-type", "text/html; charset=utf-8")])
        .body("docker run"),
    case("GET", "/builds", 200).answers(&[("cache-control", "no-store")]).body("<h1>Builds</h1>"),
    case("GET", "/builds/nothing/latest", 200).body("has not been made"),
    case("GET", "/builds/Nothing/latest", 400).body("lower"),
    // From the page of an error, too, one gets on.
    case("GET", "/builds/Nothing/latest", 400).body("<a href=\"/builds\">Builds</a>"),
    case("GET", "/api/v1/builds", 200).body("\"builds\":["),
    case("GET", "/api/v1/builds/nothing/latest", 404).body("BUILD_UNKNOWN"),
    case("GET", "/api/v1/images/nothing/latest", 404).body("MANIFEST_UNKNOWN"),
    case("GET", "/api/v1/openapi.json", 200)
        .answers(&[("content-type", "application/json")])
        .body("\"openapi\": \"3.1"),
    // What can't be read is an error as JSON, or a page, like all others: it was text.
    case("GET", "/api/v1/builds/one/latest?from=x", 400)
        .answers(&[("content-type", "application/json")])
        .body("NAME_INVALID"),
    case("GET", "/api/v1/images/%ff/latest", 400)
        .answers(&[("content-type", "application/json")])
        .body("NAME_INVALID"),
    case("GET", "/builds/%ff/latest", 400)
        .answers(&[("content-type", "text/html; charset=utf-8")])
        .body("UTF-8"),
    case("DELETE", "/api/v1/builds/nothing/latest", 405),
    case("GET", "/assets/nixery.css", 200).answers(&[("content-type", "text/css; charset=utf-8")]),
    case("GET", "/assets/..%2fmod.rs", 404),
    case("GET", "/healthz", 200),
    case("GET", "/readyz", 200),
    // Whoever wants a page gets one.
    case("GET", "/nothing", 404)
        .answers(&[("content-type", "text/plain; charset=utf-8")])
        .body("There is nothing here."),
    case("GET", "/nothing", 404)
        .with(&[("accept", "text/html,application/xhtml+xml,*/*;q=0.8")])
        .answers(&[("content-type", "text/html; charset=utf-8"), ("cache-control", "no-store")])
        .body("<h1>Not Found</h1>"),
];

fn check(server: &Server, case: &Case, fill: &dyn Fn(&str) -> String) -> Response {
    let headers: Vec<(&str, String)> =
        case.headers.iter().map(|(name, value)| (*name, fill(value))).collect();
    let headers: Vec<(&str, &str)> =
        headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let response = request(&server.address, case.method, &fill(case.path), &headers);
    let what = format!("{} {} {:?}", case.method, case.path, case.headers);
    let text = String::from_utf8_lossy(&response.body);
    assert_eq!(response.status, case.status, "{what}: {text}");
    for (name, value) in case.answers {
        assert_eq!(response.header(name), fill(value), "{what}: {name}");
    }
    assert!(text.contains(&fill(case.body)), "{what}: {text}");
    if case.path.starts_with("/v2") {
        assert_eq!(response.header("docker-distribution-api-version"), "registry/2.0", "{what}");
    }
    if case.method == "HEAD" {
        assert!(response.body.is_empty(), "{what}");
        assert!(!response.header("content-length").is_empty(), "{what}");
    }
    response
}

#[test]
fn requests_are_answered_as_clients_expect() {
    let server = Setup::new(fixtures()).start();
    let manifest = server.manifest("one");
    let layer = manifest.json()["layers"][0].clone();
    let fill = |text: &str| {
        text.replace("{manifest}", manifest.header("docker-content-digest"))
            .replace("{layer}", layer["digest"].as_str().unwrap())
            .replace("{size}", &layer["size"].to_string())
    };
    for case in TABLE {
        check(&server, case, &fill);
    }
    assert_eq!(server.get("/").text().matches(&server.address).count(), 2, "its own address");
}
