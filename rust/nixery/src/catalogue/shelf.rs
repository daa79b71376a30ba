//! The names of sets that were listed before: in memory, and some of them on the disk.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::task::spawn_blocking;

use super::kinds::Names;
use super::{SetOf, State};
use crate::cache::Directory;
use crate::oci::Digest;
use crate::source::Snapshot;

/// Bytes of names that are kept in memory. Those of nixpkgs are about two megabytes,
/// nearly all others less.
const CAPACITY: u64 = 32 << 20;

/// Most bytes of one set: what isn't kept would be asked for again at every key stroke.
const LARGEST: u64 = CAPACITY / 4;

/// How many sets are expected, to size the table: so few that it has one part, whose
/// bound is that of the whole.
const EXPECTED: usize = 60;

/// What a name takes besides its text, and a set besides its names, in bytes.
const OVERHEAD: u64 = 40;

/// For how long names are shown of what may have changed unnoticed.
const TRUSTED: Duration = Duration::from_mins(1);

/// After how long it is tried again what has failed, by how often it has before.
const RETRY: [Duration; 3] =
    [Duration::from_mins(1), Duration::from_mins(5), Duration::from_mins(30)];

/// What is known of sets.
#[derive(Debug)]
pub(super) struct Shelf {
    known: Cache<SetOf, Entry, Weights>,
    saved: Arc<Directory>,
    system: &'static str,
}

/// What is known of a set.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) snapshot: Snapshot,
    /// As they are written in names of images, sorted; how often they could not be had,
    /// one time after another.
    pub(super) names: Result<Arc<Names>, usize>,
    read: Instant,
}

#[derive(Clone, Debug)]
struct Weights;

impl Weighter<SetOf, Entry> for Weights {
    fn weight(&self, (_, set): &SetOf, entry: &Entry) -> u64 {
        // The source and the snapshot have a few URLs and hashes.
        let names = entry.names.as_ref().map_or(0, |names| weight(names.iter()));
        set.len() as u64 + 10 * OVERHEAD + names
    }
}

fn weight<'a>(names: impl Iterator<Item = &'a str>) -> u64 {
    names.map(|name| name.len() as u64 + OVERHEAD).sum()
}

impl Shelf {
    pub(super) fn new(saved: Arc<Directory>, system: &'static str) -> Self {
        Self { known: Cache::with_weighter(EXPECTED, CAPACITY, Weights), saved, system }
    }

    pub(super) fn get(&self, of: &SetOf) -> Option<Entry> {
        self.known.get(of)
    }

    /// Keeps in memory what was found out now; too many names count as none.
    pub(super) fn put(&self, of: SetOf, snapshot: Snapshot, names: Option<Vec<String>>) {
        let before = self.known.peek(&of).filter(|entry| entry.snapshot == snapshot);
        let failures = before.and_then(|entry| entry.names.err()).unwrap_or_default();
        let names = names.filter(|names| {
            let fits = weight(names.iter().map(String::as_str)) <= LARGEST;
            if !fits {
                tracing::warn!(set = of.1, "a set has more names than are kept in memory");
            }
            fits
        });
        let names = names.map(|names| Arc::new(Names::new(names))).ok_or(failures + 1);
        self.known.insert(of, Entry { snapshot, names, read: Instant::now() });
    }

    /// The names that were saved of a set, by this process or one before.
    pub(super) async fn load(&self, snapshot: &Snapshot, set: &str) -> Option<Vec<String>> {
        let key = self.key(snapshot, set)?;
        let saved = Arc::clone(&self.saved);
        let content = spawn_blocking(move || saved.get(&key)).await.ok()??;
        serde_json::from_slice(&content).ok()
    }

