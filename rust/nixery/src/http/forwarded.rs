//! Which client a request is of, where proxies stand between.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderName};
use ipnet::IpNet;

pub(super) use crate::places::site;

/// What proxies say of whom they pass a request on for: addresses, each proxy's at the end.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client that a request is of, among the request's extensions; `None` if that is not
/// known, as at a UNIX socket.
#[derive(Clone, Copy, Debug, Default)]
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
            // What stands before a proxy's entry is the client's, and may be any bytes.
            for entry in value.as_bytes().rsplit(|&byte| byte == b',') {
                // What isn't an address was not written by a proxy that can be believed.
                let entry = str::from_utf8(entry).ok().and_then(|entry| address(entry.trim()));
                let Some(address) = entry else { return client };
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

impl Client {
    /// As what serves connections has put it there.
    pub(super) fn of(extensions: &Extensions) -> Self {
        extensions.get().copied().unwrap_or_default()
    }
}

impl<S: Sync> FromRequestParts<S> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(request: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&request.extensions))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn client(peer: &str, lines: &[impl AsRef<[u8]>]) -> String {
        let networks = ["10.0.0.0/8", "2001:db8:1::/48"].map(|network| network.parse().unwrap());
        let proxies = TrustedProxies::new(networks.to_vec());
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, HeaderValue::from_bytes(line.as_ref()).unwrap());
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
        assert_eq!(client("10.0.0.1", &[""; 0]), "10.0.0.1");
        assert_eq!(client("a UNIX socket", &[""; 0]), "none");
    }

    /// A byte that is no text once hid the whole header, and with it the client.
    #[test]
    fn bytes_that_are_no_text_hide_nobody() {
        for peer in ["10.0.0.1", "a UNIX socket"] {
            assert_eq!(client(peer, &[b"\xff, 192.0.2.7"]), "192.0.2.7");
            assert_eq!(client(peer, &[&b"\xff"[..], b"192.0.2.7, 10.0.0.2"]), "192.0.2.7");
            assert_eq!(client(peer, &[b"192.0.2.9\xff, 10.0.0.2"]), "10.0.0.2");
        }
    }

    /// Lines of the header, against a second reading of them: whoever is named last, of
    /// those that no trusted proxy is.
    #[test]
    fn fuzzed() {
        let entry = regex::Regex::new(
            r"\A(?:\[(?<inner>[^\[\]]*)\]|\[(?<v6>[^\[\]%]*)(?:%[0-9]+)?\]:(?<p6>[0-9]{1,5})|(?<v4>[0-9.]+):(?<p4>[0-9]{1,5})|(?<bare>[^\[\]]*))\z",
        )
        .unwrap();
        let proxies = TrustedProxies::new(
            ["10.0.0.0/8", "2001:db8:1::/48"].map(|network| network.parse().unwrap()).to_vec(),
        );
        let seeds = [
            "198.51.100.1, 192.0.2.7, 10.0.0.2",
            "192.0.2.7:4000\n10.1.1.1, 10.0.0.2:80",
            "[2001:db8:9::1]:4000, 2001:db8:1::5, [2001:db8:1::6]",
            "unknown, ::ffff:10.0.0.9, ::ffff:192.0.2.7",
        ];
        let words = [", ", ",", "10.0.0.1", "::1", "[::1]", ":80", "unknown", "%1", "_hidden"];
        crate::fuzz::parser("X-Forwarded-For", seeds).words(words).run(
            |input| {
                let mut headers = HeaderMap::new();
                for line in input.split(|&byte| byte == b'\n') {
                    headers.append(FORWARDED_FOR, HeaderValue::from_bytes(line).ok()?);
                }
                let peers = [Some("10.0.0.1"), None, Some("192.0.2.1")];
                Some(peers.map(|peer| {
                    let peer = peer.map(|peer| peer.parse().unwrap());
                    proxies.client(peer, &headers)
                }))
            },
            |input, clients| {
                let Some([of_proxy, of_socket, of_stranger]) = clients else { return };
                assert_eq!(of_stranger, Some("192.0.2.1".parse().unwrap()));
                // All lines are one list (RFC 9110, 5.3).
                let entries = input.split(|&byte| byte == b',' || byte == b'\n').rev();
                let addresses = entries.map_while(|bytes| {
                    let found = entry.captures(std::str::from_utf8(bytes).ok()?.trim())?;
                    let ports = [found.name("p6"), found.name("p4")];
                    if ports.into_iter().flatten().any(|port| port.as_str().parse::<u16>().is_err())
                    {
                        return None;
                    }
                    let (four, six) = (found.name("v4"), found.name("v6"));
                    let address = match (four, six, found.name("inner").or(found.name("bare"))) {
                        (Some(four), _, _) => IpAddr::V4(four.as_str().parse().ok()?),
                        (_, Some(six), _) => IpAddr::V6(six.as_str().parse().ok()?),
                        (_, _, either) => either?.as_str().parse().ok()?,
                    };
                    Some(address.to_canonical())
                });
                let is_proxy = |address: &IpAddr| match address {
                    IpAddr::V4(four) => four.octets()[0] == 10,
                    IpAddr::V6(six) => six.segments()[..3] == [0x2001, 0xdb8, 1],
                };
                let addresses: Vec<IpAddr> = addresses.collect();
                let client = addresses.iter().find(|address| !is_proxy(address));
                let client = client.or(addresses.last()).copied();
                assert_eq!(of_socket, client);
                assert_eq!(of_proxy, client.or("10.0.0.1".parse().ok()));
            },
        );
    }
}
