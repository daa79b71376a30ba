//! Which client a request is of, where proxies stand between.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;

/// What proxies say of whom they pass a request on for: addresses, each proxy's at the end.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client that a request is of, among the request's extensions; `None` if that is not
/// known, as at a UNIX socket.
#[derive(Clone, Copy, Debug)]
pub struct Client(pub Option<IpAddr>);

/// The proxies whose word is taken.
#[derive(Clone, Debug, Default)]
pub(super) struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Those in these networks.
    pub(super) fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Whether this is the address of one.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The client that a request is of: the peer; if that is a trusted proxy, the last one in
    /// `X-Forwarded-For` that isn't. `None` as the peer is one at a UNIX socket, which is
    /// trusted, for whoever can open that is let in by the file's mode.
    pub(super) fn client(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Option<IpAddr> {
        let mut client = peer.map(|peer| peer.to_canonical());
        if client.is_some_and(|peer| !self.contains(peer)) {
            return client;
        }
        for value in headers.get_all(FORWARDED_FOR).iter().rev() {
            let Ok(list) = value.to_str() else { return client };
            for entry in list.rsplit(',') {
                // What isn't an address was not written by a proxy that can be believed.
                let Some(address) = address(entry.trim()) else { return client };
                client = Some(address);
                if !self.contains(address) {
                    return client;
                }
            }
        }
        client
    }
}

/// An address, with a port or without.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().or_else(|_| text.parse().map(|with: SocketAddr| with.ip()));
    address.ok().map(|address| address.to_canonical())
}

/// The addresses that one client most likely has all of: a site is given a /64 of IPv6, or
/// more (RFC 6177).
pub fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn client(peer: &str, lines: &[&str]) -> String {
        let networks = ["10.0.0.0/8", "2001:db8:1::/48"].map(|network| network.parse().unwrap());
        let proxies = TrustedProxies::new(networks.to_vec());
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, HeaderValue::from_str(line).unwrap());
        }
        let client = proxies.client(peer.parse().ok(), &headers);
        client.map_or("none".to_owned(), |client| client.to_string())
    }

    #[test]
    fn the_word_of_a_trusted_proxy_is_taken() {
        assert_eq!(client("10.0.0.1", &["192.0.2.7"]), "192.0.2.7");
        assert_eq!(client("::ffff:10.0.0.1", &["192.0.2.7"]), "192.0.2.7");
        assert_eq!(client("2001:db8:1::5", &["[2001:db8:9::1]:4000"]), "2001:db8:9::1");
        assert_eq!(client("10.0.0.1", &["192.0.2.7:4000"]), "192.0.2.7");
        assert_eq!(client("a UNIX socket", &["192.0.2.7"]), "192.0.2.7");
    }

    #[test]
    fn what_clients_write_before_the_proxies_does_not_count() {
        assert_eq!(client("10.0.0.1", &["198.51.100.1, 192.0.2.7"]), "192.0.2.7");
        assert_eq!(client("10.0.0.1", &["198.51.100.1", "192.0.2.7"]), "192.0.2.7");
        assert_eq!(client("10.0.0.1", &["198.51.100.1, 192.0.2.7, 10.0.0.2"]), "192.0.2.7");
        assert_eq!(client("192.0.2.7", &["198.51.100.1"]), "192.0.2.7");
    }

    #[test]
    fn what_is_no_address_ends_the_list() {
        assert_eq!(client("10.0.0.1", &["192.0.2.7, unknown"]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["unknown, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("a UNIX socket", &[]), "none");
    }

    #[test]
    fn a_site_of_ipv6_is_one_client() {
        let site = |text: &str| super::site(text.parse().unwrap()).to_string();
        assert_eq!(site("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(site("::ffff:192.0.2.7"), "192.0.2.7");
    }
}
