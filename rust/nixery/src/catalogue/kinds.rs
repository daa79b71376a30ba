//! Which names of a set are packages, which are sets, and which are neither.
//!
//! To find that out, Nix has to evaluate what has the name, which would take minutes for
//! all of nixpkgs. So it is asked only about names that somebody is about to be shown.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use crate::nix::{Builder, Kind, NixError};
use crate::source::SourceAt;

/// Names that are asked about at once: reading the package set takes longer than these.
pub(super) const AT_ONCE: usize = 100;

/// Most bytes of a name, with the sets that it is in.
const LONGEST: usize = 255;

/// How often the builder is called for them. One name that Nix fails at, it fails at all
/// for, and they are asked about in halves.
const CALLS: usize = 16;

/// The names of a set, and what is known of what they are.
#[derive(Debug)]
pub(super) struct Names {
    /// As they are written in names of images, sorted.
    components: Vec<String>,
    /// For each of them, its [`Kind`]; or that it hasn't been asked about.
    kinds: Vec<AtomicU8>,
}

const NOT_ASKED: u8 = 0;

/// In the order of their numbers, from one on.
const KINDS: [Kind; 4] = [Kind::Package, Kind::Set, Kind::Other, Kind::Unknown];

impl Names {
    /// Nothing is known of what they are.
    pub(super) fn new(components: Vec<String>) -> Self {
        let kinds = components.iter().map(|_| AtomicU8::new(NOT_ASKED)).collect();
        Self { components, kinds }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.components.is_empty()
    }

    pub(super) fn get(&self, index: usize) -> &str {
        self.components.get(index).map_or("", String::as_str)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.components.iter().map(String::as_str)
    }

    /// Where a name is.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.components.binary_search_by(|known| (**known).cmp(name)).ok()
    }

    /// Where the names are that begin with `start`, and after these those that have it
    /// elsewhere in them.
    pub(super) fn matching(&self, start: &str) -> impl Iterator<Item = usize> {
        let begin = self.iter().enumerate().filter(move |(_, name)| name.starts_with(start));
        let contain = self
            .iter()
            .enumerate()
            .filter(move |(_, name)| name.contains(start) && !name.starts_with(start));
        begin.chain(contain).map(|(index, _)| index)
    }

    /// What one is, if it has been asked about.
    pub(super) fn kind(&self, index: usize) -> Option<Kind> {
        let number = self.kinds.get(index)?.load(Ordering::Relaxed);
        KINDS.get(usize::from(number).checked_sub(1)?).copied()
    }

    fn is(&self, index: usize, kind: Kind) {
        let number = KINDS.iter().zip(1..).find(|(known, _)| **known == kind);
        if let (Some((_, number)), Some(place)) = (number, self.kinds.get(index)) {
            place.store(number, Ordering::Relaxed);
        }
    }

    /// Asks what those at `indices` are, for at most `limit`. `set` has them. What can't be
    /// told is [`Kind::Unknown`], but for when the server ends meanwhile.
    pub(super) async fn learn(
        &self,
        indices: Vec<usize>,
        set: &str,
        (builder, source, system): (&Builder, &SourceAt, &str),
        limit: Duration,
    ) {
        let deadline = Instant::now() + limit;
        // No name of an image is longer than the builder takes.
        let (batch, overlong): (Vec<usize>, Vec<usize>) =
            indices.into_iter().partition(|&index| within(set, self.get(index)).len() <= LONGEST);
        for index in overlong {
            self.is(index, Kind::Unknown);
        }
        let mut batches = vec![batch];
        let mut calls = 0;
        while let Some(mut batch) = batches.pop() {
            let left = deadline.saturating_duration_since(Instant::now());
            let names: Vec<String> =
                batch.iter().map(|&index| within(set, self.get(index))).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            calls += 1;
            let asked = if calls > CALLS || left.is_zero() {
                Err(NixError::TimedOut { limit })
            } else {
                builder.kinds(source, system, &names, left).await
            };
            match asked {
                Ok(kinds) => {
                    for (&index, name) in batch.iter().zip(names) {
                        self.is(index, kinds.get(name).copied().unwrap_or(Kind::Unknown));
                    }
                }
                Err(NixError::ShuttingDown) => return,
                Err(NixError::EvaluationFailed { .. } | NixError::BuildFailed { .. })
                    if batch.len() > 1 =>
                {
                    let half = batch.split_off(batch.len() / 2);
                    batches.extend([half, batch]);
                }
                Err(
                    NixError::EvaluationFailed { .. }
                    | NixError::BuildFailed { .. }
                    | NixError::PackagesNotFound { .. }
                    | NixError::NotAPackage { .. }
                    | NixError::Refused { .. }
                    | NixError::SourceNotFound { .. }
                    | NixError::SourceUnavailable { .. }
                    | NixError::TimedOut { .. }
                    | NixError::BuilderBroken { .. }
                    | NixError::Process(_)
                    | NixError::Roots(_),
                ) => {
                    for index in batch {
                        self.is(index, Kind::Unknown);
                    }
                }
            }
        }
    }
}

/// A name with the set that it is in; the package set itself has the empty name.
pub(super) fn within(set: &str, name: &str) -> String {
    if set.is_empty() { name.to_owned() } else { format!("{set}.{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_begin_with_it_come_first() {
        let names = Names::new(["agit", "git", "gitea", "xgit", "zlib"].map(str::to_owned).into());
        let found: Vec<&str> = names.matching("git").map(|index| names.get(index)).collect();
        assert_eq!(found, ["git", "gitea", "agit", "xgit"]);
        assert_eq!((names.find("git"), names.find("gi")), (Some(1), None));
    }

    #[test]
    fn what_names_are_is_kept_with_them() {
        let names = Names::new(["a", "b", "c", "d", "e"].map(str::to_owned).into());
        for (index, kind) in KINDS.into_iter().enumerate() {
            assert_eq!(names.kind(index), None);
            names.is(index, kind);
            assert_eq!(names.kind(index), Some(kind));
        }
        assert_eq!((names.kind(4), names.kind(5)), (None, None));
    }
}
