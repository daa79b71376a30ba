//! Waiting until Nix may run for an image.

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::counters;

/// The turn of one image: not taken until it needs Nix, and kept until it is made.
pub(super) struct Turn<'a> {
    turns: &'a Semaphore,
    taken: Option<SemaphorePermit<'a>>,
}

impl<'a> Turn<'a> {
    pub(super) fn new(turns: &'a Semaphore) -> Self {
        Self { turns, taken: None }
    }

    /// Waits for it, if it isn't taken yet.
    pub(super) async fn take(&mut self, image: &str) {
        if self.taken.is_some() {
            return;
        }
        let _waiting = counters::build_waiting();
        if self.turns.available_permits() == 0 {
            tracing::info!(image, "waiting for other builds");
        }
        // Never closed, so acquiring can't fail.
        self.taken = self.turns.acquire().await.ok();
    }
}
