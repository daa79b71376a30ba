//! Where packages come from, and what the tag of an image chooses there.

mod rules;
mod snapshot;
mod tag;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde::Serialize;

pub use rules::{InvalidPattern, NamePattern, RELEASED_CHANNELS, TagRules, UnknownTag};
pub use snapshot::{Fingerprint, Snapshot};
pub use tag::{InvalidTag, LATEST, Tag, is_commit};

use crate::store_path::StorePath;

/// Where nixpkgs is developed.
const NIXPKGS: &str = "https://github.com/NixOS/nixpkgs";

/// The package set that the server was set up with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// nixpkgs.
    Channel {
        /// A branch such as `nixos-unstable`, or a full commit.
        channel: String,
        /// Where it is fetched from.
        nixpkgs: Nixpkgs,
    },
    /// A git repository whose root is a package set.
    Repository(String),
    /// A directory, or a Nix file, that is a package set.
    Path(PathBuf),
}

/// Where nixpkgs is fetched from, if not from GitHub.
///
/// Serialised, it is a part of the builder protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Nixpkgs {
    /// The git repository that knows which commit a channel is at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The tarball of a commit is `ARCHIVE/COMMIT.tar.gz`.
    #[serde(rename = "base_url", skip_serializing_if = "Option::is_none")]
    pub archive: Option<String>,
}

impl Nixpkgs {
    /// The git repository.
    pub fn repository(&self) -> &str {
        self.repository.as_deref().unwrap_or(NIXPKGS)
    }
}

/// A package set at one tag. What it is may change, unless it names a commit.
///
/// Serialised, it is the `source` of the builder protocol.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum SourceAt {
    /// nixpkgs at a branch or full commit.
    Channel {
        /// The branch or the commit.
        channel: String,
        /// Where it is fetched from.
        #[serde(flatten)]
        nixpkgs: Nixpkgs,
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
    /// Whether tags other than `latest` may choose something.
    pub fn has_tags(&self) -> bool {
        match self {
            Self::Channel { .. } | Self::Repository(_) => true,
            Self::Path(_) => false,
        }
    }

    /// A description for clients.
    pub fn told(&self) -> String {
        match self {
            Self::Channel { .. } | Self::Repository(_) => self.describe(),
            Self::Path(path) => directory_told(path),
        }
    }

    /// A description for the log, without what may be secret in a URL.
    pub fn describe(&self) -> String {
        match self {
            Self::Channel { channel, .. } => format!("nixpkgs {channel}"),
            Self::Repository(url) => format!("git repository {}", without_credentials(url)),
            Self::Path(path) => format!("path {}", path.display()),
        }
    }
}

/// Where directories are is nobody's business elsewhere.
fn directory_told(path: &Path) -> String {
    // What a store path begins with tells people nothing.
    if let Ok(path) = StorePath::new(path.to_string_lossy()) {
        return format!("{} on this server", path.name());
    }
    match path.file_name() {
        Some(name) => format!("{} on this server", name.display()),
        None => "a directory of this server".to_owned(),
    }
}

impl SourceAt {
    /// A description for clients, without anything secret.
    pub fn told(&self) -> String {
        match self {
            Self::Channel { .. } | Self::Git { .. } => self.shown(),
            Self::Path { path } => directory_told(path),
        }
    }

    /// A description for the log, without anything secret.
    pub fn shown(&self) -> String {
        match self {
            Self::Channel { channel, nixpkgs } => {
                format!("{channel} of {}", without_credentials(nixpkgs.repository()))
            }
            Self::Git { url, reference, revision } => {
                let name = revision.as_deref().or(reference.as_deref());
                format!("{} of {}", name.unwrap_or("the default branch"), without_credentials(url))
            }
            Self::Path { path } => path.display().to_string(),
        }
    }

    /// The address without anything secret, for the labels of images. A path is
    /// none: it means nothing elsewhere, and would make the same packages another
    /// image on another machine.
    pub fn address(&self) -> Option<String> {
        match self {
            Self::Channel { nixpkgs, .. } => Some(without_credentials(nixpkgs.repository())),
            Self::Git { url, .. } => Some(without_credentials(url)),
            Self::Path { .. } => None,
        }
    }
}

/// What may be said of a query of a URL: it is the version that is fetched, as Nix writes
/// it, and no secret.
const HARMLESS: [&str; 7] = ["allRefs", "dir", "narHash", "ref", "rev", "shallow", "submodules"];

/// `text` without the user names and passwords of the URLs in it, nor what their queries
/// say, such as `?private_token=…`. Git and Nix name the URLs that they were given in full.
pub(crate) fn without_credentials(text: &str) -> String {
    #[expect(clippy::unwrap_used, reason = "the expression is constant, and tested")]
    static CREDENTIALS: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r#"([A-Za-z][A-Za-z0-9+.-]*://)[^/ \t\r\n'"]*@"#).unwrap());
    #[expect(clippy::unwrap_used, reason = "the expression is constant, and tested")]
    static QUERY: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r##"([A-Za-z][A-Za-z0-9+.-]*://[^ \t\r\n'"?]*\?)([^ \t\r\n'"#]*)"##).unwrap()
    });
    let text = CREDENTIALS.replace_all(text, "$1");
    QUERY
        .replace_all(&text, |found: &Captures<'_>| found[1].to_owned() + &shown_query(&found[2]))
        .into_owned()
}

fn shown_query(query: &str) -> String {
    let shown = |part: &str| match part.split_once('=') {
        Some((name, _)) if HARMLESS.contains(&name) => part.to_owned(),
        Some((name, _)) => format!("{name}=…"),
        None => "…".to_owned(),
    };
    query.split('&').map(shown).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_builder_is_told_only_of_mirrors() {
        let at = |nixpkgs| {
            let source = SourceAt::Channel { channel: "c".to_owned(), nixpkgs };
            serde_json::to_string(&source).unwrap()
        };
        assert_eq!(at(Nixpkgs::default()), r#"{"type":"channel","channel":"c"}"#);
        let archive = Some("https://mirror/archive".to_owned());
        assert_eq!(
            at(Nixpkgs { repository: Some("https://mirror".to_owned()), archive }),
            r#"{"type":"channel","channel":"c","repository":"https://mirror","base_url":"https://mirror/archive"}"#
        );
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
            ("https://host/a.git?private_token=s3", "https://host/a.git?private_token=…"),
            ("'https://u:p@h/a?token=s&x=y#f': no", "'https://h/a?token=…&x=…#f': no"),
            ("https://h/a?s3cret: 404", "https://h/a?… 404"),
            ("git+https://h/a?ref=main&rev=1f", "git+https://h/a?ref=main&rev=1f"),
            ("\"https://h/a?sig=a/b?c=d\" why? a=b", "\"https://h/a?sig=…\" why? a=b"),
        ] {
            assert_eq!(without_credentials(text), shown);
        }
    }
}
