//! Image names, and the packages they stand for.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::platform::Platform;

/// Longest name that is accepted, in bytes. The distribution specification
/// notes that many clients limit host and name together to 255.
const MAX_NAME_LENGTH: usize = 255;

/// What the meta-package `shell` stands for.
pub const SHELL: [&str; 4] = ["bashInteractive", "coreutils", "moreutils", "nano"];

/// Names that stand for something else than a package, at the front.
pub const META_PACKAGES: [&str; 3] = ["shell", "amd64", "arm64"];

/// What every image gets: certificates of the public authorities, and the
/// names of protocols and ports, without which much that uses a network fails.
pub const ALWAYS: [&str; 2] = ["cacert", "iana-etc"];

/// The name of an image as a client wrote it: package attributes separated by
/// slashes, such as `shell/git/python3packages.requests`.
///
/// The grammar is that of repository names in the OCI distribution
/// specification ("Pulling manifests"), so what is accepted here can be asked
/// for by every client.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageName(String);

/// Why a string is not an image name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidName {
    /// There is nothing between two slashes, or nothing at all.
    #[error(
        "the image name is empty in one place: expected packages separated by single slashes, \
         such as shell/git"
    )]
    Empty,
    /// Over 255 bytes.
    #[error("the image name has {length} bytes: {MAX_NAME_LENGTH} are possible")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// A component that registries don't allow.
    #[error(
        "{component:?} can't be part of an image name: expected lower-case letters and digits, \
         with one '.', one or two '_', or any number of '-' between them"
    )]
    Component {
        /// The component.
        component: String,
    },
    /// Both `arm64` and `amd64`.
    #[error("the image name asks for two platforms: expected one of amd64 and arm64")]
    TwoPlatforms,
}

/// What an image consists of, whatever the order or the spelling its name had.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageSpec {
    packages: BTreeSet<String>,
    platform: Platform,
}

impl ImageName {
    /// The name, as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Replaces the meta-packages that lead the name by what they stand for.
    ///
    /// `default_platform` is for names that choose none.
    pub fn expand(&self, default_platform: Platform) -> Result<ImageSpec, InvalidName> {
        let mut packages: BTreeSet<String> = ALWAYS.map(str::to_owned).into();
        let mut platform = None;
        let mut components = self.0.split('/').peekable();
        while let Some(component) = components.peek() {
            if *component == "shell" {
                packages.extend(SHELL.map(str::to_owned));
            } else if let Ok(chosen) = component.parse::<Platform>() {
                if platform.replace(chosen).is_some_and(|earlier| earlier != chosen) {
                    return Err(InvalidName::TwoPlatforms);
                }
            } else {
                break;
            }
            components.next();
        }
        packages.extend(components.map(str::to_owned));
        Ok(ImageSpec { packages, platform: platform.unwrap_or(default_platform) })
    }
}

/// How an attribute is written as a component of an image's name; `None` where that can't
/// be. It is looked up by this name: names of images have no upper case, and `_` before a
/// digit is left out.
pub fn component_of(attribute: &str) -> Option<String> {
    let rest =
        attribute.strip_prefix('_').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let component = rest.unwrap_or(attribute).to_ascii_lowercase();
    // A dot leads into a set.
    (is_component(component.as_bytes()) && !component.contains('.')).then_some(component)
}

impl FromStr for ImageName {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        if name.len() > MAX_NAME_LENGTH {
            return Err(InvalidName::TooLong { length: name.len() });
        }
        for component in name.split('/') {
            if component.is_empty() {
                return Err(InvalidName::Empty);
            }
            if !is_component(component.as_bytes()) {
                return Err(InvalidName::Component { component: component.to_owned() });
            }
        }
        Ok(Self(name.to_owned()))
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl ImageSpec {
    /// The attributes of its packages, sorted, each once.
    pub fn packages(&self) -> impl ExactSizeIterator<Item = &str> {
        self.packages.iter().map(String::as_str)
    }

    /// The platform it is for.
    pub fn platform(&self) -> Platform {
        self.platform
    }

    /// Whether a shell was asked for, so that running the image without a
    /// command should start one.
    pub fn has_shell(&self) -> bool {
        self.packages
            .iter()
            .any(|name| matches!(name.to_lowercase().as_str(), "bash" | "bashinteractive"))
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, the specification's path component.
fn is_component(component: &[u8]) -> bool {
    let is_word = |c: &u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    component.chunk_by(|a, b| is_word(a) == is_word(b)).enumerate().all(|(index, run)| {
        match index % 2 {
            0 => is_word(&run[0]),
            _ => matches!(run, b"." | b"_" | b"__") || run.iter().all(|&c| c == b'-'),
        }
    }) && component.last().is_some_and(is_word)
}

#[cfg(test)]
mod tests;
