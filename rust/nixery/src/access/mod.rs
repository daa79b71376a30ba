//! Who may do what: users and their secrets, and rules over the packages of images.
//!
//! What a client presents is `presented`, what it is compared with `credentials`, and
//! what it may do then `rules`. Files are read, and clients answered, elsewhere.

mod credentials;
#[cfg(test)]
mod fuzzed;
mod pattern;
mod presented;
mod rules;

use std::sync::Arc;

pub use credentials::{Credentials, InvalidLine, Passwords, Tokens};
pub use presented::{ANONYMOUS_TOKEN, Malformed, Presented};
pub use rules::{InvalidRule, Right, Rule, Rules};

/// What rules call whoever presents nothing.
pub const ANONYMOUS: &str = "anonymous";

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Somebody who presented nothing.
    Anonymous,
    /// Somebody who proved to be this user.
    User(Arc<str>),
}

impl Caller {
    /// Its name, for people.
    pub fn name(&self) -> &str {
        match self {
            Self::Anonymous => ANONYMOUS,
            Self::User(name) => name,
        }
    }
}
