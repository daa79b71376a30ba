//! What a client says to prove who it is: the header `Authorization`.
//!
//! Sources: RFC 7617 (Basic), RFC 6750 (Bearer), and the distribution's "Token
//! Authentication Specification", by which registry clients exchange the first for the
//! second.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use thiserror::Error;

/// The token of those who were asked for something and have nothing.
pub const ANONYMOUS_TOKEN: &str = "anonymous";

/// Before a name and password that were exchanged for a token.
const EXCHANGED: &str = "basic.";

/// Longest name and password together, in bytes.
const MAX_LENGTH: usize = 4096;

/// What a client presents.
#[derive(Clone, PartialEq, Eq)]
pub enum Presented {
    /// Nothing: it was not asked yet, perhaps.
    Nothing,
    /// That it has nothing.
    Anonymous,
    /// A name, and a password or a token.
    Password {
        /// The name.
        user: String,
        /// The password or token.
        password: Vec<u8>,
    },
    /// A token.
    Token(String),
}

/// A header that says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "the header Authorization can't be read: expected Basic with a name and a password, or Bearer \
     with a token"
)]
pub struct Malformed;

impl Presented {
    /// Reads the value of the header.
    pub fn parse(value: &[u8]) -> Result<Self, Malformed> {
        let value = std::str::from_utf8(value).map_err(|_| Malformed)?;
        let (scheme, rest) = value.trim().split_once(' ').ok_or(Malformed)?;
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("basic") {
            return pair(&STANDARD.decode(rest).map_err(|_| Malformed)?);
        }
        if !scheme.eq_ignore_ascii_case("bearer") || rest.is_empty() || rest.len() > 2 * MAX_LENGTH
        {
            return Err(Malformed);
        }
        if rest == ANONYMOUS_TOKEN {
            return Ok(Self::Anonymous);
        }
        match rest.strip_prefix(EXCHANGED) {
            Some(exchanged) => pair(&URL_SAFE_NO_PAD.decode(exchanged).map_err(|_| Malformed)?),
            None => Ok(Self::Token(rest.to_owned())),
        }
    }

    /// A token that stands for the same. It is no secret of the server, and no server has
    /// to know of it: what is in it is checked each time, as if it had come as it is.
    pub fn token(&self) -> String {
        match self {
            Self::Nothing | Self::Anonymous => ANONYMOUS_TOKEN.to_owned(),
            Self::Password { user, password } => {
                let pair = [user.as_bytes(), b":", password].concat();
                format!("{EXCHANGED}{}", URL_SAFE_NO_PAD.encode(pair))
            }
            Self::Token(token) => token.clone(),
        }
    }
}

/// Takes `user:password` apart. Clients without any send neither name nor password.
fn pair(decoded: &[u8]) -> Result<Presented, Malformed> {
    let colon = decoded.iter().position(|&c| c == b':').ok_or(Malformed)?;
    if decoded.len() > MAX_LENGTH {
        return Err(Malformed);
    }
    let (user, password) = (&decoded[..colon], &decoded[colon + 1..]);
    if user.is_empty() && password.is_empty() {
        return Ok(Presented::Nothing);
    }
    let user = std::str::from_utf8(user).map_err(|_| Malformed)?.to_owned();
    Ok(Presented::Password { user, password: password.to_owned() })
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("Nothing"),
            Self::Anonymous => f.write_str("Anonymous"),
            Self::Password { user, .. } => f.debug_tuple("Password").field(user).finish(),
            Self::Token(_) => f.write_str("Token"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn password(user: &str, password: &str) -> Presented {
        Presented::Password { user: user.to_owned(), password: password.into() }
    }

    #[test]
    fn names_and_passwords_are_read_and_exchanged() {
        // RFC 7617, 2.
        let aladdin = Presented::parse(b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==").unwrap();
        assert_eq!(aladdin, password("Aladdin", "open sesame"));
        let exchanged = format!("Bearer {}", aladdin.token());
        assert_eq!(Presented::parse(exchanged.as_bytes()).unwrap(), aladdin);
        assert!(!format!("{aladdin:?}").contains("sesame"));

        let colons = Presented::parse(b"basic  YTpiOmM=").unwrap();
        assert_eq!(colons, password("a", "b:c"));
        assert_eq!(Presented::parse(b"Basic Og==").unwrap(), Presented::Nothing);
        assert_eq!(Presented::parse(b"bearer anonymous").unwrap(), Presented::Anonymous);
        assert_eq!(Presented::parse(b"Bearer x.y").unwrap(), Presented::Token("x.y".to_owned()));
    }

    #[test]
    fn what_says_nothing_is_refused() {
        let long = format!("Basic {}", STANDARD.encode("a:".repeat(MAX_LENGTH)));
        for wrong in [
            "",
            "Basic",
            "Basic ",
            "Basic %",
            "Basic YQ==",
            "Bearer",
            "Digest a:b",
            "Bearer basic.%",
            "Basic gYA6YQ==",
            &long,
        ] {
            assert_eq!(Presented::parse(wrong.as_bytes()), Err(Malformed), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(value in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Presented::parse(&value);
        }

        #[test]
        fn any_header_is_read_or_refused(value in "(Basic|bearer|Bearer basic\\.)? ?[A-Za-z0-9+/=_-]{0,20}") {
            if let Ok(presented) = Presented::parse(value.as_bytes())
                && presented != Presented::Nothing
            {
                let exchanged = format!("Bearer {}", presented.token());
                prop_assert_eq!(Presented::parse(exchanged.as_bytes()), Ok(presented));
            }
        }
    }
}
