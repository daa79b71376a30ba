//! Rules: who may pull, or have built, images of which packages.
//!
//! A rule is about packages and not about names of images: `git/htop` and `htop/git` are
//! the same image, so a rule over what a name begins with could be got around.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::pattern::PackagePattern;
use super::{ANONYMOUS, Caller};
use crate::image::{ALWAYS, ImageSpec};

/// What stands for all who have logged in.
const LOGGED_IN: &str = "*";

/// Between names and between patterns.
const SEPARATORS: [char; 5] = [',', ' ', '\t', '\n', '\r'];

/// What may be done with an image; who may build it may pull it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// To have it if it was made before.
    Pull,
    /// To have it made.
    Build,
}

/// `WHO may pull` or `WHO may build`, and then the packages: all, if there are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    who: Vec<Who>,
    right: Right,
    packages: Option<Vec<PackagePattern>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Who {
    /// Everybody, logged in or not.
    Everybody,
    /// Whoever has logged in.
    LoggedIn,
    User(String),
}

/// Why a text is not a rule.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidRule {
    /// It doesn't say who may do what.
    #[error(
        "{rule:?} is not a rule: expected WHO may pull, or WHO may build, and then perhaps \
         patterns of packages, such as \"anonymous may pull\" or \"ann, bob may build git corp.*\""
    )]
    Form {
        /// The text.
        rule: String,
    },
    /// There is a second rule in it, which would be taken for packages.
    #[error(
        "{rule:?} is more than one rule: expected each as an entry of its own in the list, or in a \
         variable separated by a semicolon, such as \"anonymous may pull; ann may build\""
    )]
    Several {
        /// The text.
        rule: String,
    },
    /// There can't be such a user.
    #[error("{name:?} in the rule {rule:?} is not the name of a user: expected {USER_NAME}")]
    User {
        /// The text.
        rule: String,
        /// What stands for a user in it.
        name: String,
    },
    /// There can't be such a pattern.
    #[error("{pattern:?} in the rule {rule:?} is not a pattern of packages: {problem}")]
    Pattern {
        /// The text.
        rule: String,
        /// What stands for a pattern in it.
        pattern: String,
        /// Why.
        problem: &'static str,
    },
}

/// What names of users are.
pub(super) const USER_NAME: &str =
    "1 to 128 letters, digits and characters of ._@+-, other than anonymous";

/// Whether somebody can have this name.
pub(super) fn is_user_name(name: &str) -> bool {
    let is_plain = |c: u8| c.is_ascii_alphanumeric() || b"._@+-".contains(&c);
    (1..=128).contains(&name.len()) && name.bytes().all(is_plain) && name != ANONYMOUS
}

/// All rules. What one of them allows is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules(Vec<Rule>);

impl Rules {
    /// These rules.
    pub fn new(rules: Vec<Rule>) -> Self {
        Self(rules)
    }

    /// Whoever has logged in may do everything, and nobody else anything.
    pub fn for_users() -> Self {
        Self(vec![Rule { who: vec![Who::LoggedIn], right: Right::Build, packages: None }])
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter()
    }

