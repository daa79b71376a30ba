//! Conformance to the pulling half of the OCI distribution specification 1.1, and to its
//! discovery of content: one table, each row with the section that asks for it.
//!
//! Nothing can be pushed here, so the specification's own suite, which pushes what it
//! pulls, can't be run. `protocol.rs` has what clients rely on beyond the specification.

use crate::harness::{Response, Server, Setup, digest_of, fixtures, request};

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// What the codes of errors may be: those of the specification ("Error Codes"), and the
/// one of "Legacy Docker support error codes" that is in use here.
const CODES: [&str; 15] = [
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "SIZE_INVALID",
    "UNAUTHORIZED",
    "DENIED",
    "UNSUPPORTED",
    "TOOMANYREQUESTS",
    "TAG_INVALID",
];

/// A request and what the specification says of its answer. In paths and headers
/// `{manifest}`, `{config}` and `{layer}` stand for the digests of an image's own,
/// `{missing}` for one that nothing has, `{sha512}` for one of another algorithm, and
/// `{size}` for the layer's length.
struct Row {
    /// Anchor in the specification.
    section: &'static str,
    method: &'static str,
    path: &'static str,
    headers: &'static [(&'static str, &'static str)],
    status: u16,
    holds: Holds,
}

/// What else holds of an answer.
enum Holds {
    /// The body is the content that this stands for.
    Content(&'static str),
    /// The body is a manifest of this type, whose digest is that in the header.
    Manifest(&'static str),
    /// It is an error of this code.
    Code(&'static str),
    /// These are the tags; there is no other page.
    Tags(&'static [&'static str]),
    /// The body is an index without manifests; whether a filter was applied.
    NoReferrers { filtered: bool },
    /// From one byte of the layer to another, exclusive.
    Part(usize, usize),
    /// Nothing more.
    Nothing,
}

use Holds::{Code, Content, Manifest, NoReferrers, Nothing, Part, Tags};

const fn row(
    section: &'static str,
    method: &'static str,
    path: &'static str,
    status: u16,
    holds: Holds,
) -> Row {
    Row { section, method, path, headers: &[], status, holds }
}

impl Row {
    const fn with(mut self, headers: &'static [(&'static str, &'static str)]) -> Self {
        self.headers = headers;
        self
    }
}

const BASE: &str = "determining-support";
const MANIFESTS: &str = "pulling-manifests";
const BLOBS: &str = "pulling-blobs";
const EXISTS: &str = "checking-if-content-exists-in-the-registry";
const TAGS: &str = "listing-tags";
const REFERRERS: &str = "listing-referrers";
const PUSH: &str = "push";
const MANAGE: &str = "content-management";

const TABLE: &[Row] = &[
    row(BASE, "GET", "/v2/", 200, Nothing),
    // end-3.
    row(MANIFESTS, "GET", "/v2/one/manifests/latest", 200, Manifest(OCI)),
    row(MANIFESTS, "GET", "/v2/one/manifests/{manifest}", 200, Content("{manifest}")),
    row(MANIFESTS, "GET", "/v2/one/manifests/latest", 200, Manifest(OCI)).with(&[("Accept", OCI)]),
    row(MANIFESTS, "GET", "/v2/one/manifests/latest", 200, Manifest(DOCKER))
        .with(&[("Accept", DOCKER)]),
    row(MANIFESTS, "GET", "/v2/one/manifests/latest", 200, Manifest(OCI))
        .with(&[("Accept", "application/vnd.oci.image.manifest.v1+json;q=0.9, */*;q=0.1")]),
    row(MANIFESTS, "GET", "/v2/one/manifests/{missing}", 404, Code("MANIFEST_UNKNOWN")),
    row(MANIFESTS, "GET", "/v2/one/manifests/{sha512}", 404, Code("MANIFEST_UNKNOWN")),
    row(MANIFESTS, "GET", "/v2/one/manifests/{layer}", 404, Code("MANIFEST_UNKNOWN")),
    row(MANIFESTS, "GET", "/v2/one/manifests/nosuchtag", 404, Code("MANIFEST_UNKNOWN")),
    row(MANIFESTS, "GET", "/v2/nosuchpackage/manifests/latest", 404, Code("MANIFEST_UNKNOWN")),
    row(MANIFESTS, "GET", "/v2/One/manifests/latest", 400, Code("NAME_INVALID")),
    row(MANIFESTS, "GET", "/v2/one//two/manifests/latest", 400, Code("NAME_INVALID")),
    row(MANIFESTS, "GET", "/v2/one___two/manifests/latest", 400, Code("NAME_INVALID")),
    row(MANIFESTS, "GET", "/v2/-one/manifests/latest", 400, Code("NAME_INVALID")),
    row(MANIFESTS, "GET", "/v2/one/manifests/.latest", 400, Code("TAG_INVALID")),
    row(MANIFESTS, "GET", "/v2/one/manifests/{tag129}", 400, Code("TAG_INVALID")),
    row(MANIFESTS, "GET", "/v2/one/manifests/{tag128}", 404, Code("MANIFEST_UNKNOWN")),
    row(MANIFESTS, "GET", "/v2/one/manifests/sha256:12", 400, Code("DIGEST_INVALID")),
    // end-2.
    row(BLOBS, "GET", "/v2/one/blobs/{layer}", 200, Content("{layer}")),
    row(BLOBS, "GET", "/v2/one/blobs/{config}", 200, Content("{config}")),
    row(BLOBS, "GET", "/v2/one/blobs/{missing}", 404, Code("BLOB_UNKNOWN")),
    row(BLOBS, "GET", "/v2/one/blobs/{sha512}", 404, Code("BLOB_UNKNOWN")),
    row(BLOBS, "GET", "/v2/one/blobs/sha256:zz", 400, Code("DIGEST_INVALID")),
    row(BLOBS, "GET", "/v2/one/blobs/latest", 400, Code("DIGEST_INVALID")),
    row(BLOBS, "GET", "/v2/One/blobs/{layer}", 400, Code("NAME_INVALID")),
    row(BLOBS, "GET", "/v2/one/blobs/{layer}", 206, Part(0, 1)).with(&[("Range", "bytes=0-0")]),
    row(BLOBS, "GET", "/v2/one/blobs/{layer}", 206, Part(10, 20)).with(&[("Range", "bytes=10-19")]),
    row(BLOBS, "GET", "/v2/one/blobs/{layer}", 206, Part(10, usize::MAX))
        .with(&[("Range", "bytes=10-")]),
    row(BLOBS, "GET", "/v2/one/blobs/{layer}", 206, Part(10, usize::MAX))
        .with(&[("Range", "bytes=10-99999999999999999999")]),
    row(BLOBS, "GET", "/v2/one/blobs/{layer}", 416, Code("SIZE_INVALID"))
        .with(&[("Range", "bytes={size}-")]),
    row(BLOBS, "GET", "/v2/one/blobs/{layer}", 200, Content("{layer}"))
        .with(&[("Range", "lines=1-2")]),
    // HEAD: every row above is asked for by HEAD too; this is what must be there.
    row(EXISTS, "HEAD", "/v2/one/manifests/latest", 200, Nothing),
    row(EXISTS, "HEAD", "/v2/one/manifests/{manifest}", 200, Nothing),
    row(EXISTS, "HEAD", "/v2/one/blobs/{layer}", 200, Nothing),
    row(EXISTS, "HEAD", "/v2/one/manifests/{missing}", 404, Nothing),
    row(EXISTS, "HEAD", "/v2/one/blobs/{missing}", 404, Nothing),
    // end-8.
    row(TAGS, "GET", "/v2/one/tags/list", 200, Tags(&["latest"])),
    row(TAGS, "GET", "/v2/one/tags/list?n=0", 200, Tags(&[])),
    row(TAGS, "GET", "/v2/one/tags/list?n=1", 200, Tags(&["latest"])),
    row(TAGS, "GET", "/v2/one/tags/list?n=100", 200, Tags(&["latest"])),
    row(TAGS, "GET", "/v2/one/tags/list?last=latest", 200, Tags(&[])),
    row(TAGS, "GET", "/v2/one/tags/list?n=10&last=alpha", 200, Tags(&["latest"])),
    row(TAGS, "GET", "/v2/One/tags/list", 400, Code("NAME_INVALID")),
    // end-12.
    row(REFERRERS, "GET", "/v2/one/referrers/{manifest}", 200, NoReferrers { filtered: false }),
    row(REFERRERS, "GET", "/v2/one/referrers/{missing}", 200, NoReferrers { filtered: false }),
    row(REFERRERS, "GET", "/v2/one/referrers/{sha512}", 200, NoReferrers { filtered: false }),
    row(
        REFERRERS,
        "GET",
        "/v2/one/referrers/{manifest}?artifactType=application%2Fvnd.example.sbom.v1",
        200,
        NoReferrers { filtered: true },
    ),
    row(REFERRERS, "GET", "/v2/one/referrers/sha256:12", 400, Code("DIGEST_INVALID")),
    row(REFERRERS, "GET", "/v2/one/referrers/latest", 400, Code("DIGEST_INVALID")),
    // Proxying: `ns` may be ignored.
    row("registry-proxying", "GET", "/v2/one/manifests/latest?ns=docker.io", 200, Manifest(OCI)),
    row("registry-proxying", "GET", "/v2/one/blobs/{layer}?ns=docker.io", 200, Content("{layer}")),
    // Pushing and deleting are not offered: end-4 to end-7, end-9 to end-11, end-13, end-14.
    row(PUSH, "POST", "/v2/one/blobs/uploads/", 405, Code("UNSUPPORTED")),
    row(PUSH, "POST", "/v2/one/blobs/uploads/?digest={layer}", 405, Code("UNSUPPORTED")),
    row(PUSH, "POST", "/v2/one/blobs/uploads/?mount={layer}&from=two", 405, Code("UNSUPPORTED")),
    row(PUSH, "PATCH", "/v2/one/blobs/uploads/1", 405, Code("UNSUPPORTED")),
    row(PUSH, "PUT", "/v2/one/blobs/uploads/1?digest={layer}", 405, Code("UNSUPPORTED")),
    row(PUSH, "PUT", "/v2/one/manifests/latest", 405, Code("UNSUPPORTED")),
    row(PUSH, "DELETE", "/v2/one/blobs/uploads/1", 405, Code("UNSUPPORTED")),
    row(MANAGE, "DELETE", "/v2/one/manifests/latest", 405, Code("UNSUPPORTED")),
    row(MANAGE, "DELETE", "/v2/one/manifests/{manifest}", 405, Code("UNSUPPORTED")),
    row(MANAGE, "DELETE", "/v2/one/blobs/{layer}", 405, Code("UNSUPPORTED")),
];

/// The image that the table is about, pulled beforehand.
struct Image<'a> {
    server: &'a Server,
    manifest: Response,
    layer: Vec<u8>,
}

impl Image<'_> {
    /// A text with what its words stand for.
    fn fill(&self, text: &str) -> String {
        let manifest = self.manifest.json();
        text.replace("{manifest}", self.manifest.header("docker-content-digest"))
            .replace("{config}", manifest["config"]["digest"].as_str().unwrap())
            .replace("{layer}", manifest["layers"][0]["digest"].as_str().unwrap())
            .replace("{size}", &self.layer.len().to_string())
            .replace("{missing}", &format!("sha256:{}", "0".repeat(64)))
            .replace("{sha512}", &format!("sha512:{}", "0".repeat(128)))
            .replace("{tag128}", &"a".repeat(128))
            .replace("{tag129}", &"a".repeat(129))
    }

