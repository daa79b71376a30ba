//! Places of which there are so many, and so many for each client.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::counters::{Counted, Full};

/// Places of each client.
type Held = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// So many of something at a time, and so many of one client.
#[derive(Debug)]
pub struct Places {
    all: Arc<Semaphore>,
    each: usize,
    held: Held,
    count: Option<fn() -> Counted>,
}

/// Taken until this is dropped.
#[derive(Debug)]
pub struct Place {
    _of_all: OwnedSemaphorePermit,
    of_site: Option<(IpAddr, Held)>,
    _counted: Option<Counted>,
}

impl Places {
    /// `all` places, `each` of which one client may have. At most 2^61, as tokio's semaphores.
    pub fn new(all: usize, each: usize) -> Self {
        let all = Arc::new(Semaphore::new(all.min(Semaphore::MAX_PERMITS)));
        Self { all, each, held: Held::default(), count: None }
    }

    /// Has a gauge tell how many are taken.
    #[must_use]
    pub fn counted(self, count: fn() -> Counted) -> Self {
        Self { count: Some(count), ..self }
    }

    /// A place for a client, whose address is `None` where it may have any number of them.
    ///
    /// # Errors
    ///
    /// Says of whom there are too many.
    pub fn enter(&self, address: Option<IpAddr>) -> Result<Place, Full> {
        let place = Arc::clone(&self.all).try_acquire_owned().map_err(|_| Full::Total)?;
        let of_site = match address.map(site) {
            Some(site) => {
                let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
                let number = held.get(&site).copied().unwrap_or(0);
                if number >= self.each {
                    return Err(Full::Address);
                }
                held.insert(site, number + 1);
                Some((site, Arc::clone(&self.held)))
            }
            None => None,
        };
        Ok(Place { _of_all: place, of_site, _counted: self.count.map(|count| count()) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((site, held)) = &self.of_site else { return };
        let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut number) = held.entry(*site) {
            *number.get_mut() -= 1;
            if *number.get() == 0 {
                number.remove();
            }
        }
    }
}

/// The addresses that one client most likely has all of: a site is given a /64 of IPv6, or
/// more (RFC 6177).
pub fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_back() {
        let places = Places::new(3, 2);
        let address = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        let full = |text: &str| places.enter(address(text)).err();
        let enter = |address| places.enter(address).unwrap_or_else(|full| panic!("{full:?}"));
        let (one, two) = (enter(address("2001:db8::1")), enter(address("2001:db8::2")));
        assert_eq!(full("2001:db8::3"), Some(Full::Address), "the same network");
        assert_eq!(full("192.0.2.1"), None);
        let unknown = enter(None);
        assert_eq!(full("192.0.2.1"), Some(Full::Total));
        drop((one, unknown));
        assert_eq!(full("2001:db8::3"), None);
        drop(two);
        assert!(places.held.lock().unwrap().is_empty(), "nothing is left of who is gone");
        assert_eq!(Places::new(1, 0).enter(address("192.0.2.1")).err(), Some(Full::Address));
    }

    #[test]
    fn a_site_of_ipv6_is_one_client() {
        let site = |text: &str| super::site(text.parse().unwrap()).to_string();
        assert_eq!(site("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(site("::ffff:192.0.2.7"), "192.0.2.7");
    }
}
