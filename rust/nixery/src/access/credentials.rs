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
mod tests;