    /// The users that rules name.
    pub fn users(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|rule| &rule.who).filter_map(|who| match who {
            Who::User(name) => Some(name.as_str()),
            Who::Everybody | Who::LoggedIn => None,
        })
    }

    /// Whether a rule is about those who have logged in.
    pub fn need_login(&self) -> bool {
        self.0.iter().flat_map(|rule| &rule.who).any(|who| *who != Who::Everybody)
    }

    /// Whether there is anything for those who haven't logged in.
    pub fn are_for_anonymous(&self) -> bool {
        self.0.iter().any(|rule| rule.who.contains(&Who::Everybody))
    }

    /// Whether a caller may do this with an image: each of its packages has to be allowed,
    /// but for those that are in every image. If not, the packages that aren't; none of
    /// them if no rule says anything.
    pub fn allow(
        &self,
        caller: &Caller,
        right: Right,
        spec: &ImageSpec,
    ) -> Result<(), Vec<String>> {
        if !self.allow_something(caller, right) {
            return Err(Vec::new());
        }
        let is_refused = |package: &&str| !self.allow_package(caller, right, package);
        let refused: Vec<String> = spec.packages().filter(is_refused).map(str::to_owned).collect();
        if refused.is_empty() { Ok(()) } else { Err(refused) }
    }

    /// Whether there is anything that a caller may do this with.
    pub fn allow_something(&self, caller: &Caller, right: Right) -> bool {
        self.that_give(caller, right).next().is_some()
    }

    /// Whether a caller may do this with an image of this one package, called as it is in
    /// an [`ImageSpec`].
    pub fn allow_package(&self, caller: &Caller, right: Right, package: &str) -> bool {
        let mut rules = self.that_give(caller, right).peekable();
        rules.peek().is_some() && (ALWAYS.contains(&package) || rules.any(|rule| rule.has(package)))
    }

    /// The rules by which a caller may do this with something.
    fn that_give(&self, caller: &Caller, right: Right) -> impl Iterator<Item = &Rule> {
        self.0.iter().filter(move |rule| rule.right >= right && rule.is_for(caller))
    }
}

impl Rule {
    fn is_for(&self, caller: &Caller) -> bool {
        self.who.iter().any(|who| match (who, caller) {
            (Who::Everybody, _) | (Who::LoggedIn, Caller::User(_)) => true,
            (Who::User(name), Caller::User(user)) => **name == **user,
            (Who::LoggedIn | Who::User(_), Caller::Anonymous) => false,
        })
    }

    fn has(&self, package: &str) -> bool {
        let Some(patterns) = &self.packages else { return true };
        patterns.iter().any(|pattern| pattern.matches(package))
    }
}

impl FromStr for Rule {
    type Err = InvalidRule;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rule = || text.trim().to_owned();
        let words: Vec<&str> = text.split(SEPARATORS).filter(|word| !word.is_empty()).collect();
        let right = |word: &str| match word {
            "pull" => Some(Right::Pull),
            "build" => Some(Right::Build),
            _ => None,
        };
        // Not the first word, which may be a user of that name.
        let found = words.windows(2).enumerate().skip(1).find_map(|(index, pair)| {
            (pair[0] == "may").then(|| right(pair[1])).flatten().map(|right| (index, right))
        });
        let (index, given) = found.ok_or_else(|| InvalidRule::Form { rule: rule() })?;
        let patterns = &words[index + 2..];
        if patterns.windows(2).any(|pair| pair[0] == "may" && right(pair[1]).is_some()) {
            return Err(InvalidRule::Several { rule: rule() });
        }
        let who = words[..index].iter().map(|&name| match name {
            ANONYMOUS => Ok(Who::Everybody),
            LOGGED_IN => Ok(Who::LoggedIn),
            _ if is_user_name(name) => Ok(Who::User(name.to_owned())),
            _ => Err(InvalidRule::User { rule: rule(), name: name.to_owned() }),
        });
        let who = who.collect::<Result<_, _>>()?;
        let patterns = patterns.iter().map(|&pattern| {
            let invalid = |problem| {
                let pattern = pattern.to_owned();
                InvalidRule::Pattern { rule: rule(), pattern, problem }
            };
            PackagePattern::parse(pattern).map_err(invalid)
        });
        let patterns: Vec<_> = patterns.collect::<Result<_, _>>()?;
        let right = given;
        Ok(Self { who, right, packages: Some(patterns).filter(|patterns| !patterns.is_empty()) })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who: Vec<&str> = self
            .who
            .iter()
            .map(|who| match who {
                Who::Everybody => ANONYMOUS,
                Who::LoggedIn => LOGGED_IN,
                Who::User(name) => name,
            })
            .collect();
        let right = match self.right {
            Right::Pull => "pull",
            Right::Build => "build",
        };
        write!(f, "{} may {right}", who.join(", "))?;
        for pattern in self.packages.iter().flatten() {
            write!(f, " {}", pattern.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
