//! From a package source at a tag to what it is at this moment.
//!
//! A channel, a branch or a tag is asked for once, remembered, and asked for again in
//! the background, so that no client waits for that. While nobody answers, it stays
//! where it was.

mod directory;
mod error;
#[cfg(test)]
mod fixture;
mod follow;
mod memory;
mod remote;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

pub use error::PinError;

use crate::cache::Directory;
use crate::flights::Flights;
use crate::source::{Snapshot, SourceAt};
use directory::Directories;
use follow::{follow, stale};
use memory::{Memory, Saved};
use remote::{Asker, Remote};

/// For how long any source is taken to be where it was, at least. A directory may
/// change at any time, and nobody says when; but clients ask for a tag by HEAD and
/// then by GET, and mean the same image.
pub const TRUSTED: Duration = Duration::from_secs(5);

/// For how long a refusal is the answer to whoever asks again.
const REFUSAL_IS_KEPT: Duration = Duration::from_secs(5);

/// What a source is, and what clients should know about that.
#[derive(Clone, Debug)]
pub struct Pin {
    /// The package set.
    pub snapshot: Snapshot,
    /// What it was before it moved last, as far as this process knows.
    pub previous: Option<Snapshot>,
    /// Why it may not be the newest, for people.
    pub warning: Option<Arc<str>>,
}

impl Pin {
    fn new(snapshot: Snapshot) -> Self {
        Self { snapshot, previous: None, warning: None }
    }

    /// What the source was before, to be used because what it is now can't be fetched.
    pub fn back(&self) -> Option<Self> {
        let snapshot = self.previous.clone()?;
        let (now, before) = (self.snapshot.revision()?, snapshot.revision()?);
        let warning = format!(
            "commit {now} of the package source can't be fetched: this is of commit {before}, \
             where it was before"
        );
        Some(Self { warning: Some(warning.into()), ..Self::new(snapshot) })
    }
}

/// Knows what sources are at.
#[derive(Clone, Debug)]
pub struct Pins(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    refresh: Duration,
    /// Whether directories are told apart by their content.
    fingerprint_paths: bool,
    remote: Remote,
    directories: Directories,
    known: Memory,
    flights: Flights<SourceAt, Result<Pin, PinError>>,
    saved: Saved,
    shutdown: CancellationToken,
}

impl Pins {
    /// Asks again after `refresh`, and ends when `shutdown` is cancelled.
    ///
    /// `saved` is where it is kept what sources were at, for when nobody answers
    /// after a restart. Without `fingerprint_paths`, a directory is another one each
    /// time.
    pub fn new(
        refresh: Duration,
        fingerprint_paths: bool,
        saved: Arc<Directory>,
        shutdown: CancellationToken,
    ) -> Self {
        Self(Arc::new(Inner {
            refresh: refresh.max(TRUSTED),
            fingerprint_paths,
            remote: Remote::new(shutdown.clone()),
            directories: Directories::default(),
            known: Memory::default(),
            flights: Flights::default(),
            saved: Saved(saved),
            shutdown,
        }))
    }

    /// What `source` is at. Waits for nobody if that is known.
    pub async fn pin(&self, source: SourceAt) -> Result<Pin, PinError> {
        if let Some(snapshot) = Snapshot::of_fixed(&source) {
            return Ok(Pin::new(snapshot));
        }
        let lifetime = match source {
            // Read anew each time; that takes no longer than to look whether it changed.
            SourceAt::Path { .. } => TRUSTED,
            SourceAt::Channel { .. } | SourceAt::Git { .. } => Duration::MAX,
        };
        if let Some(pin) = self.0.known.get(&source, lifetime) {
            return Ok(pin);
        }
        let inner = Arc::clone(&self.0);
        let keep = |result: &Result<Pin, PinError>| {
            result.as_ref().is_err_and(PinError::is_lasting).then_some(REFUSAL_IS_KEPT)
        };
        let find = |source| async move { inner.find(source).await };
        self.0.flights.join(source, keep, find).await.unwrap_or(Err(PinError::Crashed))
    }