    /// Keeps names over restarts.
    pub(super) async fn save(&self, snapshot: &Snapshot, set: &str, names: &[String]) {
        let Some(key) = self.key(snapshot, set) else { return };
        let saved = Arc::clone(&self.saved);
        // Serialising to memory can't fail.
        let content = serde_json::to_vec(names).unwrap_or_default();
        // Fails only at shutdown.
        let _ = spawn_blocking(move || saved.put(&key, &content)).await;
    }

    /// Under which names are saved. Those of sets within sets aren't, and there may be any
    /// number of these: manifests have to stay in that directory.
    fn key(&self, snapshot: &Snapshot, set: &str) -> Option<Digest> {
        if set.contains('.') || !snapshot.is_fixed() {
            return None;
        }
        let text = serde_json::json!(["names", 1, snapshot.identity(), self.system, set]);
        Some(Digest::of(text.to_string().as_bytes()))
    }
}

impl Entry {
    /// Whether it is what there is to know of `snapshot`.
    pub(super) fn is_of(&self, snapshot: &Snapshot) -> bool {
        let good_for = match &self.names {
            Ok(_) if snapshot.is_fixed() => Duration::MAX,
            Ok(_) => TRUSTED,
            Err(failures) => RETRY[failures.saturating_sub(1).min(RETRY.len() - 1)],
        };
        self.snapshot == *snapshot && self.read.elapsed() < good_for
    }

    pub(super) fn state(&self) -> State {
        if self.names.is_ok() { State::Ready } else { State::Unavailable }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::source::SourceAt;

    fn of(set: &str) -> (SetOf, Snapshot) {
        let source = SourceAt::Path { path: "/nix/store/x".into() };
        let snapshot = Snapshot::of_commit(
            &SourceAt::Git { url: "file:///x".to_owned(), reference: None, revision: None },
            &"1".repeat(40),
            None,
        );
        ((source, set.to_owned()), snapshot)
    }

    fn shelf(directory: &TempDir) -> Shelf {
        let saved = Directory::open(directory.path(), 1 << 20).unwrap();
        Shelf::new(Arc::new(saved), "x86_64-linux")
    }

    #[test]
    fn names_are_bounded_by_their_bytes() {
        let directory = TempDir::new().unwrap();
        let shelf = shelf(&directory);
        let names = vec!["x".repeat(1000); 7000];
        for number in 0..20 {
            let (of, snapshot) = of(&format!("set{number}"));
            shelf.put(of, snapshot, Some(names.clone()));
        }
        assert!(shelf.known.weight() <= CAPACITY, "{}", shelf.known.weight());
        let (last, _) = of("set19");
        assert_eq!(shelf.get(&last).unwrap().state(), State::Ready);
        let (large, snapshot) = of("large");
        shelf.put(large.clone(), snapshot, Some(vec!["x".repeat(1000); 9000]));
        assert_eq!(shelf.get(&large).unwrap().state(), State::Unavailable);
    }

    #[test]
    fn what_fails_again_is_tried_later_each_time() {
        let directory = TempDir::new().unwrap();
        let shelf = shelf(&directory);
        let (of, snapshot) = of("broken");
        let mut waits = Vec::new();
        for _ in 0..4 {
            shelf.put(of.clone(), snapshot.clone(), None);
            let mut entry = shelf.get(&of).unwrap();
            let minutes = (1..60).take_while(|minutes| {
                entry.read = Instant::now().checked_sub(Duration::from_mins(*minutes)).unwrap();
                entry.is_of(&snapshot)
            });
            waits.push(minutes.count() + 1);
        }
        assert_eq!(waits, [1, 5, 30, 30]);
    }

    #[tokio::test]
    async fn only_what_is_near_the_top_is_saved() {
        let directory = TempDir::new().unwrap();
        let shelf = shelf(&directory);
        let (_, snapshot) = of("");
        for (set, is_saved) in [("", true), ("set", true), ("set.within", false)] {
            shelf.save(&snapshot, set, &["one".to_owned()]).await;
            assert_eq!(shelf.load(&snapshot, set).await.is_some(), is_saved, "{set}");
        }
    }
}
