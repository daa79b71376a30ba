//! The documents that the server and the builder exchange.

use std::collections::HashMap;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use crate::layers::Closure;
use crate::process::without_escapes;
use crate::source::SourceAt;
use crate::store_path::StorePath;

/// The version of the protocol that is spoken here.
pub(super) const VERSION: u32 = 1;

/// What the builder reads.
#[derive(Serialize)]
pub(super) struct Request<'a> {
    pub(super) protocol: u32,
    #[serde(flatten)]
    pub(super) wanted: Wanted<'a>,
    /// Where there is something to keep.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) roots: Option<&'a Path>,
}

/// What the builder is to put into the store, or to say.
#[derive(Clone, Copy, Serialize)]
#[serde(untagged)]
pub(super) enum Wanted<'a> {
    /// Packages of a package set.
    Packages {
        source: &'a SourceAt,
        system: &'a str,
        packages: &'a [&'a str],
        evaluation: &'a Evaluation,
    },
    /// Store paths.
    Paths { paths: &'a [StorePath] },
    /// The names of a set of a package set, which has the empty name itself.
    Names { source: &'a SourceAt, system: &'a str, names_in: &'a str, evaluation: &'a Evaluation },
    /// What names of a package set are.
    Kinds {
        source: &'a SourceAt,
        system: &'a str,
        kinds_of: &'a [&'a str],
        evaluation: &'a Evaluation,
    },
}

/// What the evaluation of a package set may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Evaluation {
    /// Whether it may only read the package source, and fetch only `allowed_uris`
    /// (nix.conf(5), `restrict-eval`).
    pub restricted: bool,
    /// Beginnings of the URLs that it may fetch, and absolute paths that it may read,
    /// besides its source.
    pub allowed_uris: Vec<String>,
    /// Whether it may have something built first and go on with what is in that.
    pub import_from_derivation: bool,
}

/// What the builder prints; what a success is depends on the request.
#[derive(Debug)]
pub(super) enum Reply<T> {
    Failure(Problem),
    Success(T),
}

/// The packages that were made.
#[derive(Debug, Deserialize)]
pub(super) struct Success {
    pub(super) packages: Vec<Package>,
    pub(super) graph: Closure,
}

/// The attribute names of a set.
#[derive(Debug, Deserialize)]
pub(super) struct Names {
    pub(super) names: Vec<String>,
}

/// What names are.
#[derive(Debug, Deserialize)]
pub(super) struct Kinds {
    pub(super) kinds: HashMap<String, Kind>,
}

/// What a name of a package set is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A package.
    Package,
    /// A set, which may have packages in it.
    Set,
    /// Neither, such as a function or a string.
    Other,
    /// The package set refuses to say: an unfree package, for example.
    #[serde(other)]
    Unknown,
}

/// What tells the two kinds of reply apart.
#[derive(Deserialize)]
struct Envelope {
    protocol: u32,
    error: Option<Problem>,
}

/// Why what the builder printed is no reply.
#[derive(Debug, Error)]
pub(super) enum ReplyError {
    #[error("it speaks version {found} of the protocol, this server version {VERSION}")]
    Version { found: u32 },
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

impl<T: DeserializeOwned> Reply<T> {
    /// Decides by the presence of an error first, so that what is wrong with the
    /// reply can be said.
    pub(super) fn parse(json: &[u8]) -> Result<Self, ReplyError> {
        match serde_json::from_slice(json)? {
            Envelope { protocol: VERSION, error: Some(problem) } => Ok(Self::Failure(problem)),
            Envelope { protocol: VERSION, error: None } => {
                Ok(Self::Success(serde_json::from_slice(json)?))
            }
            Envelope { protocol, .. } => Err(ReplyError::Version { found: protocol }),
        }
    }
}

/// A package that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Where it is in the package set, such as `python3Packages.requests`.
    pub attribute: String,
    /// What was asked for, such as `python3packages.requests`.
    pub request: String,
    /// Name with version.
    #[serde(deserialize_with = "told")]
    pub name: String,
    /// Name without version.
    #[serde(default, deserialize_with = "maybe_told")]
    pub pname: Option<String>,
    /// Version.
    #[serde(default, deserialize_with = "maybe_told")]
    pub version: Option<String>,
    /// SPDX identifiers, or names, of its licences.
    #[serde(default, deserialize_with = "all_told")]
    pub license: Vec<String>,
    /// One line.
    #[serde(default, deserialize_with = "maybe_told")]
    pub description: Option<String>,
    /// What to run, where the package says so.
    #[serde(default, deserialize_with = "maybe_told")]
    pub main_program: Option<String>,
    /// Where it is.
    pub path: StorePath,
}

/// Longest text that a package set may tell of a package, in bytes, and most licences. The
/// rest is left out: people are to read it, and it is kept with each image.
const MAX_TEXT: usize = 1024;
const MAX_LICENCES: usize = 64;

fn shortened(text: &str) -> String {
    let mut text = without_escapes(text).replace('\n', " ");
    text.truncate(text.floor_char_boundary(MAX_TEXT));
    text
}

fn told<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    String::deserialize(deserializer).map(|text| shortened(&text))
}

fn maybe_told<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::<String>::deserialize(deserializer).map(|text| text.as_deref().map(shortened))
}

