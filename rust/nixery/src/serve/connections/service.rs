//! What every request passes on its way in, and every answer on its way out.

use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::header::{CONNECTION, HOST};
use axum::http::uri::Authority;
use axum::http::{HeaderName, HeaderValue, Method, Request, Response, Version};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::Service;
use tower_service::Service as _;

use super::activity::{Activity, InFlight};
use super::streams::{Turn, turn};
use crate::http::Limiter;

/// What proxies say of how they were reached.
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The requests of one connection.
pub(super) struct Requests {
    pub(super) router: Router,
    pub(super) limiter: Arc<Limiter>,
    pub(super) activity: Arc<Activity>,
    /// `None` at a UNIX socket.
    pub(super) peer: Option<IpAddr>,
    pub(super) is_tls: bool,
}

impl Service<Request<Incoming>> for Requests {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let is_http2 = request.version() == Version::HTTP_2;
        let in_flight = self.activity.request(is_http2);
        // What comes after CONNECT is no request to a proxy either.
        let is_last = !request.body().is_end_stream() || request.method() == Method::CONNECT;
        name_address(&mut request, self.is_tls);
        let (limiter, peer, mut router) =
            (Arc::clone(&self.limiter), self.peer, self.router.clone());
        let client = limiter.client(&request, peer);
        request.extensions_mut().insert(client);
        Box::pin(async move {
            let mut response = match limiter.refusal(&request, peer) {
                Some(refusal) => refusal,
                None => router.call(request).await?,
            };
            if is_last && !is_http2 {
                // Nothing reads it. Where it ends might be seen otherwise by a proxy, so what
                // comes after it is no request (RFC 9112, 11.2).
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            let turn = turn();
            if let Some(turn) = &turn {
                turn.of_client();
            }
            Ok(response.map(|body| Answer { body, turn, _in_flight: in_flight }))
        })
    }
}

/// Puts into the headers by which address the client came: HTTP/2 has the host elsewhere, and
/// so may HTTP/1 (RFC 9112, 3.2.2).
fn name_address<B>(request: &mut Request<B>, is_tls: bool) {
    let authority = request.uri().authority().map(Authority::as_str);
    if let Some(host) = authority.and_then(|authority| HeaderValue::try_from(authority).ok()) {
        request.headers_mut().insert(HOST, host);
    }
    if is_tls && !request.headers().contains_key(FORWARDED_PROTO) {
        request.headers_mut().insert(FORWARDED_PROTO, HeaderValue::from_static("https"));
    }
}

/// The body of an answer, with which its request ends.
pub(super) struct Answer {
    body: Body,
    turn: Option<Arc<Turn>>,
    _in_flight: InFlight,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Some(turn) = &self.turn {
            match &polled {
                Poll::Ready(_) => turn.of_client(),
                Poll::Pending => turn.of_server(),
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
