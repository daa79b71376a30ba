//! One piece of work for all who want its result.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// The work that is under way, by what it is for, and results that are kept for a
/// moment.
#[derive(Debug)]
pub struct Flights<K, V>(Arc<Mutex<Map<K, V>>>);

type Map<K, V> = HashMap<K, watch::Receiver<Option<V>>>;

impl<K, V> Default for Flights<K, V> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K, V> Flights<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Waits for the result for `key`. If nobody works on it, `work` is begun; it
    /// goes on when the caller leaves. `keep` says for how long a result is the
    /// answer to those who ask again. `None`: the work crashed.
    pub async fn join<F>(
        &self,
        key: K,
        keep: impl FnOnce(&V) -> Option<Duration> + Send + 'static,
        work: impl FnOnce(K) -> F,
    ) -> Option<V>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut receiver = self.receiver(key, keep, work);
        // Without a result, the sender is gone.
        receiver.wait_for(Option::is_some).await.ok().and_then(|result| result.clone())
    }

    fn receiver<F>(
        &self,
        key: K,
        keep: impl FnOnce(&V) -> Option<Duration> + Send + 'static,
        work: impl FnOnce(K) -> F,
    ) -> watch::Receiver<Option<V>>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut flights = lock(&self.0);
        if let Some(receiver) = flights.get(&key) {
            return receiver.clone();
        }
        let (sender, receiver) = watch::channel(None);
        flights.insert(key.clone(), receiver.clone());
        let landing = Landing { flights: Arc::clone(&self.0), key: key.clone() };
        let work = work(key);
        tokio::spawn(async move {
            // Removes the flight also when the work panics.
            let _landing = landing;
            let result = work.await;
            let keep = keep(&result);
            sender.send_replace(Some(result));
            if let Some(keep) = keep {
                tokio::time::sleep(keep).await;
            }
        });
        receiver
    }
}

struct Landing<K: Eq + Hash, V> {
    flights: Arc<Mutex<Map<K, V>>>,
    key: K,
}

impl<K: Eq + Hash, V> Drop for Landing<K, V> {
    fn drop(&mut self) {
        lock(&self.flights).remove(&self.key);
    }
}

fn lock<K, V>(flights: &Mutex<Map<K, V>>) -> MutexGuard<'_, Map<K, V>> {
    // A map of handles is whole after any panic.
    flights.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    type Result = std::result::Result<u32, &'static str>;

    const KEEP: Duration = Duration::from_millis(50);

    fn keep_failures(result: &Result) -> Option<Duration> {
        result.is_err().then_some(KEEP)
    }

    #[tokio::test]
    async fn all_who_ask_at_once_share_one_piece_of_work() {
        let flights = Flights::<&str, Result>::default();
        let begun = Arc::new(AtomicUsize::new(0));
        let join = |key| {
            let begun = Arc::clone(&begun);
            flights.join(key, keep_failures, move |_| async move {
                begun.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(20)).await;
                Ok(1)
            })
        };
        let results = tokio::join!(join("git"), join("git"), join("htop"));
        assert_eq!(results, (Some(Ok(1)), Some(Ok(1)), Some(Ok(1))));
        assert_eq!(begun.load(Ordering::SeqCst), 2);
        join("git").await.unwrap().unwrap();
        assert_eq!(begun.load(Ordering::SeqCst), 3, "what has landed is no flight any more");
    }

    #[tokio::test]
    async fn a_result_is_kept_for_as_long_as_was_said() {
        let flights = Flights::<&str, Result>::default();
        let ask =
            |result: Result| flights.join("git", keep_failures, move |_| async move { result });
        assert_eq!(ask(Err("no")).await, Some(Err("no")));
        assert_eq!(ask(Ok(1)).await, Some(Err("no")), "the failure is still the answer");
        tokio::time::sleep(2 * KEEP).await;
        assert_eq!(ask(Ok(1)).await, Some(Ok(1)));
        tokio::task::yield_now().await;
        assert_eq!(ask(Ok(2)).await, Some(Ok(2)), "a success is not kept");
    }

    #[tokio::test]
    async fn the_work_goes_on_when_the_client_leaves() {
        let flights = Flights::<&str, Result>::default();
        let (done, landed) = tokio::sync::oneshot::channel();
        let join = flights.join("git", keep_failures, |_| async {
            tokio::time::sleep(Duration::from_millis(30)).await;
            done.send(()).unwrap();
            Ok(1)
        });
        assert!(tokio::time::timeout(Duration::from_millis(5), join).await.is_err());
        landed.await.unwrap();
    }

    #[tokio::test]
    async fn work_that_panics_fails_those_who_wait_only() {
        let flights = Flights::<&str, Result>::default();
        let crash = flights.join("git", keep_failures, |_| async { panic!("as the test wants") });
        assert_eq!(crash.await, None);
        assert_eq!(flights.join("git", keep_failures, |_| async { Ok(1) }).await, Some(Ok(1)));
    }
}
