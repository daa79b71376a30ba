//! What a connection is doing, and whether its client takes too long for it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::counters::Slow;

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub(in crate::serve) struct Patience {
    /// For the head of a request.
    pub(in crate::serve) head: Duration,
    /// Until the next request.
    pub(in crate::serve) idle: Duration,
    /// For the next bytes of an answer.
    pub(in crate::serve) write: Duration,
}

impl Patience {
    /// How often it is looked whether somebody takes too long: late by a quarter at most.
    pub(super) fn tick(&self) -> Duration {
        (self.head.min(self.idle).min(self.write) / 4).min(Duration::from_secs(5))
    }
}

/// A moment, or none.
#[derive(Debug, Default)]
pub(super) struct Since(AtomicU64);

impl Since {
    fn set(&self, begin: Instant) {
        // Zero is none.
        let moment = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.store(moment.saturating_add(1), Ordering::Relaxed);
    }

    fn set_first(&self, begin: Instant) {
        if self.0.load(Ordering::Relaxed) == 0 {
            self.set(begin);
        }
    }

    fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    fn is_over(&self, begin: Instant, patience: Duration) -> bool {
        match self.0.load(Ordering::Relaxed) {
            0 => false,
            moment => begin.elapsed() >= Duration::from_millis(moment - 1) + patience,
        }
    }
}

/// What a connection is doing. Shared by its stream, its requests and who watches it.
#[derive(Debug)]
pub(super) struct Activity {
    begin: Instant,
    has_spoken: AtomicBool,
    is_http2: AtomicBool,
    /// Requests that are not answered to their end.
    requests: AtomicUsize,
    /// The head of a request is waited for.
    head: Since,
    /// There are no requests.
    idle: Since,
    /// The client takes no bytes.
    write: Since,
}

impl Activity {
    /// Of a new connection: its first request is waited for.
    pub(super) fn new() -> Arc<Self> {
        let activity = Self {
            begin: Instant::now(),
            has_spoken: AtomicBool::new(false),
            is_http2: AtomicBool::new(false),
            requests: AtomicUsize::new(0),
            head: Since::default(),
            idle: Since::default(),
            write: Since::default(),
        };
        activity.head.set(activity.begin);
        Arc::new(activity)
    }

    /// Whether its client has sent anything yet.
    pub(super) fn has_spoken(&self) -> bool {
        self.has_spoken.load(Ordering::Relaxed)
    }

    /// A request begins, and ends when this is dropped.
    pub(super) fn request(self: &Arc<Self>, is_http2: bool) -> InFlight {
        self.is_http2.store(is_http2, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.head.clear();
        self.idle.clear();
        InFlight(Arc::clone(self))
    }

    /// What its client takes too long for.
    fn overdue(&self, patience: &Patience) -> Option<Slow> {
        let is_over = |since: &Since, patience| since.is_over(self.begin, patience);
        if is_over(&self.write, patience.write) {
            return Some(Slow::Write);
        }
        if self.requests.load(Ordering::Relaxed) > 0 {
            return None;
        }
        if is_over(&self.head, patience.head) {
            return Some(Slow::Head);
        }
        is_over(&self.idle, patience.idle).then_some(Slow::Idle)
    }

    /// Waits until its client takes too long for something.
    pub(super) async fn slow(&self, patience: &Patience) -> Slow {
        loop {
            tokio::time::sleep(patience.tick()).await;
            if let Some(slow) = self.overdue(patience) {
                return slow;
            }
        }
    }

    fn heard(&self) {
        self.has_spoken.store(true, Ordering::Relaxed);
        // HTTP/2 says more than requests, so there what is sent between them is no head.
        if self.requests.load(Ordering::Relaxed) == 0 && !self.is_http2.load(Ordering::Relaxed) {
            self.head.set_first(self.begin);
        }
    }

    fn wrote<T>(&self, polled: &Poll<io::Result<T>>) {
        match polled {
            Poll::Pending => self.write.set_first(self.begin),
            Poll::Ready(_) => self.write.clear(),
        }
    }
}

/// A request that is not answered to its end.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Activity>);

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.0.requests.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.idle.set(self.0.begin);
        }
    }
}

/// A stream whose activity is known.
pub(super) struct Watched<S> {
    pub(super) stream: S,
    pub(super) activity: Arc<Activity>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.activity.heard();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, buffer);
        self.activity.wrote(&polled);
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, buffers);
        self.activity.wrote(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        self.activity.wrote(&polled);
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_may_wait_for_an_answer_but_not_be_waited_for() {
        let patience =
            Patience { head: Duration::ZERO, idle: Duration::ZERO, write: Duration::ZERO };
        let activity = Activity::new();
        assert_eq!(activity.overdue(&patience), Some(Slow::Head), "the first request");
        let (one, two) = (activity.request(false), activity.request(false));
        assert_eq!(activity.overdue(&patience), None);
        activity.heard();
        drop(one);
        assert_eq!(activity.overdue(&patience), None);
        drop(two);
        assert_eq!(activity.overdue(&patience), Some(Slow::Idle));
        activity.heard();
        assert_eq!(activity.overdue(&patience), Some(Slow::Head), "the next request");
        let third = activity.request(false);
        activity.wrote(&Poll::<io::Result<()>>::Pending);
        assert_eq!(activity.overdue(&patience), Some(Slow::Write));
        activity.wrote(&Poll::Ready(Ok(())));
        assert_eq!(activity.overdue(&patience), None);
        drop(third);
        drop(activity.request(true));
        activity.heard();
        assert_eq!(activity.overdue(&patience), Some(Slow::Idle), "of HTTP/2 it may be a ping");
    }

    #[test]
    fn nothing_is_overdue_before_its_time() {
        let hour = Duration::from_hours(1);
        let patience = Patience { head: hour, idle: hour, write: hour };
        let activity = Activity::new();
        assert_eq!(activity.overdue(&patience), None);
        drop(activity.request(false));
        activity.wrote(&Poll::<io::Result<()>>::Pending);
        assert_eq!(activity.overdue(&patience), None);
    }
}
