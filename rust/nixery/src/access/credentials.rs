//! The secrets that users prove themselves by: passwords in a file as Apache's `htpasswd`
//! writes it, and tokens in one of their SHA-256.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bcrypt::HashParts;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;
use thiserror::Error;

use super::rules::{USER_NAME, is_user_name};

/// Least doublings of bcrypt's work that there are.
const MIN_COST: u32 = 4;

/// Most doublings of bcrypt's work: at 15 it takes seconds to check one password.
const MAX_COST: u32 = 15;

/// Most bytes of a password that bcrypt looks at.
const MAX_PASSWORD: usize = 72;

/// Everything that clients are compared with.
#[derive(Debug, Default)]
pub struct Credentials {
    /// Passwords.
    pub passwords: Passwords,
    /// Tokens.
    pub tokens: Tokens,
}

impl Credentials {
    /// Whether there is a user of this name.
    pub fn have(&self, user: &str) -> bool {
        self.passwords.hashes.contains_key(user)
            || self.tokens.0.iter().any(|token| *token.user == *user)
    }
}

/// Users with bcrypt hashes of their passwords.
#[derive(Default)]
pub struct Passwords {
    hashes: BTreeMap<String, String>,
    /// Of the hashes, one that takes longest.
    slowest: Option<String>,
}

/// Users with SHA-256 of their tokens.
#[derive(Default)]
pub struct Tokens(Vec<Token>);

struct Token {
    user: Arc<str>,
    hash: [u8; 32],
}

/// A line of a file that can't be used. What the line says is not told: it may be a
/// secret.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {problem}")]
pub struct InvalidLine {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong, and what would be right.
    pub problem: String,
}

impl Passwords {
    /// Whether this is the user's password. Takes as long for users that there are none of.
    /// Works the processor for as long as the hash says, up to seconds.
    pub fn verify(&self, user: &str, password: &[u8]) -> bool {
        // bcrypt leaves out what is behind the 72nd byte, and repeats a shorter password with a
        // NUL behind it: with these, others would be as right as the password.
        if password.len() > MAX_PASSWORD || password.contains(&0) {
            return false;
        }
        let of_user = self.hashes.get(user);
        let Some(hash) = of_user.or(self.slowest.as_ref()) else { return false };
        // Nothing but the form of the hash can be wrong, and that was checked.
        let is_right = bcrypt::verify(password, hash).unwrap_or(false);
        is_right && of_user.is_some()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }
}

impl Tokens {
    /// The user whose token this is.
    pub fn user(&self, token: &[u8]) -> Option<&Arc<str>> {
        let hash = Sha256::digest(token);
        // All are looked at, so that time tells nothing.
        self.0.iter().fold(None, |found, known| {
            if bool::from(known.hash.ct_eq(hash.as_slice())) { Some(&known.user) } else { found }
        })
    }
}

/// The lines that say something: their numbers, users and the rest.
fn lines<'a>(
    text: &'a str,
    form: &'static str,
) -> impl Iterator<Item = Result<(usize, &'a str, &'a str), InvalidLine>> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines.map(move |(line, content)| {
        let invalid = |problem| InvalidLine { line, problem };
        let (user, rest) =
            content.split_once(':').ok_or_else(|| invalid(format!("expected {form}")))?;
        if !is_user_name(user) {
            let problem =
                format!("before the colon there is no name of a user: expected {USER_NAME}");
            return Err(invalid(problem));
        }
        Ok((line, user, rest))
    })
}

impl FromStr for Passwords {
    type Err = InvalidLine;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (mut hashes, mut slowest) = (BTreeMap::new(), None::<(u32, String)>);
        for line in lines(text, "USER:HASH, as htpasswd -B writes it") {
            let (line, user, hash) = line?;
            let cost = cost(hash).map_err(|problem| InvalidLine {
                line,
                problem: format!("the password of {user} can't be used: {problem}"),
            })?;
            if slowest.as_ref().is_none_or(|(most, _)| cost > *most) {
                slowest = Some((cost, hash.to_owned()));
            }
            if hashes.insert(user.to_owned(), hash.to_owned()).is_some() {
                let problem = format!("{user} has a password already, in a line before");
                return Err(InvalidLine { line, problem });
            }
        }
        Ok(Self { hashes, slowest: slowest.map(|(_, hash)| hash) })
    }
}

