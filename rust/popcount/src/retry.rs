//! How long to wait before something is asked for again.

use std::time::Duration;

/// Before the second try; each further one waits twice as long.
const FIRST: Duration = Duration::from_millis(500);

/// Longest pause of our own choice.
const LONGEST: Duration = Duration::from_secs(30);

/// Longest pause that a server may ask for. Who wants more is better asked by the next run.
const LONGEST_ASKED_FOR: Duration = Duration::from_mins(2);

/// The pause after so many tries: half of it by chance, so that requests that failed
/// together don't come back together.
///
/// `asked_for` is what the server wants at least.
pub fn pause(tries: u32, asked_for: Option<Duration>) -> Duration {
    let doubled = FIRST.saturating_mul(2_u32.saturating_pow(tries.saturating_sub(1)));
    let own = doubled.min(LONGEST);
    let own = own.mul_f64(0.5 + fastrand::f64() / 2.0);
    match asked_for {
        // Something on top of it, for the same reason.
        Some(least) => least.min(LONGEST_ASKED_FOR) + own.min(FIRST),
        None => own,
    }
}

/// What a `Retry-After` header asks for. A date is not understood: caches send seconds.
/// Source: RFC 9110, 10.2.3.
pub fn retry_after(value: &str) -> Option<Duration> {
    value.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_get_longer_up_to_a_limit() {
        let millis = Duration::from_millis;
        for (tries, shortest, longest) in
            [(1, 250, 500), (2, 500, 1000), (4, 2000, 4000), (9, 15_000, 30_000)]
        {
            for _ in 0..100 {
                let pause = pause(tries, None);
                assert!(
                    pause >= millis(shortest) && pause <= millis(longest),
                    "{tries}: {pause:?}"
                );
            }
        }
        assert!(pause(u32::MAX, None) <= LONGEST);
        assert!((0..100).map(|_| pause(5, None)).any(|other| other != pause(5, None)));
    }

    #[test]
    fn waits_as_long_as_the_server_asks_for() {
        let asked_for = retry_after(" 7 ");
        assert_eq!(asked_for, Some(Duration::from_secs(7)));
        for tries in [1, 9] {
            let pause = pause(tries, asked_for);
            assert!(pause >= Duration::from_secs(7) && pause < Duration::from_secs(8));
        }
        assert!(pause(1, retry_after("86400")) < Duration::from_secs(121));
        for other in ["", "-1", "1.5", "Fri, 31 Dec 1999 23:59:59 GMT"] {
            assert_eq!(retry_after(other), None, "{other}");
        }
    }
}