    fn ask(&self, row: &Row, method: &str) -> Response {
        let headers: Vec<_> =
            row.headers.iter().map(|(name, value)| (*name, self.fill(value))).collect();
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, &value[..])).collect();
        request(&self.server.address, method, &self.fill(row.path), &headers)
    }
}

/// What holds of the answer to `row`.
fn check(image: &Image<'_>, row: &Row, what: &str) {
    let response = image.ask(row, row.method);
    assert_eq!(response.status, row.status, "{what}: {response:?}");
    let length = response.header("content-length");
    match row.holds {
        Content(digest) => {
            let digest = image.fill(digest);
            assert_eq!(digest_of(&response.body), digest, "{what}");
            assert_eq!(response.header("docker-content-digest"), digest, "{what}");
            assert_eq!(length, response.body.len().to_string(), "{what}");
        }
        Manifest(media_type) => {
            assert_eq!(response.header("content-type"), media_type, "{what}: no parameters");
            assert_eq!(response.json()["mediaType"], media_type, "{what}");
            let digest = response.header("docker-content-digest");
            assert_eq!(digest, digest_of(&response.body), "{what}");
        }
        Code(expected) => {
            assert_eq!(response.header("content-type"), "application/json", "{what}");
            let (code, message) = response.error();
            assert_eq!(code, expected, "{what}: {message}");
            assert!(CODES.contains(&&code[..]), "{what}: {code} is in no list");
            assert!(!message.is_empty(), "{what}");
        }
        Tags(tags) => {
            assert_eq!(
                response.json(),
                serde_json::json!({ "name": "one", "tags": tags }),
                "{what}"
            );
            assert_eq!(response.header("link"), "", "{what}: there is no other page");
        }
        NoReferrers { filtered } => {
            assert_eq!(response.header("content-type"), INDEX, "{what}");
            let expected =
                serde_json::json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] });
            assert_eq!(response.json(), expected, "{what}");
            let applied = if filtered { "artifactType" } else { "" };
            assert_eq!(response.header("oci-filters-applied"), applied, "{what}");
        }
        Part(start, end) => {
            let end = end.min(image.layer.len());
            assert_eq!(response.body, &image.layer[start..end], "{what}");
            let range = format!("bytes {start}-{}/{}", end - 1, image.layer.len());
            assert_eq!(response.header("content-range"), range, "{what}");
        }
        Nothing => {}
    }
    if row.section == EXISTS && row.status == 200 {
        assert!(response.header("docker-content-digest").starts_with("sha256:"), "{what}");
        assert!(length.parse::<u64>().unwrap() > 0, "{what}");
    }
}

