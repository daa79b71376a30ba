//! What a request may be, and how many there may be.

use std::net::IpAddr;

use axum::http::header::CONTENT_LENGTH;
use axum::http::{Method, Request};
use axum::response::{IntoResponse, Response};
use ipnet::IpNet;

use super::error::ApiError;
use super::forwarded::{Client, TrustedProxies, site};
use super::rates::Rates;
use crate::counters::{self, Refused};

/// What a header takes beside name and value, as HTTP/2 counts it (RFC 9113, 6.5.2).
const HEADER_OVERHEAD: usize = 32;

/// What a request may be.
#[derive(Clone, Debug)]
pub struct RequestLimits {
    /// Bytes of the URL.
    pub url_bytes: usize,
    /// Bytes of names and values.
    pub header_bytes: usize,
    /// Bytes of a body, none of which is read.
    pub body_bytes: u64,
    /// Requests of one client in a second, in the long run; `None`: any number.
    pub per_second: Option<u32>,
    /// Requests of one client at once.
    pub burst: u32,
    /// Whose word on clients is taken.
    pub trusted_proxies: Vec<IpNet>,
}

/// Looks at every request before it is answered.
pub struct Limiter {
    limits: RequestLimits,
    proxies: TrustedProxies,
    rates: Option<Rates>,
}

impl Limiter {
    /// With these limits.
    pub fn new(limits: RequestLimits) -> Self {
        let proxies = TrustedProxies::new(limits.trusted_proxies.clone());
        let rates = limits.per_second.map(|rate| Rates::new(rate, limits.burst));
        Self { limits, proxies, rates }
    }

    /// Whether this is the address of a proxy that is trusted.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.proxies.contains(address)
    }

    /// Whom a request is of. `peer` is `None` at a UNIX socket.
    pub fn client<B>(&self, request: &Request<B>, peer: Option<IpAddr>) -> Client {
        Client(self.proxies.client(peer, request.headers()))
    }

    /// The answer to a request that is not let in. `peer` is `None` at a UNIX socket.
    pub fn refusal<B>(&self, request: &Request<B>, peer: Option<IpAddr>) -> Option<Response> {
        self.check(request, peer).err().map(IntoResponse::into_response)
    }

    fn check<B>(&self, request: &Request<B>, peer: Option<IpAddr>) -> Result<(), ApiError> {
        let RequestLimits { url_bytes, header_bytes, body_bytes, .. } = self.limits;
        // Whoever is over the rate is that with bad requests too.
        if let Some(rates) = &self.rates
            && let Some(client) = self.proxies.client(peer, request.headers())
            && let Err(wait) = rates.take(site(client))
        {
            counters::request_refused(Refused::Rate);
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            return Err(ApiError::TooManyRequests { seconds });
        }
        let url = request.uri().path_and_query().map_or(0, |url| url.as_str().len());
        if url > url_bytes {
            counters::request_refused(Refused::Url);
            return Err(ApiError::UrlTooLong(url_bytes));
        }
        let size = |(name, value): (&axum::http::HeaderName, &axum::http::HeaderValue)| {
            name.as_str().len() + value.len() + HEADER_OVERHEAD
        };
        if request.headers().iter().map(size).sum::<usize>() > header_bytes {
            counters::request_refused(Refused::Headers);
            return Err(ApiError::HeadersTooLarge(header_bytes));
        }
        // With these two, a body means nothing (RFC 9110, 9.3.1), and goes unread.
        if matches!(*request.method(), Method::GET | Method::HEAD) {
            return Ok(());
        }
        let length = request.headers().get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > body_bytes) {
            counters::request_refused(Refused::Body);
            return Err(ApiError::BodyTooLarge(body_bytes));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use axum::http::header::RETRY_AFTER;

    use super::*;

    fn limiter(per_second: Option<u32>) -> Limiter {
        Limiter::new(RequestLimits {
            url_bytes: 100,
            header_bytes: 1000,
            body_bytes: 10,
            per_second,
            burst: 2,
            trusted_proxies: vec!["10.0.0.1/32".parse().unwrap()],
        })
    }

    fn status(request: axum::http::request::Builder) -> u16 {
        let request = request.body(()).unwrap();
        limiter(None).refusal(&request, None).map_or(200, |response| response.status().as_u16())
    }

    #[test]
    fn what_is_too_large_is_refused() {
        let url = |length: usize| Request::get(format!("/{}", "a".repeat(length - 1)));
        assert_eq!(status(url(100)), 200);
        assert_eq!(status(url(101)), 414);
        let header = |length: usize| Request::get("/").header("x", "a".repeat(length));
        assert_eq!(status(header(900)), 200);
        assert_eq!(status(header(1000)), 431);
        let many = (0..50).fold(Request::get("/"), |request, _| request.header("x", ""));
        assert_eq!(status(many), 431);
        let body = |method: &str, length: &str| {
            Request::builder().method(method).uri("/").header(CONTENT_LENGTH, length)
        };
        assert_eq!(status(body("POST", "10")), 200);
        assert_eq!(status(body("POST", "11")), 413);
        assert_eq!(status(body("GET", "11")), 200);
    }

    #[test]
    fn who_asks_too_often_is_told_when_to_come_back() {
        let limiter = limiter(Some(1));
        let ask = |peer: &str, forwarded: &str| {
            let request = Request::get("/").header("x-forwarded-for", forwarded);
            limiter.refusal(&request.body(()).unwrap(), peer.parse().ok())
        };
        for _ in 0..2 {
            assert!(ask("192.0.2.1", "198.51.100.1").is_none());
        }
        let refused = ask("192.0.2.1", "198.51.100.2").unwrap();
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(refused.headers()[RETRY_AFTER], "1");
        assert!(ask("192.0.2.2", "").is_none(), "others are let in");
        for _ in 0..2 {
            assert!(ask("10.0.0.1", "198.51.100.3").is_none());
        }
        assert!(ask("10.0.0.1", "198.51.100.3").is_some());
        assert!(ask("10.0.0.1", "198.51.100.4").is_none(), "another client of the proxy");
        assert!((0..9).all(|_| ask("a UNIX socket", "").is_none()), "nobody knows who that is");
    }
}
