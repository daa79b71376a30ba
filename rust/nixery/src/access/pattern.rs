//! Patterns of packages, by their attributes.

use glob::{MatchOptions, Pattern};

use crate::image::SHELL;

/// The pattern that stands for what the meta-package of this name does.
const SHELL_PATTERN: &str = "shell";

/// A pattern of packages. `*` and `?` stay within a part of an attribute, between dots;
/// `**` stands for any number of parts. Otherwise `python3packages.*` would allow
/// everything, as that set has the whole package set in it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PackagePattern {
    text: String,
    pattern: Pattern,
}

impl PackagePattern {
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        if text.contains(['/', '\\']) {
            return Err("rules are about single packages, in which there are no slashes");
        }
        // Images' names have no upper case, so there is no need to tell it apart.
        let pattern = Pattern::new(&text.to_lowercase().replace('.', "/"));
        let pattern = pattern.map_err(|error| error.msg)?;
        Ok(Self { text: text.to_owned(), pattern })
    }

    /// The pattern, as it was written.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn matches(&self, package: &str) -> bool {
        if self.text == SHELL_PATTERN && SHELL.contains(&package) {
            return true;
        }
        let options = MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: false,
        };
        self.pattern.matches_with(&package.to_lowercase().replace('.', "/"), options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stay_between_dots() {
        for (pattern, package, matches) in [
            ("git", "git", true),
            ("git", "git.doc", false),
            ("shell", "bashInteractive", true),
            ("bashinteractive", "bashInteractive", true),
            ("shell", "shell", true),
            ("shell", "git", false),
            ("python3Packages.*", "python3packages.requests", true),
            ("python3Packages.*", "python3packages.pkgs.secret", false),
            ("python3Packages.*", "python3packages", false),
            ("python3packages.**", "python3packages.pkgs.secret", true),
            ("*", "git", true),
            ("*", "python3packages.requests", false),
            ("**", "git", true),
            ("**", "python3packages.pkgs.secret", true),
            ("postgresql_1?", "postgresql_17", true),
        ] {
            let found = PackagePattern::parse(pattern).unwrap().matches(package);
            assert_eq!(found, matches, "{pattern} {package}");
        }
    }
}
