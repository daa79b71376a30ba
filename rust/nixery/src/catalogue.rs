//! Which names a package set has, for people who compose the name of an image.
//!
//! The builder is asked for a set's names when somebody first wants to see them, and
//! again when the package set has moved; meanwhile the names of before are shown.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::cache::Directory;
use crate::error_chain::ErrorChain;
use crate::flights::Flights;
use crate::image::component_of;
use crate::nix::{Builder, NixError};
use crate::oci::Digest;
use crate::pin::Pins;
use crate::source::{Snapshot, SourceAt};

/// For how long somebody waits who asks; after that, the names are looked for without
/// him.
const PATIENCE: Duration = Duration::from_secs(1);

/// For how long names are shown of what may have changed unnoticed, and after how long it
/// is tried again what failed.
const TRUSTED: Duration = Duration::from_mins(1);

/// Sets whose names are kept in memory. Those of nixpkgs are about a megabyte, nearly all
/// others less.
const CAPACITY: usize = 100;

/// Sets that may be asked about or wait for that. Each takes Nix a second or so, one
/// after another.
const PLACES: usize = 8;

/// Knows the names of package sets.
#[derive(Clone, Debug)]
pub struct Catalogue(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    builder: Arc<Builder>,
    pins: Pins,
    saved: Arc<Directory>,
    system: &'static str,
    known: Mutex<HashMap<SetOf, Entry>>,
    flights: Flights<(SetOf, Snapshot), ()>,
    places: Semaphore,
    turn: Semaphore,
}

/// A set of a package set, which has the empty name itself.
type SetOf = (SourceAt, String);

/// What is known of a set.
#[derive(Clone, Debug)]
struct Entry {
    snapshot: Snapshot,
    /// As they are written in names of images, sorted; `None`: they could not be had.
    names: Option<Arc<[String]>>,
    read: Instant,
    used: Instant,
}

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
            saved,
            system,
            known: Mutex::default(),
            flights: Flights::default(),
            places: Semaphore::new(PLACES),
            turn: Semaphore::new(1),
        }))
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
        let (state, entry) = match look {
            Look::Ask => self.0.names(source, set).await,
            Look::Known => self.0.known_names(source, set).await,
        };
        let mut completion = Completion {
            revision: entry.as_ref().and_then(|entry| entry.snapshot.revision().map(str::to_owned)),
            state,
            names: Vec::new(),
            has_more: false,
        };
        let Some(names) = entry.and_then(|entry| entry.names) else { return completion };
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
            let before = self.entry(&of);
            let snapshot = match timeout(PATIENCE, self.pins.pin(source.clone())).await {
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
                let names = entry.and_then(|entry| entry.names).unwrap_or_default();
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
            // A result that nobody waits for any more is found by the next who asks.
            if timeout(PATIENCE, ask).await.is_err() {
                return (State::Indexing, before);
            }
            match self.entry(&of).filter(|entry| entry.snapshot == snapshot) {
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
        let before = self.entry(&of).filter(|entry| entry.names.is_some());
        let Some(snapshot) = self.pins.known(source).await else {
            return (before.as_ref().map_or(State::Unavailable, Entry::state), before);
        };
        if before.as_ref().is_none_or(|entry| entry.snapshot != snapshot)
            && snapshot.is_fixed()
            && let Some(names) = self.saved(self.key(&snapshot, set)).await
        {
            self.put(of.clone(), snapshot, Some(names));
        }
        let entry = self.entry(&of).filter(|entry| entry.names.is_some());
        (entry.as_ref().map_or(State::Unavailable, Entry::state), entry)
    }

    /// Asks the builder for the names of a set, or finds them saved.
    async fn learn(&self, of: SetOf, snapshot: Snapshot) {
        let Ok(_place) = self.places.try_acquire() else { return };
        // Never closed.
        let Ok(_turn) = self.turn.acquire().await else { return };
        let key = snapshot.is_fixed().then(|| self.key(&snapshot, &of.1));
        let mut names = match key {
            Some(key) => self.saved(key).await,
            None => None,
        };
        if names.is_none() {
            match self.builder.names(snapshot.source(), self.system, &of.1).await {
                Ok(attributes) => {
                    let components: Vec<String> = names_of(&attributes);
                    if let Some(key) = key {
                        self.save(key, &components).await;
                    }
                    names = Some(components);
                }
                Err(NixError::ShuttingDown) => return,
                Err(error) => {
                    let error = ErrorChain(&error).to_string();
                    tracing::warn!(error, set = of.1, "the names of packages can't be listed");
                }
            }
        }
        self.put(of, snapshot, names);
    }

    fn put(&self, of: SetOf, snapshot: Snapshot, names: Option<Vec<String>>) {
        let now = Instant::now();
        let mut known = self.lock();
        if known.len() >= CAPACITY && !known.contains_key(&of) {
            let oldest = known.iter().min_by_key(|(_, entry)| entry.used);
            if let Some(oldest) = oldest.map(|(of, _)| of.clone()) {
                known.remove(&oldest);
            }
        }
        let names = names.map(Arc::from);
        known.insert(of, Entry { snapshot, names, read: now, used: now });
    }

    fn key(&self, snapshot: &Snapshot, set: &str) -> Digest {
        let text = serde_json::json!(["names", 1, snapshot.identity(), self.system, set]);
        Digest::of(text.to_string().as_bytes())
    }

    async fn saved(&self, key: Digest) -> Option<Vec<String>> {
        let saved = Arc::clone(&self.saved);
        let content = spawn_blocking(move || saved.get(&key)).await.ok()??;
        serde_json::from_slice(&content).ok()
    }

    async fn save(&self, key: Digest, names: &[String]) {
        let saved = Arc::clone(&self.saved);
        // Serialising to memory can't fail.
        let content = serde_json::to_vec(names).unwrap_or_default();
        // Fails only at shutdown.
        let _ = spawn_blocking(move || saved.put(&key, &content)).await;
    }

    fn entry(&self, of: &SetOf) -> Option<Entry> {
        let mut known = self.lock();
        let entry = known.get_mut(of)?;
        entry.used = Instant::now();
        Some(entry.clone())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SetOf, Entry>> {
        // A map of plain values is whole after any panic.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// Whether it is what there is to know of `snapshot`.
    fn is_of(&self, snapshot: &Snapshot) -> bool {
        let is_lasting = snapshot.is_fixed() && self.names.is_some();
        self.snapshot == *snapshot && (is_lasting || self.read.elapsed() < TRUSTED)
    }

    fn state(&self) -> State {
        if self.names.is_some() { State::Ready } else { State::Unavailable }
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
