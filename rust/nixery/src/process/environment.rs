//! Which of the server's environment variables the programs get that it runs.
//!
//! They are said one by one, so that nothing is handed on because nobody thought of it:
//! credentials above all, which a package set could read and put into an image.

use std::ffi::{OsStr, OsString};

/// Variables that every program gets.
const NAMES: [&str; 24] = [
    // Where programs and their files are.
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    // Languages and times.
    "LANG",
    "LOCALE_ARCHIVE",
    "LOCPATH",
    "TZ",
    "TZDIR",
    // Certificate authorities.
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "CURL_CA_BUNDLE",
    // Logging in to repositories.
    "SSH_AUTH_SOCK",
    "SSH_ASKPASS",
    "SSH_ASKPASS_REQUIRE",
    // Proxies, as curl and git know them: in lower case; and all but the first in upper case.
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    // For OpenSSL, a file with more than certificates.
    "OPENSSL_CONF",
];

/// What the names of such variables may begin with.
const PREFIXES: [&str; 4] = ["LC_", "GIT_", "NIX_", "XDG_"];

/// Settings of the server that are called as if they were Nix's.
const OF_THE_SERVER: [&str; 2] = ["NIX_TIMEOUT", "NIX_POPULARITY_URL"];

/// Whether programs get the variable with this name.
pub(crate) fn is_passed_on(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    let begins = PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    (begins && !OF_THE_SERVER.contains(&name)) || NAMES.contains(&name)
}

/// What programs get of `variables`: those that all get, and those in `further`.
pub(super) fn passed_on(
    variables: impl Iterator<Item = (OsString, OsString)>,
    further: &[String],
) -> impl Iterator<Item = (OsString, OsString)> {
    variables.filter(move |(name, _)| {
        is_passed_on(name) || further.iter().any(|further| name == further.as_str())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_is_passed_on() {
        let names = [
            "PATH",
            "LC_ALL",
            "NIX_CONFIG",
            "GIT_SSH_COMMAND",
            "https_proxy",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "GCS_SIGNING_KEY",
            "CREDENTIALS_DIRECTORY",
            "NIXERY_CHANNEL",
            "NIX_POPULARITY_URL",
            "NOTIFY_SOCKET",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_PROFILE",
        ];
        let variables = names.iter().map(|name| (name.into(), "value".into()));
        let further = ["AWS_PROFILE".to_owned()];
        let passed: Vec<OsString> = passed_on(variables, &further).map(|(name, _)| name).collect();
        let expected =
            ["PATH", "LC_ALL", "NIX_CONFIG", "GIT_SSH_COMMAND", "https_proxy", "AWS_PROFILE"];
        assert_eq!(passed, expected);
    }
}
