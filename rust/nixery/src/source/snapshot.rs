//! A package set at one moment.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use super::{SourceAt, is_commit};
use crate::store_path::StorePath;

/// What a package source was at a moment: what the builder is asked to use, and what
/// tells it from everything else that the source ever was or will be.
///
/// Two are equal if they are the same content, whichever tag led there.
#[derive(Clone)]
pub struct Snapshot(Arc<Content>);

struct Content {
    source: SourceAt,
    identity: String,
    revision: Option<String>,
    is_fixed: bool,
    /// Of a directory: when something in it was last changed.
    changed: Option<String>,
}

/// What tells one content of a directory from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// A hash of everything in it.
    pub content: String,
    /// When something in it was last changed, by the file system's clock. No part of
    /// what it is; but where it has not moved, nothing was changed and changed back.
    pub changed: String,
}

impl Snapshot {
    /// Of a source that names a commit, or a path in the Nix store, and so never
    /// changes; `None` for all others.
    pub fn of_fixed(source: &SourceAt) -> Option<Self> {
        match source {
            SourceAt::Channel { channel: commit, .. } if is_commit(commit) => {
                Some(Self::of_commit(source, commit, None))
            }
            SourceAt::Git { reference, revision: Some(commit), .. } => {
                Some(Self::of_commit(source, commit, reference.as_deref()))
            }
            SourceAt::Path { path } if is_in_store(path) => {
                let path = path.to_str()?;
                let identity = json!({ "type": "path", "path": path }).to_string();
                Some(Self::new(source.clone(), identity, None, true))
            }
            SourceAt::Channel { .. } | SourceAt::Git { .. } | SourceAt::Path { .. } => None,
        }
    }

    /// Of a channel or repository that was at `commit`. `reference`, in full such as
    /// `refs/heads/main`, says where the commit was found. A directory is as it is.
    pub fn of_commit(source: &SourceAt, commit: &str, reference: Option<&str>) -> Self {
        let revision = Some(commit.to_owned());
        match source {
            SourceAt::Channel { nixpkgs, .. } => {
                let identity = json!({
                    "type": "channel",
                    "commit": commit,
                    "repository": nixpkgs.repository,
                    "archive": nixpkgs.archive,
                });
                let (channel, nixpkgs) = (commit.to_owned(), nixpkgs.clone());
                let source = SourceAt::Channel { channel, nixpkgs };
                Self::new(source, identity.to_string(), revision, true)
            }
            SourceAt::Git { url, .. } => {
                let identity = json!({ "type": "git", "url": url, "commit": commit });
                let source = SourceAt::Git {
                    url: url.clone(),
                    reference: reference.map(str::to_owned),
                    revision: revision.clone(),
                };
                Self::new(source, identity.to_string(), revision, true)
            }
            SourceAt::Path { .. } => Self::unknown(source),
        }
    }

    /// Of a directory or file, and the commit that its content is, where it is one.
    pub fn of_directory(path: &Path, found: Fingerprint, revision: Option<String>) -> Self {
        let Fingerprint { content, changed } = found;
        let identity = json!({
            "type": "path",
            "path": path.to_string_lossy(),
            "content": content,
            // Stands in the images too.
            "commit": revision,
        });
        Self(Arc::new(Content {
            source: SourceAt::Path { path: path.to_owned() },
            identity: identity.to_string(),
            revision,
            is_fixed: true,
            changed: Some(changed),
        }))
    }

    /// Of a source about which nothing is known but its name: what is made from it is
    /// not found again.
    pub fn unknown(source: &SourceAt) -> Self {
        let identity = json!({ "type": "unknown", "source": format!("{source:?}") });
        Self::new(source.clone(), identity.to_string(), None, false)
    }

    fn new(source: SourceAt, identity: String, revision: Option<String>, is_fixed: bool) -> Self {
        Self(Arc::new(Content { source, identity, revision, is_fixed, changed: None }))
    }

    /// What the builder is asked to use.
    pub fn source(&self) -> &SourceAt {
        &self.0.source
    }

    /// A text that no other content has.
    pub fn identity(&self) -> &str {
        &self.0.identity
    }

    /// The commit, where it is one.
    pub fn revision(&self) -> Option<&str> {
        self.0.revision.as_deref()
    }

