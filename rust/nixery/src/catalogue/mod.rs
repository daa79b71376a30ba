//! Which names a package set has, for people who compose the name of an image.
//!
//! The builder is asked for a set's names when somebody first wants to see them, and
//! again when the package set has moved; meanwhile the names of before are shown.

mod shelf;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::cache::Directory;
use crate::error_chain::ErrorChain;
use crate::flights::Flights;
use crate::image::component_of;
use crate::nix::{Builder, NixError};
use crate::pin::Pins;
use crate::source::{Snapshot, SourceAt};
use shelf::{Entry, Shelf};

/// For how long somebody waits who asks; after that, the names are looked for without
/// him.
const PATIENCE: Duration = Duration::from_secs(1);

/// Most parts, between dots, of a name that is completed. A set may have itself in it, as
/// `pkgs.pkgs` of nixpkgs, so that there would be no end of them.
const DEEPEST: usize = 3;

/// Sets that may be asked about or wait for that. Each takes Nix a second or so, one
/// after another.
const PLACES: usize = 8;

/// For how long Nix may list the names of a set.
const LIMIT: Duration = Duration::from_secs(20);

/// The same for a package set itself, which may have to be fetched first.
const LIMIT_AT_THE_TOP: Duration = Duration::from_mins(2);

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
    /// For package sets themselves.
    top: Queue,
    /// For sets in them, which may be slow, and are chosen by whoever asks.
    within: Queue,
    /// When somebody last wanted names.
    used: Mutex<Option<Instant>>,
}

/// Those who wait for Nix, and whose turn it is.
#[derive(Debug)]
struct Queue {
    places: Semaphore,
    turn: Semaphore,
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
    /// The names; those that begin with it come first, and both kinds are sorted.
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
    /// They are being looked for; what is shown is of before, if anything.
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
                state: State::Ready,
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
        let Some(names) = entry.and_then(|entry| entry.names.ok()) else { return completion };
        let begin = names.iter().filter(|name| name.starts_with(start));
        let contain = names.iter().filter(|name| name.contains(start) && !name.starts_with(start));
        let mut found = begin
            .chain(contain)
            .map(|name| if set.is_empty() { name.clone() } else { format!("{set}.{name}") })
            .filter(|name| shown(name));
        completion.names = found.by_ref().take(limit).collect();
        completion.has_more = found.next().is_some();
        completion
    }
}

impl Queue {
    fn new() -> Self {
        Self { places: Semaphore::new(PLACES), turn: Semaphore::new(1) }
    }
}

impl Inner {
    /// The names of a set, which are asked for where they are not known.
    fn names<'a>(
        self: &'a Arc<Self>,
        source: &'a SourceAt,
        set: &'a str,
    ) -> BoxFuture<'a, (State, Option<Entry>)> {
        // Boxed, since it is about the set that this one is in first.
        async move {
            let of = (source.clone(), set.to_owned());
            let before = self.shelf.get(&of);
            // Who is shown something need not wait for what is newer.
            let has_names = before.as_ref().is_some_and(|entry| entry.names.is_ok());
            let patience = if has_names { PATIENCE / 4 } else { PATIENCE };
            let snapshot = match timeout(patience, self.pins.pin(source.clone())).await {
                Ok(Ok(pin)) => pin.snapshot,
                Ok(Err(_)) => return (State::Unavailable, before),
                Err(_) => return (State::Indexing, before),
            };
            if let Some(entry) = before.clone().filter(|entry| entry.is_of(&snapshot)) {
                return (entry.state(), Some(entry));
            }
            // Nobody can have Nix look for what isn't there.
            if !set.is_empty() {
                let (outer, name) = set.rsplit_once('.').unwrap_or(("", set));
                let (state, entry) = self.names(source, outer).await;
                let names = entry.and_then(|entry| entry.names.ok()).unwrap_or_default();
                if names.binary_search_by(|known| (**known).cmp(name)).is_err() {
                    return (state, None);
                }
            }
            let ask = self.flights.join(
                (of.clone(), snapshot.clone()),
                |()| None,
                |(of, snapshot)| {
                    let inner = Arc::clone(self);
                    async move { inner.learn(of, snapshot).await }
                },
            );
            // Begun in any case. A result that nobody waits for is found by the next who asks.
            let patience = if has_names { Duration::ZERO } else { PATIENCE };
            if timeout(patience, ask).await.is_err() {
                return (State::Indexing, before);
            }
            match self.shelf.get(&of).filter(|entry| entry.snapshot == snapshot) {
                Some(entry) => (entry.state(), Some(entry)),
                // There was no place.
                None => (State::Indexing, before),
            }
        }
        .boxed()
    }

    /// The names of a set that are in memory or saved.
    async fn known_names(&self, source: &SourceAt, set: &str) -> (State, Option<Entry>) {
        let of = (source.clone(), set.to_owned());
        let known = || self.shelf.get(&of).filter(|entry| entry.names.is_ok());
        if let Some(snapshot) = self.pins.known(source).await
            && known().is_none_or(|entry| entry.snapshot != snapshot)
            && let Some(names) = self.shelf.load(&snapshot, set).await
        {
            self.shelf.put(of.clone(), snapshot, Some(names));
        }
        let entry = known();
        (entry.as_ref().map_or(State::Unavailable, Entry::state), entry)
    }

    /// Asks the builder for the names of a set, or finds them saved.
    async fn learn(&self, of: SetOf, snapshot: Snapshot) {
        let set = of.1.as_str();
        let (queue, limit) = match set {
            "" => (&self.top, LIMIT_AT_THE_TOP),
            _ => (&self.within, LIMIT),
        };
        let Ok(_place) = queue.places.try_acquire() else { return };
        // Never closed.
        let Ok(_turn) = queue.turn.acquire().await else { return };
        let mut names = self.shelf.load(&snapshot, set).await;
        if names.is_none() {
            match self.builder.names(snapshot.source(), self.system, set, limit).await {
                Ok(attributes) => {
                    let components: Vec<String> = names_of(&attributes);
                    self.shelf.save(&snapshot, set, &components).await;
                    names = Some(components);
                }
                Err(NixError::ShuttingDown) => return,
                Err(NixError::TimedOut { limit }) => {
                    let seconds = limit.as_secs();
                    tracing::warn!(seconds, set, "Nix takes too long to list names of packages");
                }
                Err(error) => {
                    let error = ErrorChain(&error).to_string();
                    tracing::warn!(error, set, "the names of packages can't be listed");
                }
            }
        }
        self.shelf.put(of, snapshot, names);
    }

    fn is_used(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn last_used(&self) -> Option<Instant> {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How attributes are written in names of images, sorted; those left out that can't be.
fn names_of(attributes: &[String]) -> Vec<String> {
    let packages = attributes.iter().filter(|attribute| *attribute != "recurseForDerivations");
    let mut names: Vec<String> = packages.filter_map(|attribute| component_of(attribute)).collect();
    names.sort_unstable();
    names.dedup();
    names
}
