//! How clients reach the server, and what they may take.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::effective::MAX_SECONDS;
use super::origin::{Layers, how_to_set};
use super::raw::Raw;
use super::storage::{credential, secret_file};
use super::{ConfigError, Environment, LimitsConfig, TlsFiles};

/// What systemd's credentials are called that stand for `tls.certificate` and `tls.key`.
const CERTIFICATE_CREDENTIAL: &str = "tls-certificate";
const KEY_CREDENTIAL: &str = "tls-key";

/// The files with certificate and key, if TLS is to be spoken.
pub(super) fn tls(
    raw: &Raw,
    layers: &Layers,
    environment: &Environment,
) -> Result<Option<TlsFiles>, ConfigError> {
    let set = |key: &str, path: Option<&String>| {
        path.map(|path| secret_file(layers, key, path)).transpose()
    };
    let certificate = set("tls.certificate", raw.tls.certificate.as_ref())?;
    let key = set("tls.key", raw.tls.key.as_ref())?;
    let is_set = (certificate.is_some(), key.is_some());
    let certificate = certificate.or_else(|| credential(environment, CERTIFICATE_CREDENTIAL));
    let key = key.or_else(|| credential(environment, KEY_CREDENTIAL));
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some(TlsFiles { certificate, key })),
        (Some(_), None) if is_set.0 => {
            let problem = format!("a certificate needs its key: set {} too", how_to_set("tls.key"));
            Err(layers.invalid("tls.certificate", problem))
        }
        (None, Some(_)) if is_set.1 => {
            let certificate = how_to_set("tls.certificate");
            let problem = format!("a key needs its certificate: set {certificate} too");
            Err(layers.invalid("tls.key", problem))
        }
        // What systemd passes alone may be for another program.
        (_, _) => Ok(None),
    }
}

/// The networks of trusted proxies; an address is one that has no other in it.
pub(super) fn trusted_proxies(raw: &Raw, layers: &Layers) -> Result<Vec<IpNet>, ConfigError> {
    let network = |text: &String| {
        let address = || text.parse::<IpAddr>().map(IpNet::from);
        text.parse::<IpNet>().or_else(|_| address()).map(canonical).map_err(|_| {
            let problem = format!(
                "found {text:?}, expected IP addresses and networks such as 10.0.0.0/8 and \
                 2001:db8::/32"
            );
            layers.invalid("server.trusted_proxies", problem)
        })
    };
    raw.server.trusted_proxies.iter().flatten().map(network).collect()
}

/// The network of IPv4 that one of IPv6 stands for, whose addresses clients have here
/// (RFC 4291, 2.5.5.2).
fn canonical(network: IpNet) -> IpNet {
    let of_v4 = |network: &Ipv6Net| {
        let address = network.addr().to_ipv4_mapped()?;
        Ipv4Net::new(address, network.prefix_len().checked_sub(96)?).ok()
    };
    match network {
        IpNet::V4(_) => network,
        IpNet::V6(v6) => of_v4(&v6).map_or(network, IpNet::V4),
    }
}

/// Fills in defaults and checks every value.
pub(super) fn limits(raw: &Raw, layers: &Layers) -> Result<LimitsConfig, ConfigError> {
    let number = |name: &str, set: Option<u64>, default: u64, low: u64, high: u64| {
        let number = set.unwrap_or(default);
        if (low..=high).contains(&number) {
            return Ok(number);
        }
        let problem = format!("found {number}, expected a number from {low} to {high}");
        Err(layers.invalid(&format!("limits.{name}"), problem))
    };
    // Every range given here is far below what these types hold.
    let count = |name, set, default, low, high| {
        number(name, set, default, low, high).map(|n| usize::try_from(n).unwrap_or(usize::MAX))
    };
    let small = |name, set, default, low, high| {
        number(name, set, default, low, high).map(|n| u32::try_from(n).unwrap_or(u32::MAX))
    };
    let seconds =
        |name, set, default| number(name, set, default, 1, MAX_SECONDS).map(Duration::from_secs);
    let limits = &raw.limits;
    let many = 1_000_000;
    Ok(LimitsConfig {
        connections: count("connections", limits.connections, 4096, 1, many)?,
        connections_per_address: count(
            "connections_per_address",
            limits.connections_per_address,
            1024,
            1,
            many,
        )?,
        streams: small("streams", limits.streams, 16, 1, 10_000)?,
        header_timeout: seconds("header_timeout", limits.header_timeout, 30)?,
        idle_timeout: seconds("idle_timeout", limits.idle_timeout, 120)?,
        write_timeout: seconds("write_timeout", limits.write_timeout, 120)?,
        // Above, the parsers refuse them, without words.
        header_bytes: count("header_bytes", limits.header_bytes, 16384, 1024, 65536)?,
        url_bytes: count("url_bytes", limits.url_bytes, 8192, 1024, 65000)?,
        body_bytes: number("body_bytes", limits.body_bytes, 65536, 0, 1 << 40)?,
        requests_per_second: Some(small(
            "requests_per_second",
            limits.requests_per_second,
            0,
            0,
            1_000_000,
        )?)
        .filter(|&rate| rate != 0),
        requests_burst: small("requests_burst", limits.requests_burst, 500, 1, 1_000_000)?,
        watchers: count("watchers", limits.watchers, 1000, 0, many)?,
        downloads: count("downloads", limits.downloads, 1024, 1, many)?,
        downloads_per_address: count(
            "downloads_per_address",
            limits.downloads_per_address,
            512,
            1,
            many,
        )?,
    })
}
