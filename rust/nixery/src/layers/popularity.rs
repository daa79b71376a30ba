//! How many packages use a package, outside the image at hand.

use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use thiserror::Error;

use crate::store_path::StorePath;

/// No package set has this many packages: nixpkgs has about 120,000, and a table
/// lists each at most with and without its version.
const MAX_ENTRIES: usize = 1_000_000;

/// A table of package names and how often packages with these names are used.
///
/// Keys are names (`glibc`), names with version (`glibc-2.40-66`), or both. What
/// counts for a store path is, in this order:
///
/// 1. the entry of its package name, so that a new release is as popular as the
///    last one;
/// 2. the entry of exactly its name with version (and output suffix, which in
///    store path names comes after the version);
/// 3. the highest count among the entries of other versions (not the sum, which
///    would favour packages that come in many versions or outputs);
/// 4. otherwise 1, which is also the least that counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Popularity {
    exact: HashMap<String, u64>,
    highest_of_versions: HashMap<String, u64>,
}

/// Why a document is not a popularity table.
#[derive(Debug, Error)]
pub enum PopularityError {
    /// Not JSON, or not an object.
    #[error("the popularity table is not a JSON object of package names and counts")]
    Json(#[from] serde_json::Error),
    /// A count is negative, a fraction, too large, or no number.
    #[error(
        "the popularity table gives no count for {name:?}: expected a whole number from 0 to \
         18446744073709551615"
    )]
    Count {
        /// The key.
        name: String,
    },
    /// Far more entries than there are packages.
    #[error("the popularity table has {entries} entries, more than {MAX_ENTRIES}")]
    TooManyEntries {
        /// How many there are.
        entries: usize,
    },
}

impl Popularity {
    /// A table in which nothing is listed: everything counts 1.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Reads a table: a JSON object from names to counts.
    pub fn from_json(json: &[u8]) -> Result<Self, PopularityError> {
        let table: HashMap<String, Count> = serde_json::from_slice(json)?;
        if table.len() > MAX_ENTRIES {
            return Err(PopularityError::TooManyEntries { entries: table.len() });
        }
        let mut popularity = Self::empty();
        for (name, Count(count)) in table {
            let Some(count) = count else { return Err(PopularityError::Count { name }) };
            let package = package_name(&name);
            if package.len() < name.len() {
                let highest = popularity.highest_of_versions.entry(package.to_owned()).or_default();
                *highest = count.max(*highest);
            }
            popularity.exact.insert(name, count);
        }
        Ok(popularity)
    }

    /// How popular the package is that `path` belongs to: at least 1.
    pub fn of(&self, path: &StorePath) -> u64 {
        let name = path.name();
        let package = package_name(name);
        let count = self
            .exact
            .get(package)
            .or_else(|| self.exact.get(name))
            .or_else(|| self.highest_of_versions.get(package));
        count.map_or(1, |&count| count.max(1))
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.exact.len()
    }

    /// Whether nothing is listed.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty()
    }
}

/// What is in a table under a name: a count, or anything else, of which nothing is kept
/// however large it is.
struct Count(Option<u64>);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CountVisitor)
    }
}

struct CountVisitor;

