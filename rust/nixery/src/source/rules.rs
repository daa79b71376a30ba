//! Which tags choose something of a package source, and what.

use std::str::FromStr;

use glob::Pattern;
use thiserror::Error;

use super::tag::{LATEST, Tag, is_commit, is_reference};
use super::{Source, SourceAt};

/// The channels of nixpkgs that tags may choose unless others are configured: those
/// of the releases, which the NixOS project tests and has binaries for.
pub const RELEASED_CHANNELS: [&str; 4] = [
    "nixos-[0-9][0-9].[0-9][0-9]",
    "nixos-[0-9][0-9].[0-9][0-9]-small",
    "nixos-unstable",
    "nixos-unstable-small",
];

/// What a channel's name begins with, and tags may leave out.
const CHANNEL_PREFIX: &str = "nixos-";

/// Which tags there are besides `latest`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagRules {
    /// Patterns of the channels of nixpkgs.
    pub channels: Vec<NamePattern>,
    /// Patterns of a repository's branches and tags; all without.
    pub references: Option<Vec<NamePattern>>,
    /// Whether a full commit is a tag. Without: of a repository, if there are no
    /// patterns for its references.
    pub allow_commits: Option<bool>,
}

impl Default for TagRules {
    fn default() -> Self {
        let released = RELEASED_CHANNELS.iter().filter_map(|pattern| pattern.parse().ok());
        Self { channels: released.collect(), references: None, allow_commits: None }
    }
}

/// A pattern of names: `*` stands for any characters, `?` for one, `[0-9]` for one
/// of those.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern(Pattern);

/// A text that is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text:?} is not a pattern of names: {problem}")]
pub struct InvalidPattern {
    text: String,
    problem: &'static str,
}

impl NamePattern {
    fn matches(&self, name: &str) -> bool {
        self.0.matches(name)
    }

    /// The pattern, as it was written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for NamePattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = |problem| InvalidPattern { text: text.to_owned(), problem };
        if text.is_empty() {
            return Err(invalid("it is empty"));
        }
        Pattern::new(text).map(Self).map_err(|error| invalid(error.msg))
    }
}

/// A tag that this source has nothing for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("there is no tag {tag:?} here: expected {possible}")]
pub struct UnknownTag {
    tag: String,
    possible: String,
}

impl Source {
    /// What `tag` chooses, if `rules` have it.
    ///
    /// `latest` is what is configured, or the default branch of a repository. Of
    /// nixpkgs, another tag is a channel, written with or without its `nixos-`, or a
    /// full commit; of a repository, a branch, a tag or a full commit.
    pub fn at(&self, tag: &Tag, rules: &TagRules) -> Result<SourceAt, UnknownTag> {
        let name = tag.as_str();
        let chosen = match self {
            Self::Channel { channel, nixpkgs } => {
                let chosen = if name == LATEST || name == channel {
                    Some(channel.clone())
                } else {
                    rules.channel(name)
                };
                chosen.map(|channel| SourceAt::Channel { channel, nixpkgs: nixpkgs.clone() })
            }
            Self::Repository(url) => {
                let at =
                    |reference, revision| SourceAt::Git { url: url.clone(), reference, revision };
                let name = name.to_owned();
                if name == LATEST {
                    Some(at(None, None))
                } else if is_commit(&name) {
                    rules.allows_commits_of_repository().then(|| at(None, Some(name)))
                } else {
                    rules.allows_reference(&name).then(|| at(Some(name), None))
                }
            }
            Self::Path(path) => (name == LATEST).then(|| SourceAt::Path { path: path.clone() }),
        };
        chosen.ok_or_else(|| UnknownTag { tag: name.to_owned(), possible: self.possible(rules) })
    }

    /// The tags that there are, for people.
    fn possible(&self, rules: &TagRules) -> String {
        let list = |patterns: &[NamePattern]| {
            patterns.iter().map(NamePattern::as_str).collect::<Vec<_>>().join(", ")
        };
        let mut possible = vec!["\"latest\"".to_owned()];
        let commits = match self {
            Self::Channel { .. } => {
                if !rules.channels.is_empty() {
                    possible.push(format!(
                        "a channel of nixpkgs like {} (\"nixos-\" may be left out)",
                        list(&rules.channels)
                    ));
                }
                rules.allows_commits_of_nixpkgs()
            }
            Self::Repository(_) => {
                possible.push(match &rules.references {
                    None => "a branch or tag of this server's package repository".to_owned(),
                    Some(patterns) => format!("a branch or tag like {}", list(patterns)),
                });
                rules.allows_commits_of_repository()
            }
            Self::Path(_) => false,
        };
        if commits {
            possible.push("a full commit of 40 digits".to_owned());
        }
        possible.join(", or ")
    }
}

impl TagRules {
    /// The channel, or commit, that a tag names.
    fn channel(&self, tag: &str) -> Option<String> {
        if is_commit(tag) {
            return self.allows_commits_of_nixpkgs().then(|| tag.to_owned());
        }
        // Nixpkgs has no branches whose names are just a release or "unstable".
        let release = tag.strip_suffix("-small").unwrap_or(tag);
        let is_short = release == "unstable"
            || matches!(release.as_bytes(), [a, b, b'.', c, d]
                if [a, b, c, d].iter().all(|digit| digit.is_ascii_digit()));
        let name = if is_short { format!("{CHANNEL_PREFIX}{tag}") } else { tag.to_owned() };
        let allowed = self.channels.iter().any(|pattern| pattern.matches(&name));
        (allowed && is_reference(&name)).then_some(name)
    }

    fn allows_reference(&self, name: &str) -> bool {
        let listed = self.references.as_ref();
        is_reference(name)
            && listed.is_none_or(|patterns| patterns.iter().any(|pattern| pattern.matches(name)))
    }

    /// Whether full commits of a repository are tags.
    pub fn allows_commits_of_repository(&self) -> bool {
        self.allow_commits.unwrap_or(self.references.is_none())
    }

    /// Whether full commits of nixpkgs are tags.
    pub fn allows_commits_of_nixpkgs(&self) -> bool {
        self.allow_commits.unwrap_or(false)
    }
}

#[cfg(test)]
mod tests;
