//! How often one client may ask: a token bucket for each address.
//!
//! Kept as the generic cell rate algorithm does (ITU-T I.371, annex A): one moment for each
//! client, at which its bucket will be full again. Own lines rather than a crate, as the
//! table has to be bounded whatever addresses come, and `quick_cache` is here already.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;

/// Clients that are remembered, at about 100 bytes each. Who is forgotten has a full bucket;
/// whoever has that many addresses is not to be held by a limit for each.
const REMEMBERED: usize = 65_536;

/// The buckets of all clients.
pub(super) struct Rates {
    /// Nanoseconds from `begin` until the bucket is full.
    full_at: Cache<IpAddr, Arc<AtomicU64>>,
    begin: Instant,
    /// Nanoseconds that one request costs.
    cost: u64,
    /// Nanoseconds that a full bucket is good for.
    depth: u64,
}

impl Rates {
    pub(super) fn new(per_second: u32, burst: u32) -> Self {
        let cost = 1_000_000_000 / u64::from(per_second.max(1));
        Self {
            full_at: Cache::new(REMEMBERED),
            begin: Instant::now(),
            cost,
            depth: cost.saturating_mul(burst.max(1).into()),
        }
    }

    /// Takes a token, or says when there will be one.
    pub(super) fn take(&self, client: IpAddr) -> Result<(), Duration> {
        self.take_at(client, self.begin.elapsed())
    }

    fn take_at(&self, client: IpAddr, now: Duration) -> Result<(), Duration> {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let full_at = self.full_at.get(&client).unwrap_or_else(|| {
            // Two that come at the same moment may take from two buckets, once.
            let full_at = Arc::new(AtomicU64::new(0));
            self.full_at.insert(client, Arc::clone(&full_at));
            full_at
        });
        let after = |full_at: u64| full_at.max(now).saturating_add(self.cost);
        let latest = now.saturating_add(self.depth);
        full_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
                Some(after(full_at)).filter(|&after| after <= latest)
            })
            .map(|_| ())
            .map_err(|full_at| Duration::from_nanos(after(full_at) - latest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let rates = Rates::new(10, 5);
        let taken = |ms: u64| rates.take_at(address(1), Duration::from_millis(ms));
        for _ in 0..5 {
            assert_eq!(taken(1000), Ok(()));
        }
        assert_eq!(taken(1000), Err(Duration::from_millis(100)));
        assert_eq!(taken(1099), Err(Duration::from_millis(1)));
        assert_eq!(taken(1100), Ok(()));
        assert_eq!(taken(1100), Err(Duration::from_millis(100)));
        // After a pause there is a burst again, and no more than that.
        for _ in 0..5 {
            assert_eq!(taken(60_000), Ok(()));
        }
        assert!(taken(60_000).is_err());
    }

    #[test]
    fn each_client_has_its_own() {
        let rates = Rates::new(1, 1);
        let now = Duration::from_secs(1);
        assert!(rates.take_at(address(1), now).is_ok());
        assert!(rates.take_at(address(1), now).is_err());
        assert!(rates.take_at(address(2), now).is_ok());
    }

    #[test]
    fn the_table_is_bounded() {
        let rates = Rates::new(1, 1);
        for n in 0..1_000_000 {
            let _ = rates.take_at(address(n), Duration::ZERO);
        }
        assert!(rates.full_at.len() <= REMEMBERED, "{}", rates.full_at.len());
    }
}
