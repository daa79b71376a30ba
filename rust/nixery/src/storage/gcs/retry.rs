//! How often, and after how long, the service is asked again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use google_cloud_gax::backoff_policy::BackoffPolicy;
use google_cloud_gax::exponential_backoff::{ExponentialBackoff, ExponentialBackoffBuilder};
use google_cloud_gax::retry_state::RetryState;

use super::error::BucketError;
use super::renewed::Renewed;

/// How often the same is tried at most: with the pauses between, for about 10 seconds.
const ATTEMPTS: u32 = 7;

/// For how long the same is tried, in times of what one answer may take.
pub(super) const TRIED: u32 = 3;

/// Status for a token that isn't good, or not any more.
const UNAUTHORIZED: u16 = 401;

/// Does the same again where that may help. The SDK could too, but not where an answer
/// doesn't come at all, or where a token has just run out.
#[derive(Debug)]
pub(super) struct Retries {
    backoff: ExponentialBackoff,
    renewed: Renewed,
    /// Whether the credentials were ever good: if they were, it is the token that isn't.
    accepted: AtomicBool,
}

impl Retries {
    pub(super) fn new(renewed: Renewed) -> Self {
        // Not the same for all, so that servers which were turned away together don't come
        // back together.
        let backoff = ExponentialBackoffBuilder::new()
            .with_initial_delay(Duration::from_millis(250))
            .with_maximum_delay(Duration::from_secs(8))
            .with_scaling(2.0)
            .clamp();
        Self { backoff, renewed, accepted: AtomicBool::new(false) }
    }

    /// Calls `once`, with the number of the attempt, until it succeeds, or there is no hope,
    /// or it has been tried for so long.
    pub(super) async fn run<T, F>(
        &self,
        limit: Duration,
        mut once: impl FnMut(u32) -> F,
    ) -> Result<T, BucketError>
    where
        F: Future<Output = Result<T, BucketError>>,
    {
        let begin = Instant::now();
        let mut attempts = 0;
        loop {
            attempts += 1;
            let sent = Instant::now();
            let error = match once(attempts).await {
                Ok(done) => {
                    self.accepted.store(true, Ordering::Relaxed);
                    return Ok(done);
                }
                Err(error) => error,
            };
            let is_refused = error.status() == Some(UNAUTHORIZED);
            let has_others = is_refused && self.renewed.renew_refused(sent, &error).await;
            let token_ran_out = is_refused && self.accepted.load(Ordering::Relaxed);
            let is_worth_it = error.is_temporary() || token_ran_out || has_others;
            if attempts == ATTEMPTS || begin.elapsed() > limit || !is_worth_it {
                return Err(error);
            }
            let state = RetryState::new(true).set_attempt_count(attempts);
            let pause = self.backoff.on_failure(&state);
            tracing::debug!(%error, attempts, ?pause, "Cloud Storage is asked again");
            tokio::time::sleep(pause).await;
        }
    }
}
