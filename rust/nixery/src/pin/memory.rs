//! What sources were at when they were last asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use super::Pin;
use super::remote::Found;
use crate::cache::Directory;
use crate::oci::Digest;
use crate::source::{Snapshot, SourceAt};

/// Sources that are known at a time, each of which is asked again and again. What was
/// used least recently is forgotten.
const CAPACITY: usize = 500;

/// What this process knows.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<HashMap<SourceAt, Entry>>);

/// Tells an entry from a later one of the same source, so that each is followed once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EntryId(Instant);

#[derive(Debug)]
struct Entry {
    id: EntryId,
    pin: Pin,
    /// When the source last answered.
    asked: SystemTime,
    /// The same by a clock that can't be set.
    put: Instant,
    used: Instant,
}

impl Memory {
    /// What is known of a source, for at most `lifetime`. Counts as use.
    pub(super) fn get(&self, source: &SourceAt, lifetime: Duration) -> Option<Pin> {
        let mut entries = self.lock();
        let entry = entries.get_mut(source)?;
        if entry.put.elapsed() >= lifetime {
            return None;
        }
        entry.used = Instant::now();
        Some(entry.pin.clone())
    }

    /// What an entry says and when its source last answered, if it was used within
    /// `idle`; otherwise it is forgotten. Doesn't count as use.
    pub(super) fn peek(
        &self,
        source: &SourceAt,
        id: EntryId,
        idle: Duration,
    ) -> Option<(Pin, SystemTime)> {
        let mut entries = self.lock();
        let entry = entries.get(source).filter(|entry| entry.id == id)?;
        if entry.used.elapsed() < idle {
            return Some((entry.pin.clone(), entry.asked));
        }
        entries.remove(source);
        None
    }

    pub(super) fn put(&self, source: SourceAt, pin: Pin, asked: SystemTime) -> EntryId {
        let now = Instant::now();
        let id = EntryId(now);
        let mut entries = self.lock();
        if entries.len() >= CAPACITY && !entries.contains_key(&source) {
            let oldest = entries.iter().min_by_key(|(_, entry)| entry.used);
            if let Some(oldest) = oldest.map(|(source, _)| source.clone()) {
                entries.remove(&oldest);
            }
        }
        entries.insert(source, Entry { id, pin, asked, put: now, used: now });
        id
    }

    /// Changes what an entry says, unless it was forgotten meanwhile. Doesn't count as
    /// use.
    pub(super) fn update(&self, source: &SourceAt, id: EntryId, pin: Pin, asked: SystemTime) {
        if let Some(entry) = self.lock().get_mut(source).filter(|entry| entry.id == id) {
            *entry = Entry { id, pin, asked, put: Instant::now(), used: entry.used };
        }
    }

    /// Changes what is known of a source, whoever follows it.
    pub(super) fn renew(&self, source: &SourceAt, pin: Pin) {
        if let Some(entry) = self.lock().get_mut(source) {
            (entry.pin, entry.asked, entry.put) = (pin, SystemTime::now(), Instant::now());
        }
    }

    pub(super) fn remove(&self, source: &SourceAt, id: EntryId) {
        let mut entries = self.lock();
        if entries.get(source).is_some_and(|entry| entry.id == id) {
            entries.remove(source);
        }
    }

    #[cfg(test)]
    pub(super) fn id(&self, source: &SourceAt) -> EntryId {
        self.lock()[source].id
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SourceAt, Entry>> {
        // A map of plain values is whole after any panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known over restarts.
#[derive(Debug)]
pub(super) struct Saved(pub(super) Arc<Directory>);

/// What a source was at, in a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SavedPin {
    found: Found,
    pub(super) asked: SystemTime,
}

impl SavedPin {
    /// Whether the source was asked less than `refresh` ago. A time in the future is of
    /// a clock that was wrong.
    pub(super) fn is_fresh(&self, refresh: Duration) -> bool {
        self.asked.elapsed().is_ok_and(|age| age < refresh)
    }

    pub(super) fn snapshot(&self, source: &SourceAt) -> Snapshot {
        Snapshot::of_commit(source, &self.found.commit, self.found.reference.as_deref())
    }
}

impl Saved {
    pub(super) async fn get(&self, source: &SourceAt) -> Option<SavedPin> {
        let (directory, key) = (Arc::clone(&self.0), key(source));
        let content = spawn_blocking(move || directory.get(&key)).await.ok()??;
        serde_json::from_slice(&content).ok()
    }

    pub(super) async fn put(&self, source: &SourceAt, found: &Found) {
        let saved = SavedPin { found: found.clone(), asked: SystemTime::now() };
        self.write(source, &saved).await;
    }

    /// As if it had been asked at another time.
    #[cfg(test)]
    pub(super) async fn put_at(&self, source: &SourceAt, saved: &SavedPin, asked: SystemTime) {
        self.write(source, &SavedPin { asked, ..saved.clone() }).await;
    }

    async fn write(&self, source: &SourceAt, saved: &SavedPin) {
        let (directory, key) = (Arc::clone(&self.0), key(source));
        // Serialising to memory can't fail.
        let content = serde_json::to_vec(saved).unwrap_or_default();
        // Fails only at shutdown.
        let _ = spawn_blocking(move || directory.put(&key, &content)).await;
    }

    pub(super) async fn remove(&self, source: &SourceAt) {
        let (directory, key) = (Arc::clone(&self.0), key(source));
        let _ = spawn_blocking(move || directory.remove(&key)).await;
    }
}

fn key(source: &SourceAt) -> Digest {
    // Text and numbers; of paths, which may not be text, nothing is saved.
    let text = serde_json::to_string(source).unwrap_or_default();
    Digest::of(format!("pin {text}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fuzzed() {
        let source = SourceAt::Git { url: "https://x/y".into(), reference: None, revision: None };
        let found = Found { commit: "4fe8d070".repeat(5), reference: Some("refs/heads/a".into()) };
        let seed = SavedPin { found, asked: SystemTime::now() };
        crate::fuzz::parser("saved commits", [serde_json::to_vec(&seed).unwrap()])
            .words([r#""secs_since_epoch":"#, r#""nanos_since_epoch":4294967295"#])
            .factor(32)
            .run(
                |input| serde_json::from_slice::<SavedPin>(input).ok(),
                |_, saved| {
                    let Some(saved) = saved else { return };
                    let _ = (saved.is_fresh(Duration::MAX), saved.snapshot(&source));
                    let text = serde_json::to_vec(&saved).unwrap();
                    let again: SavedPin = serde_json::from_slice(&text).unwrap();
                    assert_eq!((again.asked, again.found), (saved.asked, saved.found));
                },
            );
    }
}
