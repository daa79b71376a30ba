//! Patterns of packages, by their attributes.

use glob::Pattern;

use crate::image::SHELL;

/// The pattern that stands for what the meta-package of this name does.
const SHELL_PATTERN: &str = "shell";

/// The part that stands for any number of parts.
const ANY_PARTS: &str = "**";

/// A pattern of packages. `*` and `?` stay within a part of an attribute, between dots;
/// `**` stands for any number of parts. Otherwise `python3packages.*` would allow
/// everything, as that set has the whole package set in it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PackagePattern {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// Any number of parts; one at least, where it is the last.
    Any,
    /// One part.
    One(Pattern),
}

impl PackagePattern {
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        if text.contains(['/', '\\']) {
            return Err("rules are about single packages, in which there are no slashes");
        }
        // Images' names have no upper case, so there is no need to tell it apart.
        let lower = text.to_lowercase();
        let parts = lower.split('.').map(|part| match part {
            ANY_PARTS => Ok(Part::Any),
            "" => Err("there is nothing between two dots, or beside one"),
            _ => Pattern::new(part).map(Part::One).map_err(|error| error.msg),
        });
        Ok(Self { text: text.to_owned(), parts: parts.collect::<Result<_, _>>()? })
    }

    /// The pattern, as it was written.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Takes time in proportion to the pattern and to the name, which is a stranger's.
    pub(super) fn matches(&self, package: &str) -> bool {
        if self.text == SHELL_PATTERN && SHELL.contains(&package) {
            return true;
        }
        let package = package.to_lowercase();
        let names: Vec<&str> = package.split('.').collect();
        // After how many names the parts so far may end.
        let mut ends = vec![false; names.len() + 1];
        ends[0] = true;
        for (index, part) in self.parts.iter().enumerate() {
            match part {
                Part::Any => {
                    let least = usize::from(index + 1 == self.parts.len());
                    let first = ends.iter().position(|is| *is).unwrap_or(ends.len());
                    ends.fill(false);
                    ends.iter_mut().skip(first + least).for_each(|end| *end = true);
                }
                Part::One(pattern) => {
                    let next =
                        names.iter().zip(&ends).map(|(name, is)| *is && pattern.matches(name));
                    ends = std::iter::once(false).chain(next).collect();
                }
            }
        }
        ends.last() == Some(&true)
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
            ("a.**.b", "a.b", true),
            ("a.**.b.?", "a.x.b.y.b.z", true),
            ("a.**.b", "a.b.c", false),
            ("a.**", "a", false),
            ("**.a.**", "a.b", true),
            ("**.a.**", "b.a", false),
        ] {
            let found = PackagePattern::parse(pattern).unwrap().matches(package);
            assert_eq!(found, matches, "{pattern} {package}");
        }
    }

    /// Within a name of parts, every star was tried with every other: hours for these.
    #[test]
    fn stars_take_no_time() {
        let (one, all) = (format!("{}.x", "a".repeat(252)), "a.".repeat(127) + "x");
        let begin = std::time::Instant::now();
        for (pattern, package) in
            [("*a".repeat(20) + "b.*", &one), (format!("{}b.x", "**.a.".repeat(20)), &all)]
        {
            let matches = PackagePattern::parse(&pattern).unwrap().matches(package);
            assert!(!matches, "{pattern}");
        }
        assert!(begin.elapsed().as_secs() < 10, "it took {:?}", begin.elapsed());
    }
}