fn all_told<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let mut all = Vec::<String>::deserialize(deserializer)?;
    all.truncate(MAX_LICENCES);
    Ok(all.iter().map(|text| shortened(text)).collect())
}

/// A name that the package set doesn't have.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Missing {
    /// As it was asked for.
    pub name: String,
    /// What might have been meant.
    pub near: Vec<String>,
}

/// Why a package set refuses a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalReason {
    /// Its licence is not free.
    Unfree,
    /// It is known not to build.
    Broken,
    /// It has known vulnerabilities.
    Insecure,
    /// It is not for this platform.
    Unsupported,
    /// Anything else.
    #[serde(other)]
    Other,
}

/// Why no packages were made.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Problem {
    NotFound { packages: Vec<Missing> },
    NotAPackage { name: String, reason: String },
    Refused { name: String, reason: RefusalReason, message: String },
    SourceNotFound { message: String },
    SourceUnavailable { message: String },
    BuildFailed { message: String, log: Vec<String> },
    EvaluationFailed { message: String },
    InvalidRequest { message: String },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_reply_is_said() {
        let path = "/nix/store/00000000000000000000000000000000-a";
        let missing = format!(
            r#"{{"protocol":1,"packages":[],"graph":[{{"path":"{path}","nar_size":1,"references":["{path}b"]}}]}}"#
        );
        for (reply, expected) in [
            ("", "EOF"),
            (r#"{"protocol":2}"#, "version 2"),
            (r#"{"protocol":1}"#, "missing field"),
            (r#"{"protocol":1,"error":{"kind":"strange"}}"#, "strange"),
            (
                r#"{"protocol":1,"packages":[],"graph":[{"path":"x","nar_size":1,"references":[]}]}"#,
                "x",
            ),
            (&missing, path),
        ] {
            let error = Reply::<Success>::parse(reply.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{reply}: {error}");
        }
    }

    #[test]
    fn what_is_told_of_a_package_is_short_and_plain() {
        let long = "é".repeat(100_000);
        let reply = serde_json::json!({
            "protocol": 1,
            "packages": [{
                "attribute": "a", "request": "a", "name": "a\u{202e}b\n", "version": long,
                "license": vec!["MIT"; 1000], "main_program": null,
                "path": format!("/nix/store/{}-a", "0".repeat(32)),
            }],
            "graph": [],
        });
        let Reply::Success(Success { packages, .. }) =
            Reply::parse(reply.to_string().as_bytes()).unwrap()
        else {
            panic!("{reply}")
        };
        assert_eq!(packages[0].name, "ab ");
        assert_eq!(packages[0].version.as_ref().unwrap(), &"é".repeat(512));
        assert_eq!(packages[0].license.len(), MAX_LICENCES);
    }

    /// Also of what Nix says, as such paths go back to the builder later.
    #[test]
    fn what_is_no_store_path_is_no_package_and_in_no_graph() {
        let good = format!("/nix/store/{}-a", "0".repeat(32));
        for wrong in ["--option", "--expr", "builtins.exec []", "/nix/store", &format!("{good}!b")]
        {
            for (package, node) in [(wrong, &good[..]), (&good, wrong)] {
                let reply = serde_json::json!({
                    "protocol": 1,
                    "packages": [{
                        "attribute": "a", "request": "a", "name": "a", "main_program": null,
                        "path": package,
                    }],
                    "graph": [{ "path": node, "nar_size": 1, "references": [] }],
                });
                let error = Reply::<Success>::parse(reply.to_string().as_bytes()).unwrap_err();
                assert!(error.to_string().contains("is not a store path"), "{reply}: {error}");
            }
        }
    }

    #[test]
    fn fuzzed() {
        let path = "/nix/store/00000000000000000000000000000000-a";
        let package = format!(
            r#"{{"attribute":"a","request":"a","name":"a-1","pname":"a","version":"1","license":["MIT"],"description":"é","main_program":"a","path":"{path}"}}"#
        );
        let node = format!(r#"{{"path":"{path}","nar_size":7,"references":["{path}"]}}"#);
        let seeds = [
            format!(r#"{{"protocol":1,"packages":[{package}],"graph":[{node},{node}]}}"#),
            r#"{"protocol":1,"error":{"kind":"not_found","packages":[{"name":"gti","near":["git"]}]}}"#
                .to_owned(),
            r#"{"protocol":1,"error":{"kind":"refused","name":"a","reason":"unfree","message":"m"}}"#
                .to_owned(),
            r#"{"protocol":1,"error":{"kind":"build_failed","message":"m","log":["1","2"]}}"#.to_owned(),
            r#"{"protocol":2,"more":[[[]]]}"#.to_owned(),
        ];
        let words = [&package[..], &node, path, r#""error":"#, r#""graph":"#, r#""kind":"#];
        crate::fuzz::parser("the builder's reply", seeds).words(words).factor(64).run(
            |input| Reply::parse(input).map_err(|error| error.to_string()).ok(),
            |_, parsed| {
                let Some(Reply::Success(Success { packages, graph })) = parsed else { return };
                let again = Closure::new(graph.nodes().to_vec());
                assert_eq!(again.as_ref(), Ok(&graph));
                let text = serde_json::to_vec(&packages).unwrap();
                assert_eq!(serde_json::from_slice::<Vec<Package>>(&text).unwrap(), packages);
                for package in &packages {
                    assert!(graph.of(&package.path).len() <= graph.len());
                }
            },
        );
    }
}
