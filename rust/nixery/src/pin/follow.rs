//! Asking again, so that no client waits for that.

use std::sync::Weak;
use std::time::{Duration, SystemTime};

use super::memory::EntryId;
use super::remote::Asker;
use super::{Inner, Pin, PinError};
use crate::error_chain::ErrorChain;
use crate::source::{Snapshot, SourceAt};

/// What nobody has asked for in this time isn't followed any more.
const IDLE: Duration = Duration::from_hours(1);

/// Asks after `wait`, and then again and again, until nobody is interested any more.
pub(super) async fn follow(inner: Weak<Inner>, source: SourceAt, id: EntryId, mut wait: Duration) {
    loop {
        let Some(shutdown) = inner.upgrade().map(|inner| inner.shutdown.clone()) else { return };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        let Some(inner) = inner.upgrade() else { return };
        if !inner.refresh(&source, id).await {
            return;
        }
        wait = inner.refresh;
    }
}

impl Inner {
    /// Asks once more; whether to go on with that.
    pub(super) async fn refresh(&self, source: &SourceAt, id: EntryId) -> bool {
        let Some((known, asked)) = self.known.peek(source, id, IDLE.max(2 * self.refresh)) else {
            return false;
        };
        match self.ask(source, Asker::Follower).await {
            Ok(snapshot) => {
                if known.warning.is_some() {
                    tracing::info!(source = source.shown(), "the package source answers again");
                }
                let mut pin = Pin::new(snapshot);
                pin.previous = known.previous;
                if pin.snapshot != known.snapshot {
                    tracing::info!(
                        source = source.shown(),
                        from = known.snapshot.revision(),
                        to = pin.snapshot.revision(),
                        "the package source has moved"
                    );
                    pin.previous = Some(known.snapshot);
                }
                self.known.update(source, id, pin, SystemTime::now());
            }
            Err(error) if error.is_silence() => {
                let is_news = known.warning.is_none();
                let mut pin = stale(source, known.snapshot, asked, &error, is_news);
                pin.previous = known.previous;
                self.known.update(source, id, pin, asked);
            }
            Err(error @ PinError::NotFound { .. }) => {
                // It is gone: who asks next is told so.
                tracing::warn!(source = source.shown(), %error, "not followed any more");
                self.known.remove(source, id);
                return false;
            }
            // Nothing was learned of the source.
            Err(_) => {}
        }
        true
    }
}

/// What was known when a source last answered, as nobody says more.
pub(super) fn stale(
    source: &SourceAt,
    snapshot: Snapshot,
    asked: SystemTime,
    error: &PinError,
    is_news: bool,
) -> Pin {
    let commit = snapshot.revision().unwrap_or_default();
    let chain = ErrorChain(error).to_string().replace('\n', " | ");
    let ago = match asked.elapsed().map(|age| age.as_secs().div_ceil(60)) {
        Ok(0 | 1) => "a minute".to_owned(),
        Ok(minutes) => format!("{minutes} minutes"),
        // By a clock that was wrong.
        Err(_) => "some time".to_owned(),
    };
    if is_news {
        let source = source.shown();
        tracing::warn!(source, commit, "using the last known commit of {ago} ago: {chain}");
    }
    // What git says is for the log: it may name more than clients should know.
    let warning = format!(
        "the package source does not answer: this is of commit {commit}, where it was {ago} ago"
    );
    Pin { warning: Some(warning.into()), ..Pin::new(snapshot) }
}
