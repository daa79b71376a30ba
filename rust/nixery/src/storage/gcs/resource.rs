//! What the service tells of an object
//! (<https://cloud.google.com/storage/docs/json_api/v1/objects#resource>).

use std::time::SystemTime;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use md5::{Digest as _, Md5};
use serde::{Deserialize, Deserializer};

/// An object, without its content.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Resource {
    pub(super) name: String,
    #[serde(deserialize_with = "number")]
    pub(super) generation: i64,
    #[serde(deserialize_with = "number")]
    pub(super) metageneration: i64,
    #[serde(deserialize_with = "number")]
    pub(super) size: i64,
    /// When it was written, or its metadata changed, by the service's clock.
    pub(super) updated: Timestamp,
    /// Of objects that were not composed.
    #[serde(default)]
    md5_hash: Option<String>,
    #[serde(default)]
    crc32c: Option<String>,
}

/// Numbers of 64 bits are texts in this API.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Text(String),
        Number(i64),
    }
    match Written::deserialize(deserializer)? {
        Written::Text(text) => text.parse().map_err(serde::de::Error::custom),
        Written::Number(number) => Ok(number),
    }
}

/// One version of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) name: String,
    pub(super) generation: i64,
}

/// What tells whether an object has the right bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checksums {
    pub(super) size: u64,
    pub(super) md5: [u8; 16],
    pub(super) crc32c: u32,
}

impl Checksums {
    pub(super) fn of(content: &[u8]) -> Self {
        let md5 = Md5::digest(content).into();
        Self { size: content.len() as u64, md5, crc32c: crc32c::crc32c(content) }
    }
}

impl Resource {
    /// Length in bytes.
    pub(super) fn size(&self) -> u64 {
        u64::try_from(self.size).unwrap_or_default()
    }

    pub(super) fn version(&self) -> Version {
        Version { name: self.name.clone(), generation: self.generation }
    }

    pub(super) fn used(&self) -> SystemTime {
        self.updated.into()
    }

    /// Whether it has these bytes, as far as the service tells.
    pub(super) fn has(&self, checksums: &Checksums) -> bool {
        let is = |told: &Option<String>, expected: &[u8]| match told {
            Some(told) => BASE64_STANDARD.decode(told).is_ok_and(|told| told == expected),
            None => true,
        };
        self.size() == checksums.size
            && (self.md5_hash.is_some() || self.crc32c.is_some())
            && is(&self.md5_hash, &checksums.md5)
            && is(&self.crc32c, &checksums.crc32c.to_be_bytes())
    }
}
