//! How clients reach the server.

use super::{Config, Path, TempDir, TlsFiles, fs, with};

#[test]
fn a_certificate_comes_with_its_key_by_settings_or_from_systemd() {
    let tls = |more: &[(&str, &str)]| Config::load(None, &with(more)).unwrap().server.tls;
    assert_eq!(tls(&[]), None);
    let files = TlsFiles { certificate: "/c.pem".into(), key: "/k.pem".into() };
    let set = [("NIXERY_TLS_CERTIFICATE", "/c.pem"), ("NIXERY_TLS_KEY", "/k.pem")];
    assert_eq!(tls(&set), Some(files.clone()));

    let directory = TempDir::new().unwrap();
    let passed = ("CREDENTIALS_DIRECTORY", directory.path().to_str().unwrap());
    fs::write(directory.path().join("tls-key"), "").unwrap();
    assert_eq!(tls(&[passed]), None, "a key alone may be for another program");
    let certificate = set[0];
    let of_systemd = tls(&[passed, certificate]).unwrap();
    assert_eq!(of_systemd.certificate, Path::new("/c.pem"));
    assert_eq!(of_systemd.key, directory.path().join("tls-key"));
    fs::write(directory.path().join("tls-certificate"), "").unwrap();
    assert!(tls(&[passed]).is_some());
    assert_eq!(tls(&[passed, set[0], set[1]]), Some(files));
}

/// A server without TLS was started where its user could not look into that directory.
#[test]
fn what_systemd_passes_and_nobody_can_look_at_is_not_taken_for_nothing() {
    let directory = TempDir::new().unwrap();
    // For root too.
    let unusable = directory.path().join("file");
    fs::write(&unusable, "").unwrap();
    let config =
        Config::load(None, &with(&[("CREDENTIALS_DIRECTORY", unusable.to_str().unwrap())]))
            .unwrap();
    assert_eq!(config.server.tls.unwrap().key, unusable.join("tls-key"));
    assert_eq!(config.access.unwrap().htpasswd, Some(unusable.join("htpasswd")));
}

#[test]
fn proxies_are_addresses_and_networks() {
    let text = "10.0.0.0/8, 192.0.2.1 2001:db8::/32,::1";
    let config = Config::load(None, &with(&[("NIXERY_TRUSTED_PROXIES", text)])).unwrap();
    let proxies: Vec<String> =
        config.server.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(proxies, ["10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32", "::1/128"]);
    // As sockets of IPv6 write addresses of IPv4, which is not how clients have them here.
    let text = "::ffff:10.0.0.0/104, ::ffff:192.0.2.1, ::/0";
    let config = Config::load(None, &with(&[("NIXERY_TRUSTED_PROXIES", text)])).unwrap();
    let proxies: Vec<String> =
        config.server.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(proxies, ["10.0.0.0/8", "192.0.2.1/32", "::/0"]);
}
