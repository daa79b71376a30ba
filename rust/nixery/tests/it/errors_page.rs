//! The reference of error codes knows every error that clients can be answered.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use regex::Regex;

use crate::harness::repository;

const PAGE: &str = "book/src/reference/errors.md";
const CODE: &str = "rust/nixery/src/http/error.rs";

/// What the page says of each error: words of its row. An error without its own row is
/// in the one for all that only operators can act on.
const WORDS: &[(&str, &str)] = &[
    ("Self::Name", "The name of the image is malformed"),
    ("Self::MalformedPath", "percent-encoded"),
    ("Self::Query", "the query can't be read"),
    ("Self::Prefix", "no beginning of a package's name"),
    ("Self::Tag", "The tag is malformed"),
    ("Self::NoTag", "has no tag at its end"),
    ("Self::Digest", "The digest is malformed"),
    ("Self::UnknownTag", "The tag is not allowed"),
    ("Self::TagOrPackage", "The tag is not allowed"),
    ("Self::ManifestUnknown", "No manifest of that digest"),
    ("Self::NotMade", "the image was not made yet"),
    ("Self::BlobUnknown", "No blob of that digest"),
    ("Self::NoSuchEndpoint", "no such endpoint"),
    ("Self::NoSuchPath", "nothing at this path"),
    ("Self::BuildsNotShown", "Lists of builds are not shown"),
    ("Self::ReadOnly", "neither GET nor HEAD"),
    ("Self::OtherMethod", "by another method"),
    ("Self::RangeNotSatisfiable", "begins behind the blob's end"),
    ("Self::Unauthorized", "One has to"),
    ("Self::Denied", "This is not for the one who asks"),
    ("Self::TooManyLogins", "Too many passwords"),
    ("Self::ForeignPage", "a page of another site"),
    ("Self::UrlTooLong", "The URL is longer"),
    ("Self::HeadersTooLarge", "The headers are larger"),
    ("Self::BodyTooLarge", "The body is larger"),
    ("Self::TooManyRequests", "too many requests from one address"),
    ("Self::TooManyWatchers", "Too many clients watch"),
    ("Self::TooManyWatchersOfClient", "clients at one address watch"),
    ("Self::TooManyDownloads", "Too many blobs are being sent."),
    ("Self::TooManyDownloadsOfClient", "blobs are being sent to one address"),
    ("Self::NoBuild", "no build of this image is remembered"),
    ("AssembleError::Busy", "are being made or wait"),
    ("AssembleError::BusyForClient", "that one address has asked for"),
    ("AssembleError::TooLarge", "more packages, store paths or bytes"),
    ("AssembleError::DiskShort", "too little room"),
    ("AssembleError::Storage", "The bucket cannot be reached"),
    ("AssembleError::Pack", INTERNAL),
    ("AssembleError::Group", INTERNAL),
    ("AssembleError::LayerGone", INTERNAL),
    ("AssembleError::Crashed", INTERNAL),
    ("NixError::PackagesNotFound", "There are no such packages"),
    ("NixError::SourceNotFound", "no package set there"),
    ("NixError::NotAPackage", "not a package"),
    ("NixError::Refused", "refuses a package"),
    ("NixError::BuildFailed", "failed to build"),
    ("NixError::EvaluationFailed", "cannot be evaluated"),
    ("NixError::TimedOut", "took longer than"),
    ("NixError::SourceUnavailable", "package source cannot be reached"),
    ("NixError::ShuttingDown", "shutting down"),
    ("NixError::BuilderBroken", INTERNAL),
    ("NixError::Process", INTERNAL),
    ("NixError::Roots", INTERNAL),
];
/// The same of errors of pinning, most of which are the same to clients.
const WORDS_OF_PINNING: &[(&str, &str)] = &[
    ("PinError::NotFound", "There is no such channel, branch, tag or commit"),
    ("PinError::Unavailable", "package source cannot be reached"),
    ("PinError::ShuttingDown", "shutting down"),
    ("PinError::Busy", "Too many branches and tags"),
    ("PinError::Git", INTERNAL),
    ("PinError::Crashed", INTERNAL),
];
const INTERNAL: &str = "Anything else";

