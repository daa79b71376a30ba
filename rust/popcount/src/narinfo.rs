//! What a binary cache says of one store path.

use std::str;

use thiserror::Error;

use crate::store_path::BaseName;

/// Largest one in bytes; it has room for some 15,000 references.
pub const MAX_SIZE: usize = 1 << 20;

/// A store path and the paths that it refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Narinfo {
    /// The path.
    pub path: BaseName,
    /// What it refers to, in any order; itself too, if it does.
    pub references: Vec<BaseName>,
}

/// Why something is not a narinfo.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NarinfoError {
    /// Not text.
    #[error("not UTF-8")]
    Encoding(#[from] str::Utf8Error),
    /// The end is not that of a line: it was cut.
    #[error("it is cut in line {line}")]
    Cut {
        /// Number of the line, from 1.
        line: usize,
    },
    /// A line that is no `Field: value`.
    #[error("line {line} is not of the form \"Field: value\"")]
    Line {
        /// Number of the line, from 1.
        line: usize,
    },
    /// A field that no narinfo lacks.
    #[error("it has no {field}")]
    Lacks {
        /// Name of the field.
        field: &'static str,
    },
    /// A field that may be there once only.
    #[error("{field} is there twice")]
    Twice {
        /// Name of the field.
        field: &'static str,
    },
    /// A store path that is none.
    #[error("{field} has something that is not a store path")]
    Path {
        /// Name of the field.
        field: &'static str,
    },
}

/// What Nix doesn't take a narinfo without either; the first one is also what it is about.
/// Source: Nix, `src/libstore/nar-info.cc`.
const REQUIRED: [&str; 4] = ["StorePath", "URL", "NarHash", "NarSize"];

/// Not written by every cache where there are none.
const REFERENCES: &str = "References";

impl Narinfo {
    /// Reads what a cache has sent.
    pub fn parse(content: &[u8]) -> Result<Self, NarinfoError> {
        let mut required = [None; REQUIRED.len()];
        let mut references = None;
        let mut rest = str::from_utf8(content)?;
        let mut line = 0;
        while !rest.is_empty() {
            line += 1;
            let (text, after) = rest.split_once('\n').ok_or(NarinfoError::Cut { line })?;
            rest = after;
            // Without a value the space may be missing.
            let (field, value) = text.split_once(':').ok_or(NarinfoError::Line { line })?;
            let value = value.trim_start_matches(' ');
            if let Some(index) = REQUIRED.iter().position(|name| *name == field) {
                once(&mut required[index], value, REQUIRED[index])?;
            } else if field == REFERENCES {
                once(&mut references, value, REFERENCES)?;
            }
        }
        for (value, field) in required.iter().zip(REQUIRED) {
            value.filter(|value| !value.is_empty()).ok_or(NarinfoError::Lacks { field })?;
        }
        let path = required[0].and_then(BaseName::of_path);
        let path = path.ok_or(NarinfoError::Path { field: REQUIRED[0] })?;
        let references = references.unwrap_or_default().split(' ').filter(|text| !text.is_empty());
        let references = references.map(BaseName::new).collect::<Option<_>>();
        let references = references.ok_or(NarinfoError::Path { field: REFERENCES })?;
        Ok(Self { path, references })
    }
}

fn once<'a>(
    place: &mut Option<&'a str>,
    value: &'a str,
    field: &'static str,
) -> Result<(), NarinfoError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(NarinfoError::Twice { field }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store_path::tests::base;

    const BASH: &str = "\
StorePath: /nix/store/00000000000000000000000000000000-bash-5.2
URL: nar/1.nar.xz
Compression: xz
FileHash: sha256:1
FileSize: 1
NarHash: sha256:2
NarSize: 2
References: 00000000000000000000000000000000-bash-5.2 11111111111111111111111111111111-glibc-2.40
Deriver: 22222222222222222222222222222222-bash-5.2.drv
Sig: cache.nixos.org-1:x==
Sig: other-1:y==
";

    fn error(content: &str) -> NarinfoError {
        Narinfo::parse(content.as_bytes()).unwrap_err()
    }

    #[test]
    fn reads_path_and_references() {
        let narinfo = Narinfo::parse(BASH.as_bytes()).unwrap();
        assert_eq!(narinfo.path, base('0', "bash-5.2"));
        assert_eq!(narinfo.references, [base('0', "bash-5.2"), base('1', "glibc-2.40")]);
    }

    #[test]
    fn there_may_be_no_references() {
        let before = BASH.split("References").next().unwrap();
        for end in ["", "References: \n", "References:\n"] {
            let narinfo = Narinfo::parse(format!("{before}{end}").as_bytes()).unwrap();
            assert_eq!(narinfo.references, [], "{end:?}");
        }
    }

    #[test]
    fn refuses_what_is_none() {
        assert_eq!(error(""), NarinfoError::Lacks { field: "StorePath" });
        assert_eq!(error("<html>\n"), NarinfoError::Line { line: 1 });
        assert_eq!(error("404"), NarinfoError::Cut { line: 1 });
        assert_eq!(error(&format!("{BASH}NarSize: 2\n")), NarinfoError::Twice { field: "NarSize" });
        let no_path = BASH.replace("/nix/store/", "");
        assert_eq!(error(&no_path), NarinfoError::Path { field: "StorePath" });
        let wrong = BASH.replace("-glibc", "/glibc");
        assert_eq!(error(&wrong), NarinfoError::Path { field: "References" });
        let empty = BASH.replace("nar/1.nar.xz", "");
        assert_eq!(error(&empty), NarinfoError::Lacks { field: "URL" });
        assert!(matches!(Narinfo::parse(b"\xff\n"), Err(NarinfoError::Encoding(_))));
    }

    #[test]
    fn one_that_is_cut_is_refused_or_has_all_references() {
        let whole = Narinfo::parse(BASH.as_bytes()).unwrap();
        let references = BASH.find("References").unwrap();
        for length in 0..BASH.len() {
            if let Ok(narinfo) = Narinfo::parse(&BASH.as_bytes()[..length]) {
                assert!(narinfo == whole || length == references, "{length}");
            }
        }
    }

    proptest! {
        #[test]
        fn never_panics(content: Vec<u8>) {
            let _ = Narinfo::parse(&content);
        }

        #[test]
        fn never_panics_on_what_looks_like_one(
            lines in prop::collection::vec("(StorePath|URL|NarHash|NarSize|References):? ?[ -~]{0,90}", 0..8),
        ) {
            let _ = Narinfo::parse((lines.join("\n") + "\n").as_bytes());
        }
    }

    #[test]
    fn fuzzed() {
        let words = ["References: ", "StorePath: ", "NarSize: 2\n", "\n", " "];
        crate::fuzz::parser("narinfo", [BASH]).words(words).run(
            |input| Narinfo::parse(input).map_err(|error| error.to_string()).ok(),
            |input, parsed| {
                let Some(narinfo) = parsed else { return };
                let text = str::from_utf8(input).unwrap();
                for name in narinfo.references.iter().chain([&narinfo.path]) {
                    assert!(text.contains(name.as_str()) && name.as_str().ends_with(name.name()));
                    assert!(name.name().starts_with(name.package()));
                }
            },
        );
    }
}
