//! Accepting connections, and letting them end when the server is told to stop.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// For how long the first request of a connection is waited for that was accepted just
/// before the server was told to stop. Its client could not know.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// How long nothing is accepted after that failed, for want of file descriptors most
/// likely, which others have to give back.
const AFTER_FAILURE: Duration = Duration::from_millis(500);

/// Serves until `shutdown`, and then until the last response is sent.
pub(super) async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) {
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                connections.spawn(connection(stream, router.clone(), shutdown.clone()));
            }
            Err(error) if is_of_the_client(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "can't accept connections");
                tokio::time::sleep(AFTER_FAILURE).await;
            }
        }
    }
    // Whoever connects now is refused, or waits for the next server on systemd's socket.
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// Whether it left before it was accepted (accept(2), "Error handling").
fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn connection(stream: TcpStream, router: Router, shutdown: CancellationToken) {
    // A response is often a small head and then a body: don't wait to join them.
    let _ = stream.set_nodelay(true);
    let has_spoken = Arc::new(AtomicBool::new(false));
    let stream = Heard { stream, has_spoken: Arc::clone(&has_spoken) };
    let builder = Builder::new(TokioExecutor::new());
    let service = TowerToHyperService::new(router);
    let mut served = pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        // Errors are the client's, which left or doesn't speak HTTP.
        _ = served.as_mut() => return,
        () = shutdown.cancelled() => {}
    }
    if !has_spoken.load(Ordering::Relaxed) {
        // Ended now, it would get no answer to what it is about to ask.
        if tokio::time::timeout(FIRST_REQUEST, served.as_mut()).await.is_ok() {
            return;
        }
    }
    served.as_mut().graceful_shutdown();
    let _ = served.await;
}

/// A connection that knows whether its client has sent anything yet.
struct Heard {
    stream: TcpStream,
    has_spoken: Arc<AtomicBool>,
}

impl AsyncRead for Heard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.has_spoken.store(true, Ordering::Relaxed);
        }
        polled
    }
}

impl AsyncWrite for Heard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, buffer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
