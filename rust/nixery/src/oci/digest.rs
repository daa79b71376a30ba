//! Content digests.
//!
//! Only SHA-256, the one algorithm that every registry client must know
//! (OCI image specification, "Digests").

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// A SHA-256 digest, written `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

/// Why a string is not a digest that this registry can hold.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text:?} is not a digest: expected \"sha256:\" and 64 lower-case hexadecimal digits")]
pub struct InvalidDigest {
    text: String,
}

impl Digest {
    /// Takes over the 32 bytes that a SHA-256 hasher gave.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest of `content`.
    pub fn of(content: &[u8]) -> Self {
        Self(Sha256::digest(content).into())
    }

    /// The digest of all that `reader` has. May wait for it.
    pub fn of_reader(mut reader: impl Read) -> io::Result<Self> {
        let mut buffer = vec![0; 256 * 1024];
        let mut hasher = Sha256::new();
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(Self(hasher.finalize().into())),
                Ok(read) => hasher.update(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The digest that [`hex`](Self::hex) wrote, from a file name.
    pub fn from_hex(hex: &str) -> Option<Self> {
        format!("sha256:{hex}").parse().ok()
    }

    /// The 64 hexadecimal digits without the algorithm: a file name.
    pub fn hex(&self) -> String {
        hex(&self.0)
    }
}

/// `bytes` as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|nibble| char::from(DIGITS[usize::from(nibble)]))
        .collect()
}

/// Whether `text` is a digest of any algorithm, also of one that nothing here has.
/// Source: OCI image specification, "Digests".
pub fn is_of_any_algorithm(text: &str) -> bool {
    let Some((algorithm, encoded)) = text.split_once(':') else { return false };
    let is_word = |part: &str| {
        !part.is_empty() && part.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    };
    let is_lower_hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
    let of_length = |length| encoded.len() == length && encoded.bytes().all(is_lower_hex);
    match algorithm {
        "sha256" => of_length(64),
        "sha512" => of_length(128),
        _ => {
            let is_encoded = |c: u8| c.is_ascii_alphanumeric() || b"=_-".contains(&c);
            algorithm.split(['+', '.', '_', '-']).all(is_word)
                && !encoded.is_empty()
                && encoded.bytes().all(is_encoded)
        }
    }
}

/// The value of one lower-case hexadecimal digit.
fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let digits: &[u8; 64] = text.strip_prefix("sha256:")?.as_bytes().try_into().ok()?;
            let mut bytes = [0; 32];
            for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
                *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
            }
            Some(Self(bytes))
        };
        parse().ok_or_else(|| InvalidDigest { text: text.chars().take(100).collect() })
    }
}

impl TryFrom<String> for Digest {
    type Error = InvalidDigest;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn reads_and_writes_the_standard_form() {
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        assert_eq!(EMPTY.parse(), Ok(Digest::of(b"")));
    }

    #[test]
    fn refuses_other_forms() {
        let upper = EMPTY.to_uppercase();
        let long = format!("{EMPTY}0");
        let spaced = format!(" {EMPTY}");
        for wrong in ["", "latest", &EMPTY[7..], &EMPTY[..70], &upper, &long, &spaced, "sha512:00"]
        {
            assert!(wrong.parse::<Digest>().is_err(), "{wrong:?} was accepted");
        }
    }

    #[test]
    fn knows_digests_of_other_algorithms() {
        let of_other = format!("sha512:{}", "0".repeat(128));
        for right in [&Digest::of(b"").to_string()[..], &of_other, "multihash+base58:QmRZxt2b1FVZP"]
        {
            assert!(is_of_any_algorithm(right), "{right}");
        }
        for wrong in ["", ":", "a:", "sha256:0", "sha512:0", "SHA256:0", "a++b:0", "a:b:c", "a:ä"]
        {
            assert!(!is_of_any_algorithm(wrong), "{wrong}");
        }
    }

    /// The grammar of the OCI image specification ("Digests"), for the one algorithm.
    #[test]
    fn fuzzed() {
        let grammar = regex::Regex::new(r"\Asha256:[a-f0-9]{64}\z").unwrap();
        let seeds = [Digest::of(b"").to_string(), Digest::of(b"a").to_string(), "sha512:0".into()];
        crate::fuzz::parser("digests", seeds).words(["sha256:", "sha256+b64u:"]).run(
            |input| {
                let text = std::str::from_utf8(input).ok()?;
                text.parse::<Digest>().map_err(|error| error.to_string()).ok()
            },
            |input, parsed| {
                let text = std::str::from_utf8(input).unwrap_or("\0");
                assert_eq!(parsed.is_some(), grammar.is_match(text));
                if let Some(digest) = parsed {
                    assert_eq!(digest.to_string(), text);
                    assert_eq!(Digest::from_hex(&digest.hex()), Some(digest));
                }
            },
        );
    }
}
