//! Comparing passwords with their hashes, which takes long on purpose.
//!
//! A client presents its password with each of a hundred requests for an image, so what was
//! found is remembered for a while: under a hash with a key of this process, and never the
//! password itself. What has to be computed is computed for few at a time, so that whoever
//! tries passwords doesn't take the processors from those who pull.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::forwarded::{Client, site};
use crate::access::Credentials;
use crate::flights::Flights;

/// How long a right password needs no computing.
const RIGHT: Duration = Duration::from_mins(10);

/// The same for a wrong one, of a program that tries again and again.
const WRONG: Duration = Duration::from_secs(30);

/// How many are remembered; those that come often stay.
const REMEMBERED: usize = 4096;

/// How many may be computed or wait. At htpasswd's highest usual cost, 12, the last one
/// waits for about as long as docker waits for `/v2/`.
const PLACES: usize = 32;

/// How many of these one client may have, so that it can't have all. A client pulls for one
/// user, or few, and all its requests with the same password wait for one computation.
const PLACES_OF_ONE: usize = 4;

/// Too many passwords are being compared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Busy;

#[derive(Debug)]
pub(super) struct Verifier {
    known: RwLock<Arc<Known>>,
    flights: Flights<[u8; 32], Result<bool, Busy>>,
    line: Line,
}

/// Those who wait until their passwords are computed, and those whose are.
#[derive(Clone, Debug)]
struct Line {
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
    /// How many places each client has that has any.
    clients: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A place in the line, given back when dropped.
struct Place {
    _permit: OwnedSemaphorePermit,
    _share: Option<Share>,
}

/// That it is one of a client's.
struct Share {
    clients: Arc<Mutex<HashMap<IpAddr, usize>>>,
    client: IpAddr,
}

impl Line {
    /// A place for a client; one that nobody knows may have any number of them.
    fn enter(&self, Client(client): Client) -> Result<Place, Busy> {
        let share = client.map(|client| Share::take(&self.clients, site(client))).transpose()?;
        let permit = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Busy)?;
        Ok(Place { _permit: permit, _share: share })
    }
}

impl Share {
    fn take(clients: &Arc<Mutex<HashMap<IpAddr, usize>>>, client: IpAddr) -> Result<Self, Busy> {
        // Numbers are whole after any panic.
        let mut shares = clients.lock().unwrap_or_else(PoisonError::into_inner);
        let share = shares.entry(client).or_default();
        if *share >= PLACES_OF_ONE {
            return Err(Busy);
        }
        *share += 1;
        Ok(Self { clients: Arc::clone(clients), client })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut shares = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get_mut(&self.client) {
            *share -= 1;
            if *share == 0 {
                shares.remove(&self.client);
            }
        }
    }
}

/// Credentials, and what was found when passwords were compared with them.
#[derive(Debug)]
struct Known {
    credentials: Credentials,
    key: [u8; 32],
    found: Cache<[u8; 32], Found>,
}

#[derive(Clone, Copy, Debug)]
struct Found {
    is_right: bool,
    until: Instant,
}

impl Known {
    fn new(credentials: Credentials) -> Self {
        let mut key = [0; 32];
        let (one, two) = key.split_at_mut(16);
        one.copy_from_slice(Uuid::new_v4().as_bytes());
        two.copy_from_slice(Uuid::new_v4().as_bytes());
        Self { credentials, key, found: Cache::new(REMEMBERED) }
    }

    fn place(&self, user: &str, password: &[u8]) -> [u8; 32] {
        let mut hash = Sha256::new_with_prefix(self.key);
        hash.update(Sha256::digest(user));
        hash.update(Sha256::digest(password));
        hash.finalize().into()
    }

    fn found(&self, place: &[u8; 32]) -> Option<bool> {
        let found = self.found.get(place).filter(|found| Instant::now() < found.until)?;
        Some(found.is_right)
    }
}

impl Verifier {
    pub(super) fn new(credentials: Credentials) -> Self {
        // Half of them for those who pull.
        let turns = thread::available_parallelism().map_or(1, |n| n.get() / 2).max(1);
        Self {
            known: RwLock::new(Arc::new(Known::new(credentials))),
            flights: Flights::default(),
            line: Line {
                places: Arc::new(Semaphore::new(PLACES)),
                turns: Arc::new(Semaphore::new(turns)),
                clients: Arc::default(),
            },
        }
    }

    /// From now on, what was found before doesn't count.
    pub(super) fn replace(&self, credentials: Credentials) {
        let known = Arc::new(Known::new(credentials));
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = known;
    }

    fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The user whose token this is.
    pub(super) fn user_of(&self, token: &str) -> Option<Arc<str>> {
        self.known().credentials.tokens.user(token.as_bytes()).cloned()
    }

    /// Whether this is a token or the password of the user, as a client says.
    pub(super) async fn verify(
        &self,
        client: Client,
        user: &str,
        password: &[u8],
    ) -> Result<bool, Busy> {
        let known = self.known();
        if known.credentials.tokens.user(password).is_some_and(|owner| **owner == *user) {
            return Ok(true);
        }
        if known.credentials.passwords.is_empty() {
            return Ok(false);
        }
        let place = known.place(user, password);
        if let Some(is_right) = known.found(&place) {
            return Ok(is_right);
        }
        let (line, user, password) = (self.line.clone(), user.to_owned(), password.to_owned());
        let compute = |place| known.compute(line, client, place, user, password);
        // It crashes only at shutdown.
        self.flights.join(place, |_| None, compute).await.unwrap_or(Err(Busy))
    }
}

impl Known {
    async fn compute(
        self: Arc<Self>,
        line: Line,
        client: Client,
        place: [u8; 32],
        user: String,
        password: Vec<u8>,
    ) -> Result<bool, Busy> {
        let in_line = line.enter(client)?;
        // Never closed.
        let turn = line.turns.acquire_owned().await.map_err(|_| Busy)?;
        // It may have been found just before this was begun.
        if let Some(is_right) = self.found(&place) {
            return Ok(is_right);
        }
        let compute = spawn_blocking(move || {
            let _held = (in_line, turn);
            let is_right = self.credentials.passwords.verify(&user, &password);
            if !is_right {
                // As it was sent: there may be anything in it.
                tracing::warn!(?user, "a wrong password, or no such user");
            }
            let lifetime = if is_right { RIGHT } else { WRONG };
            self.found.insert(place, Found { is_right, until: Instant::now() + lifetime });
            is_right
        });
        // Fails only at shutdown.
        compute.await.map_err(|_| Busy)
    }
}

#[cfg(test)]
mod tests;