/// How many times the work for a bcrypt hash is doubled; why another one is refused.
fn cost(hash: &str) -> Result<u32, String> {
    let refused = |kind: &str, why: &str| {
        Err(format!("it is hashed with {kind}, {why}: expected bcrypt, as by htpasswd -B"))
    };
    let is_bcrypt = ["$2y$", "$2b$", "$2a$"].iter().any(|prefix| hash.starts_with(prefix));
    match hash {
        _ if is_bcrypt => {}
        _ if hash.starts_with("$2x$") => {
            return refused(
                "bcrypt as it was before a fault in it was found ($2x$)",
                "which is weak",
            );
        }
        _ if hash.starts_with("$apr1$") || hash.starts_with("$1$") => {
            return refused("MD5", "from which passwords are quickly guessed");
        }
        _ if hash.starts_with("{SHA}") => {
            return refused("SHA-1 without salt", "from which passwords are quickly guessed");
        }
        _ if hash.starts_with("$5$") || hash.starts_with("$6$") => {
            return refused("SHA-2 (crypt)", "which this server can't check");
        }
        _ => {
            let problem = "it is neither bcrypt nor another hash that is known here (crypt's DES and \
                           plain text are not taken): expected bcrypt, as by htpasswd -B";
            return Err(problem.to_owned());
        }
    }
    let is_whole = hash.len() == 60 && hash.is_ascii();
    let parts = is_whole.then(|| hash.parse::<HashParts>().ok()).flatten();
    match parts.map(|parts| parts.get_cost()) {
        Some(cost) if (MIN_COST..=MAX_COST).contains(&cost) => Ok(cost),
        Some(cost) => Err(format!("its cost is {cost}: expected {MIN_COST} to {MAX_COST}")),
        None => Err("it is not a whole bcrypt hash, which has 60 characters".to_owned()),
    }
}

impl FromStr for Tokens {
    type Err = InvalidLine;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut tokens: Vec<Token> = Vec::new();
        for line in lines(text, "USER:SHA-256 of a token") {
            let (line, user, hash) = line?;
            let invalid = |problem: &str| InvalidLine {
                line,
                problem: format!("the token of {user} can't be used: {problem}"),
            };
            let hash = sha256(hash).ok_or_else(|| {
                invalid("expected its SHA-256, 64 hexadecimal digits, and not the token itself")
            })?;
            if tokens.iter().any(|token| token.hash == hash) {
                return Err(invalid("a line before has the same one"));
            }
            tokens.push(Token { user: user.into(), hash });
        }
        Ok(Self(tokens))
    }
}

