//! What time it is for the service, whose clock may differ from this machine's.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use reqwest::header::{DATE, HeaderMap};

/// How far the service's clock is ahead, in seconds, as far as its answers told.
#[derive(Debug, Default)]
pub(super) struct Clock(AtomicI64);

impl Clock {
    /// What the service's clock shows at a time of this machine's, as far as its answers
    /// told.
    fn service_time(&self, time: SystemTime) -> SystemTime {
        shifted(time, self.seconds_ahead())
    }

    /// What this machine's clock shows at a time of the service's.
    pub(super) fn time_here(&self, time: SystemTime) -> SystemTime {
        shifted(time, -self.seconds_ahead())
    }

    /// What time it is for the service.
    pub(super) fn now(&self) -> SystemTime {
        self.service_time(SystemTime::now())
    }

    /// How far the service's clock is ahead of this machine's, in seconds.
    pub(super) fn seconds_ahead(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes notice of the time that an answer says it is.
    pub(super) fn compare(&self, headers: &HeaderMap) {
        let date = headers.get(DATE).and_then(|date| date.to_str().ok());
        let Some(date) = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok()) else { return };
        let ahead = date.timestamp().as_second() - Timestamp::now().as_second();
        self.0.store(ahead, Ordering::Relaxed);
    }
}

fn shifted(time: SystemTime, seconds: i64) -> SystemTime {
    let difference = Duration::from_secs(seconds.unsigned_abs());
    let shifted =
        if seconds < 0 { time.checked_sub(difference) } else { time.checked_add(difference) };
    shifted.unwrap_or(time)
}