/// Status and code of each error, as `http/error.rs` has them: by the arms of its
/// `classify` functions, which the compiler wants to be complete.
fn answers() -> BTreeMap<String, BTreeSet<(String, String)>> {
    let text = fs::read_to_string(repository().join(CODE)).unwrap();
    let text = text.split("pub(super) fn classify").nth(1).unwrap();
    let text = text.split("\nfn message").next().unwrap();
    let arm = Regex::new(
        r#"(?s)((?:\w+Error|Self)::\w+[^;=]*?)(?: if [^=]*)?=>\s*\{?\s*(?:\(StatusCode::(\w+), "(\w+)"\)|(INTERNAL))"#,
    )
    .unwrap();
    let name = Regex::new(r"(?:\w+Error|Self)::[A-Z]\w*").unwrap();
    let mut answers: BTreeMap<String, BTreeSet<_>> = BTreeMap::new();
    for found in arm.captures_iter(text) {
        let answer = if found.get(4).is_some() {
            ("500".to_owned(), "UNKNOWN".to_owned())
        } else {
            (number_of(&found[2]).to_owned(), found[3].to_owned())
        };
        for error in name.find_iter(&found[1]) {
            answers.entry(error.as_str().to_owned()).or_default().insert(answer.clone());
        }
    }
    answers
}

fn number_of(status: &str) -> &'static str {
    match status {
        "BAD_REQUEST" => "400",
        "UNAUTHORIZED" => "401",
        "FORBIDDEN" => "403",
        "NOT_FOUND" => "404",
        "METHOD_NOT_ALLOWED" => "405",
        "PAYLOAD_TOO_LARGE" => "413",
        "URI_TOO_LONG" => "414",
        "RANGE_NOT_SATISFIABLE" => "416",
        "REQUEST_HEADER_FIELDS_TOO_LARGE" => "431",
        "TOO_MANY_REQUESTS" => "429",
        "INTERNAL_SERVER_ERROR" => "500",
        "SERVICE_UNAVAILABLE" => "503",
        other => panic!("{CODE} has a status that this test doesn't know: {other}"),
    }
}

/// Rows of the page: status, code, when.
fn rows() -> Vec<(String, String, String)> {
    let row = Regex::new(r"(?m)^\| (\d{3}) \| `([A-Z_]+)` \| (.+?) \| (.+) \|$").unwrap();
    let text = fs::read_to_string(repository().join(PAGE)).unwrap();
    row.captures_iter(&text)
        .map(|row| (row[1].to_owned(), row[2].to_owned(), row[3].to_owned()))
        .collect()
}

#[test]
fn every_error_has_its_row_and_no_row_is_of_none() {
    let words: BTreeMap<&str, &str> = WORDS.iter().chain(WORDS_OF_PINNING).copied().collect();
    let (answers, rows) = (answers(), rows());
    let unknown: Vec<_> =
        answers.keys().filter(|error| !words.contains_key(error.as_str())).collect();
    assert!(unknown.is_empty(), "give them rows in {PAGE}, and their words here: {unknown:?}");
    let gone: Vec<_> = words.keys().filter(|&&error| !answers.contains_key(error)).collect();
    assert!(gone.is_empty(), "{CODE} has no such errors: {gone:?}");

    let mut used = BTreeSet::new();
    for (error, answers) in &answers {
        for (status, code) in answers {
            // One that lies in the server is with all others of that kind.
            let words = if status == "500" { INTERNAL } else { words[error.as_str()] };
            let found = rows
                .iter()
                .position(|row| row.0 == *status && row.1 == *code && row.2.contains(words));
            let found = found.unwrap_or_else(|| {
                panic!("{PAGE} has no row for {error}: {status}, {code}, … {words} …")
            });
            used.insert(found);
        }
    }
    let unused: Vec<_> =
        (0..rows.len()).filter(|row| !used.contains(row)).map(|row| &rows[row]).collect();
    assert!(unused.is_empty(), "nothing is answered like this: {unused:?}");
}