fn sha256(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|c| c.is_ascii_hexdigit()) {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(hash)
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.hashes.keys()).finish()
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|token| &token.user)).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// By Apache's `htpasswd -nbB -C 4 ann secret`.
    const ANN: &str = "ann:$2y$04$DHRNPAmxKk/F0y5E56evvOar7/QB3T.9dwwzjlJBju8rtQb2K2fZm";

    fn digest(token: &str) -> String {
        crate::oci::Digest::of(token.as_bytes()).to_string().replace("sha256:", "")
    }

    #[test]
    fn passwords_are_those_of_apache() {
        let text = format!("# users\n\n{ANN}\r\n");
        let passwords: Passwords = text.parse().unwrap();
        assert!(passwords.verify("ann", b"secret"));
        assert!(!passwords.verify("ann", b"secret2"));
        assert!(!passwords.verify("ann", b""));
        assert!(!passwords.verify("bob", b"secret"), "its hash is used only for the time it takes");
        assert!(!Passwords::default().verify("ann", b"secret"));
    }

    #[test]
    fn passwords_that_bcrypt_does_not_tell_apart_are_none() {
        let hash = |password: &str| {
            let hash = bcrypt::hash(password, MIN_COST).unwrap();
            format!("ann:{hash}").parse::<Passwords>().unwrap()
        };
        let longest = "x".repeat(MAX_PASSWORD);
        let passwords = hash(&longest);
        assert!(passwords.verify("ann", longest.as_bytes()));
        assert!(!passwords.verify("ann", format!("{longest}y").as_bytes()));
        // As it is repeated with a NUL between, this was the same.
        let passwords = hash("secret");
        assert!(passwords.verify("ann", b"secret"));
        assert!(bcrypt::verify(b"secret\0secret", &passwords.hashes["ann"]).unwrap());
        assert!(!passwords.verify("ann", b"secret\0secret"));
        // Without anything, bcrypt repeats the NUL.
        assert!(hash("").verify("ann", b"") && !hash("").verify("ann", b"\0"));
    }

    #[test]
    fn other_hashes_are_refused_with_their_line_and_without_what_it_says() {
        for (hash, expected) in [
            ("$apr1$x$secret", "MD5"),
            ("{SHA}secret", "SHA-1"),
            ("$6$secret", "SHA-2"),
            ("$2x$10$secret", "weak"),
            ("secret", "plain text"),
            ("$2y$10$secret", "60 characters"),
            (&ANN["ann:".len()..].replace("$04$", "$16$"), "4 to 15"),
            (&ANN["ann:".len()..].replace("$04$", "$03$"), "can't be used"),
        ] {
            let error = format!("{ANN}\nbob:{hash}").parse::<Passwords>().unwrap_err();
            assert_eq!(error.line, 2, "{hash}");
            let text = error.to_string();
            assert!(text.contains(expected) && text.contains("bob"), "{hash}: {text}");
            assert!(!text.contains("secret"), "{text}");
        }
        let error = |text: &str| text.parse::<Passwords>().unwrap_err().to_string();
        assert!(error(&format!("{ANN}\n{ANN}")).contains("line 2: ann has a password already"));
        assert!(error("secret").contains("expected USER:HASH"));
        assert!(error("anonymous:$2y$").contains("other than anonymous"));
        assert!(error(":$2y$").contains("name of a user"));
    }

    #[test]
    fn tokens_are_found_by_their_hash() {
        let (one, two) = (digest("one"), digest("two").to_uppercase());
        let tokens: Tokens =
            format!("ci:{one}\n# old\nci:{two}\nann:{}", digest("three")).parse().unwrap();
        let user = |token: &str| tokens.user(token.as_bytes()).map(ToString::to_string);
        assert_eq!(user("one").as_deref(), Some("ci"));
        assert_eq!(user("two").as_deref(), Some("ci"));
        assert_eq!(user("three").as_deref(), Some("ann"));
        assert_eq!(user("four"), None);
        assert_eq!(user(&one), None, "the hash is not the token");

        let error = |text: &str| text.parse::<Tokens>().unwrap_err().to_string();
        assert!(error("ci:one").contains("line 1: the token of ci can't be used"));
        assert!(error(&format!("ci:{one}\nann:{one}")).contains("line 2"));
    }

    proptest! {
        #[test]
        fn any_file_is_taken_or_refused(
            text in r"((ann|bob|é|)(:|)(\$2y\$|\$2b\$04\$|[0-9a-f]{62,64}|é|)[./A-Za-z0-9$]{0,56}(\r?\n|\x00)){0,4}",
        ) {
            let _ = (text.parse::<Passwords>(), text.parse::<Tokens>());
        }

        #[test]
        fn any_text_is_taken_or_refused(text in any::<String>()) {
            let _ = (text.parse::<Passwords>(), text.parse::<Tokens>());
        }

        #[test]
        fn a_hash_of_the_right_length_can_be_checked_against(tail in "[./A-Za-z0-9]{53}") {
            if let Ok(passwords) = format!("ann:$2y$04${tail}").parse::<Passwords>() {
                prop_assert!(!passwords.verify("ann", b"secret"));
            }
        }
    }
}