/// A HEAD is answered like a GET, without the body (RFC 9110, 9.3.2): ranges, which are of
/// GET only (14.2), aside.
fn check_head(image: &Image<'_>, row: &Row, what: &str) {
    let ranged = row.headers.iter().any(|(name, _)| *name == "Range");
    if row.method != "GET" || ranged {
        return;
    }
    let (get, head) = (image.ask(row, "GET"), image.ask(row, "HEAD"));
    assert_eq!(head.status, get.status, "HEAD, {what}");
    assert!(head.body.is_empty(), "HEAD, {what}");
    let (mut of_get, mut of_head) = (get.headers, head.headers);
    for headers in [&mut of_get, &mut of_head] {
        headers.remove("date");
    }
    assert_eq!(of_head, of_get, "HEAD, {what}");
}

#[test]
fn the_specification_is_kept() {
    let server = Setup::new(fixtures()).start();
    let manifest = server.manifest("one");
    let digest = manifest.json()["layers"][0]["digest"].as_str().unwrap().to_owned();
    let layer = server.get(&format!("/v2/one/blobs/{digest}")).body;
    let image = Image { server: &server, manifest, layer };
    for row in TABLE {
        let what = format!("#{}: {} {} {:?}", row.section, row.method, row.path, row.headers);
        check(&image, row, &what);
        check_head(&image, row, &what);
    }
}
