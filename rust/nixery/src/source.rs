//! Where packages come from, and what the tag of an image chooses there.

use std::path::{Component, Path, PathBuf};
use std::str::FromStr;
use std::sync::LazyLock;

use regex::Regex;
use serde::Serialize;
use thiserror::Error;

use crate::store_path::StorePath;

/// Longest image tag (OCI distribution specification, "Pulling manifests").
const MAX_TAG_LENGTH: usize = 128;

/// The tag that stands for what the source itself says is current.
pub const LATEST: &str = "latest";

/// The package set that the server was set up with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// nixpkgs, at a branch such as `nixos-unstable` or at a full commit.
    Channel(String),
    /// A git repository whose root is a package set.
    Repository(String),
    /// A directory, or a Nix file, that is a package set.
    Path(PathBuf),
}

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

/// A tag that this source has nothing for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("there is no tag {tag:?} here: {possible}")]
pub struct UnknownTag {
    tag: String,
    possible: &'static str,
}

/// A package set at one tag: what the builder is asked to use.
///
/// Serialised, it is the `source` of the builder protocol.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum SourceAt {
    /// nixpkgs at a branch or full commit.
    Channel {
        /// The branch or the commit.
        channel: String,
    },
    /// A git repository.
    Git {
        /// What `git clone` would be given.
        url: String,
        /// A branch or a tag of it; the default branch without.
        reference: Option<String>,
        /// A full commit.
        revision: Option<String>,
    },
    /// A directory or a file.
    Path {
        /// Absolute.
        path: PathBuf,
    },
}

impl Source {
    /// What `tag` chooses: the default branch for `latest`, otherwise a commit
    /// (40 hexadecimal digits) or a branch or tag of a repository.
    pub fn at(&self, tag: &Tag) -> Result<SourceAt, UnknownTag> {
        let latest = tag.0 == LATEST;
        let unknown = |possible| UnknownTag { tag: tag.0.clone(), possible };
        match self {
            Self::Channel(channel) if latest => Ok(SourceAt::Channel { channel: channel.clone() }),
            Self::Path(path) if latest => Ok(SourceAt::Path { path: path.clone() }),
            Self::Channel(_) | Self::Path(_) => {
                Err(unknown("this server's package source has only \"latest\""))
            }
            Self::Repository(url) => {
                let (reference, revision) = if latest {
                    (None, None)
                } else if is_commit(&tag.0) {
                    (None, Some(tag.0.clone()))
                } else if is_reference(&tag.0) {
                    (Some(tag.0.clone()), None)
                } else {
                    return Err(unknown(
                        "expected \"latest\", or a branch, tag or full commit of this server's \
                         package repository",
                    ));
                };
                Ok(SourceAt::Git { url: url.clone(), reference, revision })
            }
        }
    }

    /// A description for people, without what may be secret in a URL.
    pub fn describe(&self) -> String {
        match self {
            Self::Channel(channel) => format!("nixpkgs {channel}"),
            Self::Repository(url) => format!("git repository {}", without_credentials(url)),
            Self::Path(path) => format!("path {}", path.display()),
        }
    }
}

impl SourceAt {
    /// Whether what it names can never change, so that whatever was made from
    /// it may be kept for ever: a full commit, or a path in the Nix store.
    pub fn is_pinned(&self) -> bool {
        match self {
            Self::Channel { channel } => is_commit(channel),
            Self::Git { revision, .. } => revision.is_some(),
            Self::Path { path } => is_in_store(path),
        }
    }

