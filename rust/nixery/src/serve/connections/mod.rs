//! Accepting connections, and letting them end when the server is told to stop.

mod activity;
mod admission;
mod service;
mod streams;

use std::error::Error;
use std::io;
use std::iter;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::listener::Listener;
use super::presence::Presence;
use super::stream::{Lingering, Stream};
use super::tls::Tls;
use crate::config::LimitsConfig;
use crate::counters::{self, Slow};
use crate::http::Limiter;
use activity::{Activity, Patience, Watched};
use admission::{Admission, ask_for_tls, refuse};
use service::Requests;
use streams::Streams;

/// For how long the first request of a connection is waited for that was accepted just
/// before the server was told to stop. Its client could not know.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// How long nothing is accepted after that failed, for want of file descriptors most
/// likely, which others have to give back.
const AFTER_FAILURE: Duration = Duration::from_millis(500);

/// Bytes that are kept of a connection in each direction: requests that are read, and answers
/// that wait to be sent. One piece of a blob is as large, and not divided: when a part of it is
/// sent, the next is got ready, so there may be two.
const BUFFER: usize = 128 * 1024;

/// What a TLS connection begins with (RFC 8446, 5.1: a record with a handshake).
const HANDSHAKE: u8 = 22;

/// What all connections have in common.
pub(super) struct Server {
    router: Router,
    limiter: Arc<Limiter>,
    /// Of TCP alone: a UNIX socket is for proxies on this machine.
    tls: Option<Arc<Tls>>,
    admission: Admission,
    http: Builder<Streams>,
    patience: Patience,
    presence: Presence,
    shutdown: CancellationToken,
}

impl Server {
    pub(super) fn new(
        router: Router,
        limiter: Limiter,
        tls: Option<Arc<Tls>>,
        limits: &LimitsConfig,
        shutdown: CancellationToken,
    ) -> Self {
        let patience = Patience {
            head: limits.header_timeout,
            idle: limits.idle_timeout,
            write: limits.write_timeout,
        };
        let presence = Presence::new(limits.write_timeout);
        let streams = Streams { patience: patience.write, tick: patience.tick() };
        let mut http = Builder::new(streams);
        // How long a head may take is looked after by `Activity`: here it would also count
        // the time between requests.
        http.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(BUFFER);
        http.http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(presence.ping_every())
            .keep_alive_timeout(presence.ping_timeout())
            .max_concurrent_streams(limits.streams)
            .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
            .max_send_buf_size(BUFFER);
        Self {
            router,
            limiter: Arc::new(limiter),
            tls,
            admission: Admission::new(limits.connections, limits.connections_per_address),
            http,
            patience,
            presence,
            shutdown,
        }
    }

    /// Serves until told to stop, and then until the last response is sent.
    pub(super) async fn serve(self, listener: Listener) {
        let server = Arc::new(self);
        let connections = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = server.shutdown.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => Self::begin(&server, &connections, stream, peer),
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

    fn begin(server: &Arc<Self>, connections: &TaskTracker, stream: Stream, peer: Option<IpAddr>) {
        let counted = peer.filter(|&peer| !server.limiter.trusts(peer));
        match server.admission.enter(counted) {
            Ok(place) => {
                server.presence.look_after(&stream);
                let server = Arc::clone(server);
                connections.spawn(async move {
                    server.connection(stream, peer).await;
                    drop(place);
                });
            }
            Err(full) => {
                counters::connection_refused(full);
                // To say it by TLS is work that is to be saved here.
                if server.tls.is_none()
                    && let Some(turn) = server.admission.tell()
                {
                    connections.spawn(async move {
                        refuse(stream, full).await;
                        drop(turn);
                    });
                }
            }
        }
    }

    async fn connection(self: &Arc<Self>, stream: Stream, peer: Option<IpAddr>) {
        let activity = Activity::new();
        let tls = self.tls.as_ref().filter(|_| matches!(stream, Stream::Tcp(_)));
        let Some(tls) = tls else {
            return self.speak(Lingering::new(stream), activity, peer, false).await;
        };
        let accepted = async {
            if begins_with_handshake(&stream).await {
                Ok(tls.acceptor().accept(Lingering::new(stream)).await)
            } else {
                Err(stream)
            }
        };
        let accepted = tokio::select! {
            accepted = tokio::time::timeout(self.patience.head, accepted) => accepted,
            () = self.ending() => return,
        };
        match accepted {
            Ok(Ok(Ok(stream))) => self.speak(stream, activity, peer, true).await,
            // The client doesn't trust the certificate, or has left.
            Ok(Ok(Err(error))) => tracing::debug!(%error, ?peer, "no TLS with a client"),
            Ok(Err(stream)) => ask_for_tls(stream).await,
            Err(_) => counters::timed_out(Slow::Head),
        }
    }

    /// Once the server was told to stop and clients had a moment.
    async fn ending(&self) {
        self.shutdown.cancelled().await;
        tokio::time::sleep(FIRST_REQUEST).await;
    }

    async fn speak(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        activity: Arc<Activity>,
        peer: Option<IpAddr>,
        is_tls: bool,
    ) {
        let requests = Requests {
            router: self.router.clone(),
            limiter: Arc::clone(&self.limiter),
            activity: Arc::clone(&activity),
            peer,
            is_tls,
        };
        let stream = Watched { stream, activity: Arc::clone(&activity) };
        let mut served = pin!(self.http.serve_connection(TokioIo::new(stream), requests));
        let mut is_ending = false;
        loop {
            let slow = tokio::select! {
                ended = served.as_mut() => {
                    // Other errors are the client's, which left or doesn't speak HTTP.
                    if ended.is_err_and(|error| is_for_silence(&*error)) {
                        counters::timed_out(Slow::Write);
                    }
                    return;
                }
                slow = activity.slow(&self.patience) => slow,
                () = self.shutdown.cancelled(), if !is_ending => {
                    // Ended now, who hasn't spoken would get no answer to what it is about
                    // to ask.
                    if !activity.has_spoken()
                        && tokio::time::timeout(FIRST_REQUEST, served.as_mut()).await.is_ok()
                    {
                        return;
                    }
                    is_ending = true;
                    served.as_mut().graceful_shutdown();
                    continue;
                }
            };
            counters::timed_out(slow);
            if slow != Slow::Idle || is_ending {
                return;
            }
            // One that comes at this very moment is still answered.
            is_ending = true;
            served.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(FIRST_REQUEST, served.as_mut()).await;
        }
    }
}

/// Whether it left before it was accepted (accept(2), "Error handling").
fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Whether the kernel has ended the connection as there was no sign of the client.
fn is_for_silence(error: &(dyn Error + 'static)) -> bool {
    iter::successors(Some(error), |&error| error.source()).any(|error| {
        error
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
    })
}

/// Whether TLS is spoken to the server. Waits for the first byte.
async fn begins_with_handshake(stream: &Stream) -> bool {
    let Stream::Tcp(stream) = stream else { return true };
    let mut first = [0];
    match stream.peek(&mut first).await {
        Ok(1) => first[0] == HANDSHAKE,
        // The handshake will say what it is.
        Ok(_) | Err(_) => true,
    }
}
