//! Mixed use for as long as one likes: servers that are killed at random moments, and a
//! day in which everything moves. `checks/soak.sh` runs them at length.

mod client;
mod clients;
mod day;
mod kills;
mod processes;
mod source;
mod stored;

use std::env;
use std::str::FromStr;

pub(crate) use stored::Stored;

/// A number that `checks/soak.sh` sets.
fn setting<T: FromStr>(name: &str, default: T) -> T {
    env::var(name).map_or(default, |value| {
        value.parse().unwrap_or_else(|_| panic!("{name} is no such number: {value}"))
    })
}

/// Whether `checks/soak.sh` runs this, and real packages are to be used.
fn at_length() -> bool {
    env::var_os("NIXERY_TEST_SOAK").is_some()
}

/// Numbers that look random: `SplitMix64` (Steele, Lea and Flood, 2014). A seed that is
/// printed makes a choice again, if not the moments.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// One of them.
    pub(crate) fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        let last = all.len() as u64;
        &all[usize::try_from(self.below(last)).unwrap()]
    }
}