impl<'de> Visitor<'de> for CountVisitor {
    type Value = Count;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a count")
    }

    fn visit_u64<E>(self, count: u64) -> Result<Count, E> {
        Ok(Count(Some(count)))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Count, E> {
        Ok(Count(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Count, E> {
        Ok(Count(None))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Count, E> {
        Ok(Count(None))
    }

    fn visit_str<E>(self, _: &str) -> Result<Count, E> {
        Ok(Count(None))
    }

    fn visit_unit<E>(self) -> Result<Count, E> {
        Ok(Count(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Count, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Count(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Count, A::Error> {
        while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Count(None))
    }
}

/// The package name in a store path's name: what stands before the first dash
/// that is followed by something other than a letter, or all of it.
/// Source: `builtins.parseDrvName`, Nix manual, "Built-ins".
pub(super) fn package_name(name: &str) -> &str {
    let starts_version = |pair: &[u8]| pair[0] == b'-' && !pair[1].is_ascii_alphabetic();
    match name.as_bytes().windows(2).position(starts_version) {
        // A position of an ASCII dash is a character boundary.
        Some(dash) => &name[..dash],
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::tests::path;

    #[test]
    fn splits_names_like_nix() {
        for (name, package) in [
            ("glibc-2.40-66", "glibc"),
            ("glibc-2.40-66-bin", "glibc"),
            ("git-with-svn-2.47.0-doc", "git-with-svn"),
            ("python3.12-requests-2.32.3", "python3.12-requests"),
            ("gtk+3-3.24", "gtk+3"),
            ("nss-cacert-3.108", "nss-cacert"),
            ("font-util-unstable-2020", "font-util-unstable"),
            ("source", "source"),
            ("a--b", "a"),
            ("a-_b", "a"),
            ("-1", ""),
            ("trailing-", "trailing-"),
            ("", ""),
        ] {
            assert_eq!(package_name(name), package, "{name}");
        }
    }

    #[test]
    fn prefers_the_name_then_the_version_then_other_versions() {
        let json =
            br#"{"glibc": 900, "glibc-2.40-66": 5, "openssl-3.4.0": 40, "openssl-1.1.1w": 70,
                        "openssl-3.4.0-dev": 3, "unused": 0}"#;
        let table = Popularity::from_json(json).unwrap();
        for (name, count) in [
            ("glibc-2.40-66", 900),
            ("glibc-2.41-1-bin", 900),
            ("openssl-3.4.0", 40),
            ("openssl-3.4.0-dev", 3),
            ("openssl-3.5.0", 70),
            ("unknown-1.0", 1),
            ("unused", 1),
        ] {
            assert_eq!(table.of(&path(name)), count, "{name}");
        }
        assert_eq!(table.len(), 6);
        assert_eq!(Popularity::empty().of(&path("glibc-2.40-66")), 1);
    }

    /// All of it was read into memory, at thirty times its size.
    #[test]
    fn takes_no_memory_for_what_is_no_count() {
        let json = format!(r#"{{"a":[{}0],"b":{{"c":"d"}}}}"#, "0,".repeat(1_000_000));
        let memory = allocation_counter::measure(|| {
            let error = Popularity::from_json(json.as_bytes()).unwrap_err();
            assert!(matches!(error, PopularityError::Count { .. }), "{error}");
        });
        assert!(memory.bytes_max < 10_000, "{memory:?}");
    }

    #[test]
    fn refuses_what_is_no_count_and_names_the_key() {
        for value in ["-1", "1.5", "1e30", "18446744073709551616", "\"7\"", "null", "[]"] {
            let json = format!(r#"{{"fine": 1, "glibc-2.40": {value}}}"#);
            let error = Popularity::from_json(json.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("\"glibc-2.40\""), "{value}: {error}");
        }
        for json in ["", "[]", "{", "7", "{\"a\":1} x"] {
            let error = Popularity::from_json(json.as_bytes()).unwrap_err();
            assert!(matches!(error, PopularityError::Json(_)), "{json}: {error}");
        }
        assert!(Popularity::from_json(br#"{"a": 18446744073709551615}"#).is_ok());
    }

    #[test]
    fn fuzzed() {
        let seeds = [
            r#"{"glibc":900,"glibc-2.40-66":5,"openssl-1.1.1w":70,"unused":0}"#,
            r#"{"a-1": 18446744073709551615, "":1}"#,
            "{}",
        ];
        let words = [r#""glibc":"#, r#""openssl-3.0":70,"#, "-1", "--"];
        crate::fuzz::parser("popularity tables", seeds).words(words).factor(48).run(
            |input| Popularity::from_json(input).map_err(|error| error.to_string()).ok(),
            |input, parsed| {
                let Some(popularity) = parsed else { return };
                assert!(popularity.of(&path("glibc-2.40-66")) >= 1);
                assert!(popularity.len() <= input.len());
                let name = String::from_utf8_lossy(input);
                assert!(name.starts_with(package_name(&name)));
            },
        );
    }
}