    /// What `source` was at when somebody last asked, as far as that is remembered; nobody
    /// is asked for it now.
    pub async fn known(&self, source: &SourceAt) -> Option<Snapshot> {
        if let Some(snapshot) = Snapshot::of_fixed(source) {
            return Some(snapshot);
        }
        if let Some(pin) = self.0.known.get(source, Duration::MAX) {
            return Some(pin.snapshot);
        }
        self.0.saved.get(source).await.map(|saved| saved.snapshot(source))
    }

    /// Asks at once what `source` is at, as what was known of it led nowhere. `None` if
    /// that is still the same.
    pub async fn ask_again(&self, source: &SourceAt, known: &Snapshot) -> Option<Pin> {
        if Snapshot::of_fixed(source).is_some() || matches!(source, SourceAt::Path { .. }) {
            return None;
        }
        let snapshot = self.0.ask(source, Asker::Client).await.ok()?;
        if snapshot == *known {
            return None;
        }
        let pin = Pin::new(snapshot);
        self.0.known.renew(source, pin.clone());
        Some(pin)
    }

    /// Whether a directory is still what it was. What was made while it changed may be
    /// of either content. All other sources can't change.
    pub async fn is_still(&self, snapshot: &Snapshot) -> bool {
        match snapshot.source() {
            SourceAt::Path { path } if snapshot.is_fixed() => {
                let now = self.0.look(path).await;
                now.is_ok_and(|now| snapshot.is_untouched(&now))
            }
            SourceAt::Path { .. } => false,
            SourceAt::Channel { .. } | SourceAt::Git { .. } => true,
        }
    }
}

impl Inner {
    /// Finds out what a source is at that is not known, or was for too long.
    async fn find(self: Arc<Self>, source: SourceAt) -> Result<Pin, PinError> {
        if let SourceAt::Path { path } = &source {
            let snapshot = self.look(path).await?;
            let pin = Pin::new(snapshot);
            self.known.put(source, pin.clone(), SystemTime::now());
            return Ok(pin);
        }
        let (pin, asked) = match self.saved.get(&source).await {
            Some(saved) if saved.is_fresh(self.refresh) => {
                (Pin::new(saved.snapshot(&source)), saved.asked)
            }
            saved => match self.ask(&source, Asker::Client).await {
                Ok(snapshot) => (Pin::new(snapshot), SystemTime::now()),
                Err(error) => match saved {
                    Some(saved) if error.is_silence() => (
                        stale(&source, saved.snapshot(&source), saved.asked, &error, true),
                        saved.asked,
                    ),
                    _ => return Err(error),
                },
            },
        };
        let id = self.known.put(source.clone(), pin.clone(), asked);
        let age = asked.elapsed().unwrap_or_default();
        let wait = self.refresh.saturating_sub(age).max(TRUSTED);
        tokio::spawn(follow(Arc::downgrade(&self), source, id, wait));
        Ok(pin)
    }

    /// Asks a repository, and saves the answer.
    async fn ask(&self, source: &SourceAt, asker: Asker) -> Result<Snapshot, PinError> {
        let (url, name) = match source {
            SourceAt::Channel { channel, nixpkgs } => (nixpkgs.repository(), Some(&channel[..])),
            SourceAt::Git { url, reference, .. } => (&url[..], reference.as_deref()),
            // A path is looked at, not asked for.
            SourceAt::Path { .. } => return Ok(Snapshot::unknown(source)),
        };
        let result = self.remote.ask(url, name, asker).await;
        if matches!(result, Err(PinError::NotFound { .. })) {
            self.saved.remove(source).await;
        }
        let found = result?;
        self.saved.put(source, &found).await;
        Ok(Snapshot::of_commit(source, &found.commit, found.reference.as_deref()))
    }

    async fn look(&self, path: &Path) -> Result<Snapshot, PinError> {
        if self.fingerprint_paths {
            self.directories.look(path, &self.shutdown).await
        } else {
            Ok(Snapshot::unknown(&SourceAt::Path { path: path.to_owned() }))
        }
    }
}

#[cfg(test)]
mod tests;
