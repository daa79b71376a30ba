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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fuzzed() {
        let written = Checksums::of(b"abc");
        let (md5, crc32c) = (written.md5, written.crc32c.to_be_bytes());
        let (md5, crc32c) = (BASE64_STANDARD.encode(md5), BASE64_STANDARD.encode(crc32c));
        let seeds = [
            format!(
                r#"{{"name":"layers/a","generation":"1","metageneration":"2","size":"3","updated":
                "2026-11-28T10:00:00.123Z","md5Hash":"{md5}","crc32c":"{crc32c}"}}"#
            ),
            format!(
                r#"{{"name":"","generation":1,"metageneration":2,"size":3,"updated":
                "-009999-01-02T00:00:00+23:59","crc32c":"{crc32c}"}}"#
            ),
        ];
        let words = [&md5, &crc32c, "\"md5Hash\":", "\"size\":", "+009999", "Z", "[x/y]"];
        crate::fuzz::parser("objects of a bucket", seeds).words(words).factor(32).run(
            |input| {
                let resource = serde_json::from_slice::<Resource>(input);
                let resource = resource.map_err(|error| error.to_string()).ok()?;
                let has = resource.has(&written);
                Some((resource, has))
            },
            |_, parsed| {
                let Some((resource, has)) = parsed else { return };
                assert_eq!(resource.version().name, resource.name);
                assert_eq!(Timestamp::try_from(resource.used()).ok(), Some(resource.updated));
                // One checksum has to be there, and none may be another.
                let told = [(&resource.md5_hash, &md5), (&resource.crc32c, &crc32c)];
                let told = told.map(|(told, right)| told.as_ref().map(|told| told == right));
                let is_right = told.contains(&Some(true)) && !told.contains(&Some(false));
                assert_eq!(has, is_right && resource.size == 3);
            },
        );
    }
}
