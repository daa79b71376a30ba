//! Paths in the Nix store.

use std::borrow::Borrow;
use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Length of the hash in front of a store path's name: 160 bits in Nix's base 32.
/// Source: Nix manual, "Store Path".
const HASH_LENGTH: usize = 32;

/// The absolute path of one store object, such as
/// `/nix/store/3k8m…-bash-5.2`, checked to be exactly that: nothing below it,
/// no `.` or `..`, no spaces or control characters, and a hash and a name in its last component.
///
/// The order is that of the paths' bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StorePath(String);

/// Why a string is not a store path.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{path:?} is not a store path: expected an absolute path whose last component is 32 \
     characters of hash, a dash and a name, such as /nix/store/…-bash-5.2"
)]
pub struct InvalidStorePath {
    path: String,
}

impl StorePath {
    /// Checks `path` and takes it over.
    pub fn new(path: impl Into<String>) -> Result<Self, InvalidStorePath> {
        let path = path.into();
        if is_store_path(&path) { Ok(Self(path)) } else { Err(InvalidStorePath { path }) }
    }

    /// The whole path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The whole path, for the file system.
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }

    /// The last component: hash, dash, name.
    pub fn base_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// The name without the hash, such as `bash-5.2` or `git-2.47.0-doc`.
    pub fn name(&self) -> &str {
        &self.base_name()[HASH_LENGTH + 1..]
    }
}

fn is_store_path(path: &str) -> bool {
    let Some((store, base)) = path.rsplit_once('/') else { return false };
    let store_ok = store.starts_with('/')
        && store[1..].split('/').all(|part| !matches!(part, "" | "." | ".."))
        && !store.bytes().any(|byte| byte <= b' ' || byte == 0x7f);
    // Nix's own rule for names; it keeps what follows free of escaping questions.
    let name_ok = |c: u8| c.is_ascii_alphanumeric() || b"+-._?=".contains(&c);
    let base = base.as_bytes();
    store_ok
        && base.len() > HASH_LENGTH + 1
        && base[HASH_LENGTH] == b'-'
        && base[..HASH_LENGTH].iter().all(u8::is_ascii_alphanumeric)
        && base[HASH_LENGTH + 1..].iter().copied().all(name_ok)
}

impl TryFrom<String> for StorePath {
    type Error = InvalidStorePath;

    fn try_from(path: String) -> Result<Self, Self::Error> {
        Self::new(path)
    }
}

impl From<StorePath> for String {
    fn from(path: StorePath) -> Self {
        path.0
    }
}

impl Borrow<str> for StorePath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASH: &str = "/nix/store/00000000000000000000000000000000-bash-5.2";

    #[test]
    fn takes_a_store_path_apart() {
        let path = StorePath::new(BASH).unwrap();
        assert_eq!(path.base_name(), "00000000000000000000000000000000-bash-5.2");
        assert_eq!(path.name(), "bash-5.2");
    }

    #[test]
    fn refuses_what_is_not_exactly_one_store_object() {
        for wrong in [
            "",
            "bash",
            "/nix/store/bash-5.2",
            "/nix/store/00000000000000000000000000000000-",
            "/nix/store/00000000000000000000000000000000bash",
            "nix/store/00000000000000000000000000000000-bash",
            "/nix/../00000000000000000000000000000000-bash",
            "//00000000000000000000000000000000-bash",
            "/nix/store/00000000000000000000000000000000-bash/bin",
            "/nix/store/00000000000000000000000000000000-ba sh",
            "/nix/store/0000000000000000000000000000000é-bash",
            "/nix/store/00000000000000000000000000000000-bash\n",
            "/nix/store/00000000000000000000000000000000-bash!out",
            "/nix/store/00000000000000000000000000000000-bash#it",
            "/nix/st\nore/00000000000000000000000000000000-bash",
            "/nix /00000000000000000000000000000000-bash",
            "--option",
            "--expr",
        ] {
            assert!(StorePath::new(wrong).is_err(), "{wrong:?} was accepted");
        }
    }

    #[test]
    fn fuzzed() {
        let grammar =
            regex::Regex::new(r"\A(/[^/\x00-\x20\x7f]+)+/[0-9A-Za-z]{32}-[0-9A-Za-z+._?=-]+\z")
                .unwrap();
        crate::fuzz::parser(
            "store paths",
            [BASH, "/other/store/0123456789abcdfghijklmnpqrsvwxyz-a"],
        )
        .run(
            |input| {
                let path = StorePath::new(std::str::from_utf8(input).ok()?);
                path.map_err(|error| error.to_string()).ok()
            },
            |input, parsed| {
                let text = std::str::from_utf8(input).unwrap_or("");
                let leads_up = text.split('/').any(|part| matches!(part, "." | ".."));
                assert_eq!(parsed.is_some(), grammar.is_match(text) && !leads_up);
                if let Some(path) = parsed {
                    assert_eq!(path.as_str(), text);
                    assert!(text.ends_with(path.name()));
                }
            },
        );
    }
}
