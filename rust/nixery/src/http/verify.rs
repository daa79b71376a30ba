//! Comparing passwords with their hashes, which takes long on purpose.
//!
//! A client presents its password with each of a hundred requests for an image, so what was
//! found is remembered for a while: under a hash with a key of this process, and never the
//! password itself. What has to be computed is computed for few at a time, so that whoever
//! tries passwords doesn't take the processors from those who pull.

use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use crate::access::Credentials;

/// How long a right password needs no computing.
const RIGHT: Duration = Duration::from_mins(10);

/// The same for a wrong one, of a program that tries again and again.
const WRONG: Duration = Duration::from_secs(30);

/// How many are remembered; those that come often stay.
const REMEMBERED: usize = 4096;

/// How many may be computed or wait. At htpasswd's highest usual cost, 12, the last one
/// waits for about as long as docker waits for `/v2/`.
const PLACES: usize = 32;

/// Too many passwords are being compared.
#[derive(Debug)]
pub(super) struct Busy;

#[derive(Debug)]
pub(super) struct Verifier {
    known: RwLock<Arc<Known>>,
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
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
            places: Arc::new(Semaphore::new(PLACES)),
            turns: Arc::new(Semaphore::new(turns)),
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

    /// Whether this is a token or the password of the user.
    pub(super) async fn verify(&self, user: &str, password: &[u8]) -> Result<bool, Busy> {
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
        let in_line = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Busy)?;
        // Never closed.
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| Busy)?;
        // Somebody with the same may have been before in the line.
        if let Some(is_right) = known.found(&place) {
            return Ok(is_right);
        }
        let (user, password) = (user.to_owned(), password.to_owned());
        let compute = spawn_blocking(move || {
            // Given back when it is done, also if the client has left.
            let _held = (in_line, turn);
            let is_right = known.credentials.passwords.verify(&user, &password);
            if !is_right {
                // As it was sent: there may be anything in it.
                tracing::warn!(?user, "a wrong password, or no such user");
            }
            let lifetime = if is_right { RIGHT } else { WRONG };
            known.found.insert(place, Found { is_right, until: Instant::now() + lifetime });
            is_right
        });
        // Fails only at shutdown.
        compute.await.map_err(|_| Busy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By Apache's `htpasswd -nbB -C 10 ann secret`.
    const ANN: &str = "ann:$2y$10$w/f9Y.xpTJjkCp1DqYyBv.LB/9a3QeGFXnCvjvWrLdO.myVJuX3Xq";

    fn verifier() -> Verifier {
        Verifier::new(Credentials { passwords: ANN.parse().unwrap(), ..Credentials::default() })
    }

    #[tokio::test]
    async fn what_was_found_is_remembered_until_the_files_are_read_again() {
        let verifier = verifier();
        let begin = Instant::now();
        assert!(verifier.verify("ann", b"secret").await.unwrap());
        let (first, begin) = (begin.elapsed(), Instant::now());
        for _ in 0..20 {
            assert!(verifier.verify("ann", b"secret").await.unwrap());
        }
        assert!(
            begin.elapsed() < first,
            "20 times took {:?}, the first {first:?}",
            begin.elapsed()
        );
        assert!(!verifier.verify("ann", b"secret2").await.unwrap());
        assert!(!verifier.verify("secret", b"ann").await.unwrap());
        verifier.replace(Credentials::default());
        assert!(!verifier.verify("ann", b"secret").await.unwrap());
    }

    #[tokio::test]
    async fn a_user_that_there_is_not_takes_as_long_as_a_wrong_password() {
        let verifier = verifier();
        let mut times = Vec::new();
        for round in 0..3 {
            for user in ["ann", "bob"] {
                let (password, begin) = (format!("wrong{round}"), Instant::now());
                assert!(!verifier.verify(user, password.as_bytes()).await.unwrap());
                times.push(begin.elapsed());
            }
        }
        let least = |of: usize| *times.iter().skip(of).step_by(2).min().unwrap();
        let (ann, bob) = (least(0), least(1));
        assert!(bob * 2 > ann && ann * 2 > bob, "{ann:?} and {bob:?}");
    }

    #[tokio::test]
    async fn many_wrong_passwords_are_too_many() {
        let verifier = Arc::new(verifier());
        let tries = (0..PLACES + 20).map(|number| {
            let verifier = Arc::clone(&verifier);
            tokio::spawn(async move {
                verifier.verify("ann", number.to_string().as_bytes()).await.is_err()
            })
        });
        let mut refused = 0;
        for one in tries.collect::<Vec<_>>() {
            refused += usize::from(one.await.unwrap());
        }
        assert!(refused >= 10, "only {refused} were refused");
        assert!(verifier.verify("ann", b"secret").await.unwrap(), "and then it goes on");
    }
}
