//! What closures were grouped into for those who ask what an image consists of.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use super::error::AssembleError;
use crate::layers::Closure;
use crate::oci::Digest;
use crate::store_path::StorePath;

/// Of how many images it is remembered.
const MAX: usize = 8;

/// A closure, and the store paths of each layer.
#[derive(Debug, Default)]
pub(super) struct Grouping {
    pub(super) closure: Closure,
    pub(super) layers: Vec<Vec<StorePath>>,
}

/// The groupings of the images that were asked for last, by the digests of their
/// manifests. One closure is grouped at a time, however many clients ask.
#[derive(Debug, Default)]
pub(super) struct Grouped(Arc<Mutex<Remembered>>);

/// The newest first.
type Remembered = VecDeque<(Vec<Digest>, Arc<Grouping>)>;

impl Grouped {
    /// The grouping of an image, which `work` finds if it isn't remembered.
    pub(super) async fn of(
        &self,
        manifests: Vec<Digest>,
        work: impl FnOnce() -> Result<Grouping, AssembleError> + Send + 'static,
    ) -> Result<Arc<Grouping>, AssembleError> {
        let mut remembered = Arc::clone(&self.0).lock_owned().await;
        if let Some((_, grouping)) = remembered.iter().find(|(of, _)| *of == manifests) {
            return Ok(Arc::clone(grouping));
        }
        // Work goes on when the client is gone, so it is what holds the lock.
        let work = spawn_blocking(move || {
            let grouping = Arc::new(work()?);
            remembered.truncate(MAX - 1);
            remembered.push_front((manifests, Arc::clone(&grouping)));
            Ok(grouping)
        });
        work.await.map_err(|_| AssembleError::Crashed)?
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn what_was_grouped_is_remembered_for_a_while() {
        let grouped = Grouped::default();
        let calls = Arc::new(AtomicUsize::new(0));
        let ask = async |number: usize| {
            let calls = Arc::clone(&calls);
            let work = move || {
                calls.fetch_add(1, Ordering::Relaxed);
                Ok(Grouping { layers: vec![Vec::new(); number], ..Grouping::default() })
            };
            let digests = vec![Digest::of(&number.to_le_bytes())];
            grouped.of(digests, work).await.unwrap().layers.len()
        };
        for _ in 0..3 {
            for number in 0..MAX {
                assert_eq!(ask(number).await, number);
            }
        }
        assert_eq!(calls.load(Ordering::Relaxed), MAX);
        ask(MAX).await;
        assert_eq!(grouped.0.lock().await.len(), MAX, "the oldest makes room");
        ask(0).await;
        assert_eq!(calls.load(Ordering::Relaxed), MAX + 2);
        let failed = grouped.of(Vec::new(), || Err(AssembleError::Crashed)).await;
        assert!(failed.is_err());
        assert_eq!(grouped.0.lock().await.len(), MAX, "a failure isn't remembered");
    }

    /// Clients that went away once had any number of threads group for nobody.
    #[tokio::test(flavor = "multi_thread")]
    async fn one_is_grouped_at_a_time_also_for_clients_that_have_gone() {
        let grouped = Arc::new(Grouped::default());
        let running = Arc::new(AtomicUsize::new(0));
        let most = Arc::new(AtomicUsize::new(0));
        for number in 0..5_u8 {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            let work = move || {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(60));
                running.fetch_sub(1, Ordering::SeqCst);
                Ok(Grouping::default())
            };
            let ask = grouped.of(vec![Digest::of(&[number])], work);
            let _ = tokio::time::timeout(Duration::from_millis(20), ask).await;
        }
        drop(grouped.0.lock().await);
        assert_eq!(most.load(Ordering::SeqCst), 1);
    }
}