    /// Whether a directory has not been touched between this and `later`.
    pub fn is_untouched(&self, later: &Self) -> bool {
        self == later && self.0.changed == later.0.changed
    }

    /// Whether the identity stands for one content for ever, so that what was made
    /// from it can be found again.
    pub fn is_fixed(&self) -> bool {
        self.0.is_fixed
    }
}

impl PartialEq for Snapshot {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.identity == other.0.identity
    }
}

impl Eq for Snapshot {}

impl Hash for Snapshot {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.identity.hash(state);
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Snapshot").field(&self.0.identity).finish()
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Nixpkgs;

    const COMMIT: &str = "21a67dc470149f337cecafbe965d8d252a390518";

    fn git(reference: Option<&str>, revision: Option<&str>) -> SourceAt {
        SourceAt::Git {
            url: "https://example.org/pkgs".to_owned(),
            reference: reference.map(str::to_owned),
            revision: revision.map(str::to_owned),
        }
    }

    #[test]
    fn only_what_cannot_change_is_fixed() {
        let channel = |name: &str| SourceAt::Channel {
            channel: name.to_owned(),
            nixpkgs: Nixpkgs::default(),
        };
        let path = |name: &str| SourceAt::Path { path: name.into() };
        let is_fixed = |source: &SourceAt| Snapshot::of_fixed(source).is_some();
        assert!(is_fixed(&channel(COMMIT)));
        assert!(is_fixed(&git(None, Some(COMMIT))));
        assert!(!is_fixed(&channel("nixos-unstable")));
        assert!(!is_fixed(&git(Some("main"), None)));
        assert!(is_fixed(&path("/nix/store/00000000000000000000000000000000-pkgs")));
        for moving in [
            "/nix/storehouse",
            "/nix/store",
            "/nix/store/pkgs",
            "/nix/store/../../home/pkgs",
            "/nix/store/00000000000000000000000000000000-pkgs/../../../home",
        ] {
            assert!(!is_fixed(&path(moving)), "{moving}");
        }
        assert!(is_fixed(&path("/nix/store/00000000000000000000000000000000-pkgs/sub/set.nix")));
    }

    #[test]
    fn the_way_to_a_commit_makes_no_difference() {
        let by_branch =
            Snapshot::of_commit(&git(Some("main"), None), COMMIT, Some("refs/heads/main"));
        let by_commit = Snapshot::of_fixed(&git(None, Some(COMMIT))).unwrap();
        assert_eq!(by_branch, by_commit);
        assert_eq!(by_branch.revision(), Some(COMMIT));
        assert_ne!(by_branch.source(), by_commit.source(), "the builder is told where to look");
    }

    #[test]
    fn different_contents_are_different() {
        let channel = |repository: Option<&str>| SourceAt::Channel {
            channel: "nixos-unstable".to_owned(),
            nixpkgs: Nixpkgs { repository: repository.map(str::to_owned), archive: None },
        };
        let at = Path::new("/pkgs");
        let path = SourceAt::Path { path: at.into() };
        let all = [
            Snapshot::of_commit(&channel(None), COMMIT, None),
            Snapshot::of_commit(&channel(Some("https://example.org/nixpkgs")), COMMIT, None),
            Snapshot::of_commit(&git(None, None), COMMIT, None),
            Snapshot::of_commit(&git(None, None), &COMMIT.replace('2', "3"), None),
            directory(at, COMMIT, None),
            directory(at, "other", None),
            directory(Path::new("/other"), COMMIT, None),
            directory(at, COMMIT, Some(COMMIT)),
            Snapshot::unknown(&path),
            Snapshot::unknown(&channel(None)),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(all[..index].iter().all(|other| other != one), "{one:?}");
        }
        assert!(!all[8].is_fixed());
        assert!(all[4].is_untouched(&directory(at, COMMIT, None)));
        let fingerprint = Fingerprint { content: COMMIT.to_owned(), changed: "later".to_owned() };
        let touched = Snapshot::of_directory(at, fingerprint, None);
        assert!(touched == all[4] && !all[4].is_untouched(&touched));
    }

    fn directory(path: &Path, content: &str, commit: Option<&str>) -> Snapshot {
        let (content, changed) = (content.to_owned(), "1.0".to_owned());
        Snapshot::of_directory(path, Fingerprint { content, changed }, commit.map(str::to_owned))
    }
}
