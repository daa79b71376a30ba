//! How many connections there may be, and what those are told that are too many.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::AsyncWriteExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::counters::{Counted, Full, connection};
use crate::http::site;
use crate::serve::stream::{Lingering, Stream};

/// Clients that are told at a time that there are too many; others are just hung up on.
const TOLD: usize = 64;

/// Connections of each address.
type Held = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// Lets connections in.
pub(super) struct Admission {
    places: Arc<Semaphore>,
    each: usize,
    held: Held,
    told: Arc<Semaphore>,
}

/// A connection's, until this is dropped.
pub(super) struct Place {
    _of_all: OwnedSemaphorePermit,
    _counted: Counted,
    of_address: Option<(IpAddr, Held)>,
}

impl Admission {
    pub(super) fn new(all: usize, each: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(all)),
            each,
            held: Held::default(),
            told: Arc::new(Semaphore::new(TOLD)),
        }
    }

    /// A place for a client, whose address is `None` where it may have any number of them.
    pub(super) fn enter(&self, address: Option<IpAddr>) -> Result<Place, Full> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Full::Total)?;
        let of_address = match address.map(site) {
            Some(address) => {
                let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
                let number = held.entry(address).or_default();
                if *number >= self.each {
                    return Err(Full::Address);
                }
                *number += 1;
                Some((address, Arc::clone(&self.held)))
            }
            None => None,
        };
        Ok(Place { _of_all: place, _counted: connection(), of_address })
    }

    /// A turn to tell a client why it has no place.
    pub(super) fn tell(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.told).try_acquire_owned().ok()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((address, held)) = &self.of_address else { return };
        let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut number) = held.entry(*address) {
            *number.get_mut() -= 1;
            if *number.get() == 0 {
                number.remove();
            }
        }
    }
}

/// Says why, whatever is asked, and hangs up.
pub(super) async fn refuse(stream: Stream, full: Full) {
    let (status, code, message) = match full {
        Full::Total => {
            ("503 Service Unavailable", "UNAVAILABLE", "the server has too many clients")
        }
        Full::Address => {
            ("429 Too Many Requests", "TOOMANYREQUESTS", "too many connections from your address")
        }
    };
    let body = format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#);
    say(stream, status, "application/json\r\nretry-after: 10", &body).await;
}

/// Says that this port speaks TLS only.
pub(super) async fn ask_for_tls(stream: Stream) {
    say(stream, "400 Bad Request", "text/plain", "This server speaks TLS: use https://\n").await;
}

/// Answers before anything is asked. Who doesn't take that is not waited for.
async fn say(stream: Stream, status: &str, kind: &str, body: &str) {
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    );
    let mut stream = Lingering::waiting(stream);
    // Fits into any socket's buffer, so this does not wait.
    if stream.write_all(answer.as_bytes()).await.is_ok() {
        let _ = stream.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_back() {
        let admission = Admission::new(3, 2);
        let address = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        let full = |text: &str| admission.enter(address(text)).err();
        let one = admission.enter(address("2001:db8::1")).unwrap_or_else(|full| panic!("{full:?}"));
        let two = admission.enter(address("2001:db8::2")).unwrap_or_else(|full| panic!("{full:?}"));
        assert_eq!(full("2001:db8::3"), Some(Full::Address), "the same network");
        assert_eq!(full("192.0.2.1"), None);
        let unknown = admission.enter(None).unwrap_or_else(|full| panic!("{full:?}"));
        assert_eq!(full("192.0.2.1"), Some(Full::Total));
        drop((one, unknown));
        assert_eq!(full("2001:db8::3"), None);
        drop(two);
        assert!(admission.held.lock().unwrap().is_empty(), "nothing is left of who is gone");
    }
}