    /// The address without anything secret, for the labels of images. A path is
    /// none: it means nothing elsewhere, and would make the same packages another
    /// image on another machine.
    pub fn address(&self) -> Option<String> {
        match self {
            Self::Channel { .. } => Some("https://github.com/NixOS/nixpkgs".to_owned()),
            Self::Git { url, .. } => Some(without_credentials(url)),
            Self::Path { .. } => None,
        }
    }
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
fn is_reference(tag: &str) -> bool {
    let lock = tag.len() >= 5 && tag.as_bytes()[tag.len() - 5..].eq_ignore_ascii_case(b".lock");
    !tag.contains("..") && !tag.ends_with('.') && !lock
}

/// Whether a path is a store object, or leads into one.
fn is_in_store(path: &Path) -> bool {
    let plain =
        path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    let object: PathBuf = path.components().take(4).collect();
    plain
        && object.starts_with("/nix/store")
        && object.to_str().is_some_and(|path| StorePath::new(path).is_ok())
}

/// `text` without the user names and passwords of the URLs in it, such as what
/// Git and Nix say: they name the URLs that they were given in full.
pub(crate) fn without_credentials(text: &str) -> String {
    #[expect(clippy::unwrap_used, reason = "the expression is constant, and tested")]
    static CREDENTIALS: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r#"([A-Za-z][A-Za-z0-9+.-]*://)[^/ \t\r\n'"]*@"#).unwrap());
    CREDENTIALS.replace_all(text, "$1").into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "21a67dc470149f337cecafbe965d8d252a390518";

    fn tag(text: &str) -> Tag {
        text.parse().unwrap()
    }

    #[test]
    fn a_repository_has_branches_tags_and_commits() {
        let source = Source::Repository("https://example.org/pkgs".to_owned());
        let at = |text| match source.at(&tag(text)) {
            Ok(SourceAt::Git { reference, revision, .. }) => Some((reference, revision)),
            _ => None,
        };
        assert_eq!(at("latest"), Some((None, None)));
        assert_eq!(at("v1.0"), Some((Some("v1.0".to_owned()), None)));
        assert_eq!(at(COMMIT), Some((None, Some(COMMIT.to_owned()))));
        assert_eq!(at(&COMMIT[1..]), Some((Some(COMMIT[1..].to_owned()), None)));
        for never_a_reference in ["a..b", "a.", "a.lock"] {
            assert_eq!(at(never_a_reference), None, "{never_a_reference}");
        }
    }

    #[test]
    fn channels_and_paths_have_only_latest() {
        for source in [Source::Channel("nixos-unstable".to_owned()), Source::Path("/p".into())] {
            assert!(source.at(&tag("latest")).is_ok());
            assert!(source.at(&tag("other")).unwrap_err().to_string().contains("latest"));
        }
    }

    #[test]
    fn only_what_cannot_change_is_pinned() {
        let channel = |name: &str| SourceAt::Channel { channel: name.to_owned() };
        let path = |name: &str| SourceAt::Path { path: name.into() };
        assert!(channel(COMMIT).is_pinned());
        assert!(!channel("nixos-unstable").is_pinned());
        assert!(path("/nix/store/00000000000000000000000000000000-pkgs").is_pinned());
        for moving in [
            "/nix/storehouse",
            "/nix/store",
            "/nix/store/pkgs",
            "/nix/store/../../home/pkgs",
            "/nix/store/00000000000000000000000000000000-pkgs/../../../home",
        ] {
            assert!(!path(moving).is_pinned(), "{moving}");
        }
        assert!(path("/nix/store/00000000000000000000000000000000-pkgs/sub/set.nix").is_pinned());
    }

    #[test]
    fn refuses_malformed_tags() {
        let long = "a".repeat(129);
        for wrong in ["", ".a", "-a", "a/b", "a b", "a@{1}", "é", "a:b", &long] {
            assert!(wrong.parse::<Tag>().is_err(), "{wrong:?} was accepted");
        }
        assert!("a".repeat(128).parse::<Tag>().is_ok());
    }

    #[test]
    fn credentials_are_not_shown() {
        for (text, shown) in [
            ("https://user:secret@example.org/a@b", "https://example.org/a@b"),
            ("https://example.org/a@b", "https://example.org/a@b"),
            ("git@example.org:pkgs.git", "git@example.org:pkgs.git"),
            ("/srv/pkgs", "/srv/pkgs"),
            ("in https://me:secret@host/a@b: no", "in https://host/a@b: no"),
            ("'git+ssh://git@host/x' 'http://u:p@h'", "'git+ssh://host/x' 'http://h'"),
            ("https://a:p@ss@h/x", "https://h/x"),
            ("https://host/a and b@c", "https://host/a and b@c"),
        ] {
            assert_eq!(without_credentials(text), shown);
        }
    }
}
