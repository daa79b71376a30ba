//! One build for all who want the same image.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::error::{AssembleError, Failure};
use super::{Image, ImageRequest};

/// What a build comes to.
pub(super) type Outcome = Result<Arc<Image>, Failure>;

/// The builds that are under way, and those that failed a moment ago.
#[derive(Debug, Default)]
pub(super) struct Flights(Arc<Mutex<Map>>);

type Map = HashMap<ImageRequest, watch::Receiver<Option<Outcome>>>;

impl Flights {
    /// Waits for the build of `request`, which is started if there is none. It
    /// goes on when the caller leaves. A lasting failure is kept for
    /// `keep_failure` as the answer to those who ask again.
    pub(super) async fn join<F>(
        &self,
        request: ImageRequest,
        keep_failure: Duration,
        build: impl FnOnce(ImageRequest) -> F,
    ) -> Outcome
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let mut receiver = self.receiver(request, keep_failure, build);
        let outcome =
            receiver.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
        // Without an outcome, the sender is gone.
        outcome.unwrap_or_else(|| Err(Failure::logged("an image", AssembleError::Crashed)))
    }

    fn receiver<F>(
        &self,
        request: ImageRequest,
        keep_failure: Duration,
        build: impl FnOnce(ImageRequest) -> F,
    ) -> watch::Receiver<Option<Outcome>>
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let mut flights = lock(&self.0);
        if let Some(receiver) = flights.get(&request) {
            return receiver.clone();
        }
        let (sender, receiver) = watch::channel(None);
        flights.insert(request.clone(), receiver.clone());
        let landing = Landing { flights: Arc::clone(&self.0), request: request.clone() };
        let build = build(request);
        tokio::spawn(async move {
            // Removes the flight also when the build panics.
            let _landing = landing;
            let outcome = build.await;
            let keep = outcome.as_ref().is_err_and(Failure::is_lasting);
            sender.send_replace(Some(outcome));
            if keep {
                tokio::time::sleep(keep_failure).await;
            }
        });
        receiver
    }
}

struct Landing {
    flights: Arc<Mutex<Map>>,
    request: ImageRequest,
}

impl Drop for Landing {
    fn drop(&mut self) {
        lock(&self.flights).remove(&self.request);
    }
}

fn lock(flights: &Mutex<Map>) -> MutexGuard<'_, Map> {
    // A map of handles is whole after any panic.
    flights.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::nix::NixError;
    use crate::platform::Platform;
    use crate::source::SourceAt;

    const KEEP: Duration = Duration::from_millis(50);

    fn request(name: &str) -> ImageRequest {
        let name: crate::image::ImageName = name.parse().unwrap();
        ImageRequest {
            spec: name.expand(Platform::Amd64).unwrap(),
            source: SourceAt::Path { path: "/pkgs".into() },
        }
    }

    fn busy() -> Failure {
        Failure::logged("a test", AssembleError::Busy)
    }

    fn too_slow() -> Failure {
        let limit = Duration::from_secs(1);
        Failure::logged("a test", AssembleError::Nix(NixError::TimedOut { limit }))
    }

    #[tokio::test]
    async fn all_who_ask_at_once_share_one_build() {
        let flights = Flights::default();
        let builds = Arc::new(AtomicUsize::new(0));
        let join = |name: &str| {
            let builds = Arc::clone(&builds);
            flights.join(request(name), KEEP, move |_| async move {
                builds.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(20)).await;
                Ok(Arc::new(Image { manifests: Vec::new() }))
            })
        };
        let (one, two, other) = tokio::join!(join("git/htop"), join("htop/git"), join("git"));
        assert!(one.is_ok() && two.is_ok() && other.is_ok());
        assert_eq!(builds.load(Ordering::SeqCst), 2);
        join("git").await.unwrap();
        assert_eq!(builds.load(Ordering::SeqCst), 3, "a landed build is no flight any more");
    }

    #[tokio::test]
    async fn a_failure_is_kept_for_a_moment() {
        let flights = Flights::default();
        let fail = || flights.join(request("git"), KEEP, |_| async { Err(too_slow()) });
        let succeed = || {
            let image = Image { manifests: Vec::new() };
            flights.join(request("git"), KEEP, |_| async { Ok(Arc::new(image)) })
        };
        assert!(fail().await.is_err());
        assert!(succeed().await.is_err(), "the failure is still the answer");
        tokio::time::sleep(2 * KEEP).await;
        assert!(succeed().await.is_ok());
        assert!(flights.join(request("git"), KEEP, |_| async { Err(busy()) }).await.is_err());
        tokio::task::yield_now().await;
        assert!(succeed().await.is_ok(), "a place may be free now");
    }

    #[tokio::test]
    async fn a_build_goes_on_when_the_client_leaves() {
        let flights = Flights::default();
        let (done, landed) = tokio::sync::oneshot::channel();
        let join = flights.join(request("git"), KEEP, |_| async {
            tokio::time::sleep(Duration::from_millis(30)).await;
            done.send(()).unwrap();
            Err(busy())
        });
        assert!(tokio::time::timeout(Duration::from_millis(5), join).await.is_err());
        landed.await.unwrap();
    }

    #[tokio::test]
    async fn a_build_that_panics_fails_its_own_clients_only() {
        let flights = Flights::default();
        let crash = flights.join(request("git"), KEEP, |_| async { panic!("as the test wants") });
        let failure = crash.await.unwrap_err();
        assert!(matches!(failure.error(), AssembleError::Crashed));
        let image = Image { manifests: Vec::new() };
        let next = flights.join(request("git"), KEEP, |_| async { Ok(Arc::new(image)) });
        assert!(next.await.is_ok());
    }
}
