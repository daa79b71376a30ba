//! Clients of all kinds, each of which checks everything that it is given.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use super::Random;
use super::client::Client;
use super::source::Moving;
use crate::harness::digest_of;

/// An image at a commit in a format, which there is one manifest of, for ever.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Which {
    pub(super) image: String,
    pub(super) commit: String,
    pub(super) format: &'static str,
}

/// What clients have seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Every manifest that any client was given.
    pub(super) manifests: BTreeMap<Which, Vec<u8>>,
    /// Those of [`Clients::forget_fresh`] until now: nobody may have removed them.
    pub(super) fresh: BTreeSet<Which>,
    pub(super) pulls: usize,
    pub(super) blobs: usize,
    pub(super) other: usize,
    /// Answers that are allowed when there is too much to do, or the server stops.
    pub(super) refused: BTreeMap<String, usize>,
    problems: Vec<String>,
}

/// Why something was not done.
pub(super) enum Trouble {
    Connection(io::Error),
    Refused(String),
    Wrong(String),
}

pub(super) type Done<T = ()> = Result<T, Trouble>;

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Connection(error)
    }
}

/// All clients of a test, of one server after the other.
pub(super) struct Clients<'a> {
    pub(super) moving: &'a Moving,
    seen: Mutex<Seen>,
    ending: AtomicBool,
}

impl<'a> Clients<'a> {
    pub(super) fn new(moving: &'a Moving) -> Self {
        Self { moving, seen: Mutex::default(), ending: AtomicBool::new(false) }
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    /// From now on connections break, and nobody begins anything.
    pub(super) fn end(&self) {
        self.ending.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::SeqCst)
    }

    pub(super) fn begin(&self) {
        self.ending.store(false, Ordering::SeqCst);
    }

    /// What was given out until now may be removed.
    pub(super) fn forget_fresh(&self) {
        self.seen().fresh.clear();
    }

    pub(super) fn complain(&self, problem: String) {
        self.seen().problems.push(problem);
    }

    /// Fails if any client was given what it should not have been.
    pub(super) fn check(&self) {
        let seen = self.seen();
        assert!(seen.problems.is_empty(), "{}", seen.problems.join("\n"));
    }

    /// Uses a server until [`Self::end`].
    pub(super) fn run(&self, address: &str, seed: u64) {
        let mut random = Random::new(seed);
        while !self.is_ending() {
            let client = Client { clients: self, address, random: &mut random };
            match client.anything() {
                Ok(()) => {}
                Err(Trouble::Connection(error)) => {
                    if !self.is_ending() {
                        self.complain(format!("a connection broke: {error}"));
                    }
                    return;
                }
                Err(Trouble::Refused(why)) => {
                    *self.seen().refused.entry(why).or_default() += 1;
                    thread::sleep(Duration::from_millis(50));
                }
                Err(Trouble::Wrong(problem)) => return self.complain(problem),
            }
        }
    }

    /// Checks that what clients were given last is there still, by its digest; and that
    /// `count` others can be had again, the same.
    pub(super) fn check_acknowledged(
        &self,
        address: &str,
        random: &mut Random,
        count: usize,
    ) -> usize {
        let fresh: Vec<Which> = self.seen().fresh.iter().cloned().collect();
        let all: Vec<Which> = self.seen().manifests.keys().cloned().collect();
        let mut client = Client { clients: self, address, random };
        for which in &fresh {
            let expected = client.clients.seen().manifests[which].clone();
            let path = format!("/v2/{}/manifests/{}", which.image, digest_of(&expected));
            let found =
                Client::ok(client.get(&path)).unwrap_or_else(|trouble| fail(which, trouble));
            assert_eq!(found.body, expected, "{which:?}");
            client.all_parts(&which.image, &found.json(), true).unwrap_or_else(|t| fail(which, t));
        }
        let others = count.min(all.len());
        for _ in 0..others {
            let which = client.random.of(&all).clone();
            client.again(&which).unwrap_or_else(|trouble| fail(&which, trouble));
        }
        fresh.len() + others
    }

    /// How many images were given out, at all commits.
    pub(super) fn images(&self) -> usize {
        self.seen().manifests.len()
    }

    /// Fetches all of these blobs.
    pub(super) fn check_blobs(&self, address: &str, digests: &[String]) {
        let mut random = Random::new(0);
        let client = Client { clients: self, address, random: &mut random };
        for digest in digests {
            let blob = Client::ok(client.get(&format!("/v2/any/blobs/{digest}")));
            let blob = blob.unwrap_or_else(|trouble| fail(digest, trouble));
            assert_eq!(digest_of(&blob.body), *digest);
        }
    }
}

fn fail<T>(what: &impl std::fmt::Debug, trouble: Trouble) -> T {
    match trouble {
        Trouble::Connection(error) => panic!("{what:?}: {error}"),
        Trouble::Refused(why) | Trouble::Wrong(why) => panic!("{what:?}: {why}"),
    }
}
