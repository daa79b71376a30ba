//! Streams of HTTP/2: each a task of its own, ended when its client doesn't take the answer.
//!
//! There a client can refuse a stream's bytes while the connection goes on, which the bytes
//! of the connection don't show: whether the next piece of the answer is asked for does.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::rt::Executor;

use crate::counters::{self, Slow};

/// Whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Turn(Mutex<Option<Instant>>);

impl Turn {
    /// The client has to take what it was given.
    pub(super) fn of_client(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// The server has to say more.
    pub(super) fn of_server(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn is_over(&self, patience: Duration) -> bool {
        let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.is_some_and(|since| since.elapsed() >= patience)
    }
}

tokio::task_local! {
    static TURN: Arc<Turn>;
}

/// Of the stream whose task this is; `None` where it is a connection's, as with HTTP/1.
pub(super) fn turn() -> Option<Arc<Turn>> {
    TURN.try_with(Arc::clone).ok()
}

/// Runs streams.
#[derive(Clone, Copy, Debug)]
pub(super) struct Streams {
    pub(super) patience: Duration,
    pub(super) tick: Duration,
}

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
{
    fn execute(&self, stream: F) {
        let (Self { patience, tick }, turn) = (*self, Arc::new(Turn::default()));
        tokio::spawn(TURN.scope(Arc::clone(&turn), async move {
            let mut stream = pin!(stream);
            while tokio::time::timeout(tick, stream.as_mut()).await.is_err() {
                if turn.is_over(patience) {
                    // Dropped, it is reset.
                    return counters::timed_out(Slow::Write);
                }
            }
        }));
    }
}
