//! Which names a package set has, for people who compose the name of an image.
//!
//! The builder is asked for a set's names when somebody first wants to see them, and
//! again when the package set has moved; meanwhile the names of before are shown.

mod kinds;
mod learn;
mod shelf;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::cache::Directory;
use crate::flights::Flights;
use crate::nix::{Builder, Kind};
use crate::pin::Pins;
use crate::source::{Snapshot, SourceAt};
use kinds::{AT_ONCE, within};
use learn::Queue;
use shelf::{Entry, Shelf};

/// For how long somebody waits who asks; after that, the names are looked for without
/// him.
const PATIENCE: Duration = Duration::from_secs(1);

/// Most parts, between dots, of a name that is completed. A set may have itself in it, as
/// `pkgs.pkgs` of nixpkgs, so that there would be no end of them.
const DEEPEST: usize = 3;

/// How often it is looked whether a package set has moved whose names are in use.
const LOOK: Duration = Duration::from_secs(5);

/// For how long after somebody has wanted names they are in use.
const IN_USE: Duration = Duration::from_hours(1);

/// Knows the names of package sets.
#[derive(Clone, Debug)]
pub struct Catalogue(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    builder: Arc<Builder>,
    pins: Pins,
    system: &'static str,
    shelf: Shelf,
    flights: Flights<(SetOf, Snapshot), ()>,
    /// The same, for what names are.
    kinds: Flights<(SetOf, Snapshot), ()>,
    /// For package sets themselves.
    top: Queue,
    /// For sets in them, which may be slow, and are chosen by whoever asks.
    within: Queue,
    /// When somebody last wanted names.
    used: Mutex<Option<Instant>>,
}

/// A set of a package set, which has the empty name itself.
type SetOf = (SourceAt, String);

/// Names that begin with, or else have in them, what somebody has typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The commit that they are of, where it is known.
    pub revision: Option<String>,
    /// Whether they are all that there are now.
    pub state: State,
    /// The names; those that begin with it come first, and both kinds are sorted. A dot is
    /// after each that is known to be a set, and those that are known to be neither a set
    /// nor a package are left out.
    pub names: Vec<String>,
    /// Whether there are more.
    pub has_more: bool,
}

/// How names are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// They are asked for where they are not known.
    Ask,
    /// Nobody is asked, neither the builder nor where packages come from: those that are
    /// known are shown, also of a commit before the newest.
    Known,
}

/// How far the names of a set are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// They are.
    Ready,
    /// They, or what they are, are being looked for; what is shown is of before, if anything.
    Indexing,
    /// They can't be had at the moment.
    Unavailable,
}

impl Catalogue {
    /// Names are those for `system`. `saved` keeps them over restarts.
    pub fn new(
        builder: Arc<Builder>,
        pins: Pins,
        saved: Arc<Directory>,
        system: &'static str,
    ) -> Self {
        Self(Arc::new(Inner {
            builder,
            pins,
            system,
            shelf: Shelf::new(saved, system),
            flights: Flights::default(),
            kinds: Flights::default(),
            top: Queue::new(),
            within: Queue::new(),
            used: Mutex::default(),
        }))
    }

    /// Has the names of a package set listed in the background, as they will be wanted.
    pub fn prepare(&self, source: SourceAt) {
        self.0.is_used();
        let inner = Arc::clone(&self.0);
        tokio::spawn(async move { inner.names(&source, "").await });
    }

    /// Has the names of a package set listed whenever it has moved, as long as they are in
    /// use. Ends only for a directory, whose names are listed when they are asked for.
    pub async fn follow(&self, source: SourceAt) {
        // All of a directory is read to find out whether it has changed.
        if matches!(source, SourceAt::Path { .. }) {
            return;
        }
        loop {
            tokio::time::sleep(LOOK).await;
            if self.0.last_used().is_some_and(|used| used.elapsed() < IN_USE) {
                self.0.names(&source, "").await;
            }
        }
    }

    /// What `source` is at, if that is found out soon.
    pub async fn revision(&self, source: &SourceAt) -> Option<String> {
        let pin = timeout(PATIENCE / 4, self.0.pins.pin(source.clone())).await;
        pin.ok()?.ok()?.snapshot.revision().map(str::to_owned)
    }

    /// At most `limit` names to complete `typed` with, which has at least the beginning of
    /// a name, and a dot after each set that it is in. Names count only if they are
    /// `shown`, which is told the whole name, with the sets that it is in.
    pub async fn complete(
        &self,
        source: &SourceAt,
        typed: &str,
        limit: usize,
        look: Look,
        shown: impl Fn(&str) -> bool,
    ) -> Completion {
        let (set, start) = typed.rsplit_once('.').unwrap_or(("", typed));
        if typed.split('.').count() > DEEPEST {
            return Completion {
                revision: None,
                state: State::Unavailable,
                names: Vec::new(),
                has_more: false,
            };
        }
        let (state, entry) = match look {
            Look::Ask => {
                self.0.is_used();
                self.0.names(source, set).await
            }
            Look::Known => self.0.known_names(source, set).await,
        };
        let mut completion = Completion {
            revision: entry.as_ref().and_then(|entry| entry.snapshot.revision().map(str::to_owned)),
            state,
            names: Vec::new(),
            has_more: false,
        };
        let Some(Entry { snapshot, names: Ok(names), .. }) = entry else { return completion };
        if names.is_empty() {
            // Packages may have others in them, which are not listed.
            completion.state = State::Unavailable;
            return completion;
        }
        let found = || {
            let is_named = |&index: &usize| names.kind(index) != Some(Kind::Other);
            names
                .matching(start)
                .filter(is_named)
                .filter(|&index| shown(&within(set, names.get(index))))
        };
        let is_new = |index: &usize| names.kind(*index).is_none();
        if state == State::Ready && look == Look::Ask && found().take(limit).any(|n| is_new(&n)) {
            let asked = found().take(limit.max(AT_ONCE)).filter(is_new).take(AT_ONCE).collect();
            let of = (source.clone(), set.to_owned());
            self.0.learn_kinds(of, snapshot, &names, asked).await;
        }
        let mut found = found();
        let shown: Vec<usize> = found.by_ref().take(limit).collect();
        completion.has_more = found.next().is_some();
        if state == State::Ready && look == Look::Ask && shown.iter().any(is_new) {
            completion.state = State::Indexing;
        }
        let is_set = |index| names.kind(index) == Some(Kind::Set);
        completion.names = shown
            .into_iter()
            .map(|n| within(set, names.get(n)) + if is_set(n) { "." } else { "" })
            .collect();
        completion
    }
}

impl Inner {
    fn is_used(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn last_used(&self) -> Option<Instant> {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
