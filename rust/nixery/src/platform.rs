//! The platforms that images are made for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A CPU architecture of Linux images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Platform {
    /// 64-bit x86.
    Amd64,
    /// 64-bit Arm.
    Arm64,
}

/// A name that is not a [`Platform`]'s.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{name:?} is not a platform: expected \"amd64\" or \"arm64\"")]
pub struct UnknownPlatform {
    name: String,
}

impl Platform {
    /// Every platform.
    pub const ALL: [Self; 2] = [Self::Amd64, Self::Arm64];

    /// The platform of the machine that this program was built for, where it
    /// is one that images can have.
    pub fn of_this_machine() -> Option<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Some(Self::Amd64),
            "aarch64" => Some(Self::Arm64),
            _ => None,
        }
    }

    /// Nix's name of it, such as `x86_64-linux`.
    pub fn system(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-linux",
            Self::Arm64 => "aarch64-linux",
        }
    }

    /// The name in image configurations, which is Go's `GOARCH`
    /// (OCI image specification, "Image Configuration").
    pub fn architecture(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.architecture())
    }
}

impl FromStr for Platform {
    type Err = UnknownPlatform;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|platform| platform.architecture() == name)
            .ok_or_else(|| UnknownPlatform { name: name.to_owned() })
    }
}

impl TryFrom<String> for Platform {
    type Error = UnknownPlatform;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        name.parse()
    }
}

impl From<Platform> for String {
    fn from(platform: Platform) -> Self {
        platform.to_string()
    }
}
