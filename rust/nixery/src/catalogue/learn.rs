//! Having the builder list the names of a set, and say what they are, once for all who want
//! to know.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::kinds::Names;
use super::shelf::Entry;
use super::{Inner, PATIENCE, SetOf, State};
use crate::error_chain::ErrorChain;
use crate::image::component_of;
use crate::nix::NixError;
use crate::source::{Snapshot, SourceAt};

/// Sets that may be asked about or wait for that. Each takes Nix a second or so, one
/// after another.
const PLACES: usize = 8;

/// For how long Nix may list the names of a set.
const LIMIT: Duration = Duration::from_secs(20);

/// The same for a package set itself, which may have to be fetched first.
const LIMIT_AT_THE_TOP: Duration = Duration::from_mins(2);

/// For how long Nix may find out what names are, in several calls.
const LIMIT_FOR_KINDS: Duration = Duration::from_mins(1);

/// Those who wait for Nix, and whose turn it is.
#[derive(Debug)]
pub(super) struct Queue {
    places: Semaphore,
    turn: Semaphore,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self { places: Semaphore::new(PLACES), turn: Semaphore::new(1) }
    }
}

impl Inner {
    /// The names of a set, which are asked for where they are not known.
    pub(super) fn names<'a>(
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
                let names = entry.and_then(|entry| entry.names.ok());
                if names.is_none_or(|names| names.find(name).is_none()) {
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
    pub(super) async fn known_names(&self, source: &SourceAt, set: &str) -> (State, Option<Entry>) {
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

    /// Asks the builder what some names of a set are; this is gone on with when nobody waits
    /// any more.
    pub(super) async fn learn_kinds(
        self: &Arc<Self>,
        of: SetOf,
        snapshot: Snapshot,
        names: &Arc<Names>,
        asked: Vec<usize>,
    ) {
        let ask = self.kinds.join(
            (of, snapshot),
            |()| None,
            |((_, set), snapshot)| {
                let (inner, names) = (Arc::clone(self), Arc::clone(names));
                async move {
                    let queue = if set.is_empty() { &inner.top } else { &inner.within };
                    let Ok(_place) = queue.places.try_acquire() else { return };
                    // Never closed.
                    let Ok(_turn) = queue.turn.acquire().await else { return };
                    let at = (&*inner.builder, snapshot.source(), inner.system);
                    names.learn(asked, &set, at, LIMIT_FOR_KINDS).await;
                }
            },
        );
        // Whoever is shown names has no need to wait for it.
        let _ = timeout(PATIENCE / 4, ask).await;
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
