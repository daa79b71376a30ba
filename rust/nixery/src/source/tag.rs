//! Image tags, as clients may write them.

use std::str::FromStr;
use std::sync::LazyLock;

use regex::Regex;
use thiserror::Error;

/// Longest image tag (OCI distribution specification, "Pulling manifests").
const MAX_TAG_LENGTH: usize = 128;

/// The tag that stands for what the source itself says is current.
pub const LATEST: &str = "latest";

/// The tag of an image, as clients may write it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tag(String);

/// A string that can't be a tag.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{tag:?} can't be a tag: expected up to {MAX_TAG_LENGTH} letters, digits, '_', '.' and '-', \
     the first of them not '.' or '-'"
)]
pub struct InvalidTag {
    tag: String,
}

impl Tag {
    /// The tag, as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = InvalidTag;

    fn from_str(tag: &str) -> Result<Self, Self::Err> {
        let is_word = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
        let ok = tag.len() <= MAX_TAG_LENGTH
            && tag.bytes().next().is_some_and(is_word)
            && tag.bytes().all(|c| is_word(c) || c == b'.' || c == b'-');
        if ok {
            Ok(Self(tag.to_owned()))
        } else {
            Err(InvalidTag { tag: tag.chars().take(MAX_TAG_LENGTH).collect() })
        }
    }
}

/// Whether `text` is a full commit hash. Abbreviated ones are taken for the
/// names of branches, because their meaning changes as a repository grows.
pub fn is_commit(text: &str) -> bool {
    #[expect(clippy::unwrap_used, reason = "the expression is constant, and tested")]
    static COMMIT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\A[0-9a-f]{40}\z").unwrap());
    COMMIT.is_match(text)
}

/// Whether a valid tag can also be the name of a git branch or tag
/// (`git check-ref-format`: what is left to check after the tag's grammar).
pub(super) fn is_reference(tag: &str) -> bool {
    let lock = tag.len() >= 5 && tag.as_bytes()[tag.len() - 5..].eq_ignore_ascii_case(b".lock");
    !tag.contains("..") && !tag.ends_with('.') && !lock
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_malformed_tags() {
        let long = "a".repeat(129);
        for wrong in ["", ".a", "-a", "a/b", "a b", "a@{1}", "é", "a:b", &long] {
            assert!(wrong.parse::<Tag>().is_err(), "{wrong:?} was accepted");
        }
        assert!("a".repeat(128).parse::<Tag>().is_ok());
    }

    #[test]
    fn knows_what_git_allows() {
        assert!(is_reference("v1.0") && is_reference("lock"));
        for wrong in ["a..b", "a.", "a.lock", "a.LOCK"] {
            assert!(!is_reference(wrong), "{wrong}");
        }
    }

    #[test]
    fn fuzzed() {
        let grammar = Regex::new(r"\A[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}\z").unwrap();
        let commit = "4fe8d07066f6ea82cda2b0c9ae7aee59b2d241b3";
        crate::fuzz::parser("tags", ["latest", "26.05", "nixos-unstable", commit, "v1.0_a-b"]).run(
            |input| std::str::from_utf8(input).ok()?.parse::<Tag>().map_err(|e| e.to_string()).ok(),
            |input, parsed| {
                let text = std::str::from_utf8(input).unwrap_or("\0");
                assert_eq!(parsed.is_some(), grammar.is_match(text));
                assert!(parsed.is_none_or(|tag| tag.as_str() == text));
                let hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
                assert_eq!(is_commit(text), text.len() == 40 && text.bytes().all(hex));
            },
        );
    }
}
