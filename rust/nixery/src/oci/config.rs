//! Image configurations: what a container runtime needs besides the layers.
//!
//! Source: OCI image specification, "Image Configuration".

use std::collections::BTreeMap;

use serde::Serialize;

use super::Digest;
use crate::platform::Platform;

/// When every image was made. Images are reproducible, so it can't be now; and
/// it is not 1970-01-01T00:00:00Z because some tools take that for "unknown".
const CREATED: &str = "1970-01-01T00:00:01Z";

/// What an image's configuration is made from.
#[derive(Clone, Debug)]
pub struct ImageConfig {
    /// What it runs on.
    pub platform: Platform,
    /// What runs when nothing else is said; nothing when empty.
    pub command: Vec<String>,
    /// `NAME=value`.
    pub environment: Vec<String>,
    /// Annotations.
    pub labels: BTreeMap<String, String>,
    /// The layers, the lowest first.
    pub layers: Vec<LayerHistory>,
}

/// One layer, as far as a configuration speaks of it.
#[derive(Clone, Debug)]
pub struct LayerHistory {
    /// Digest of the tar stream.
    pub diff_id: Digest,
    /// What is in it, for people.
    pub created_by: String,
}

impl ImageConfig {
    /// The document. It has one history entry for each layer, without which
    /// some builders refuse the image as a base.
    pub fn to_json(&self) -> Vec<u8> {
        let document = Document {
            created: CREATED,
            architecture: self.platform.architecture(),
            os: "linux",
            config: Config { env: &self.environment, cmd: &self.command, labels: &self.labels },
            rootfs: RootFs {
                kind: "layers",
                diff_ids: self.layers.iter().map(|layer| layer.diff_id).collect(),
            },
            history: self
                .layers
                .iter()
                .map(|layer| History { created: CREATED, created_by: &layer.created_by })
                .collect(),
        };
        // Serialising strings to memory can't fail.
        serde_json::to_vec(&document).unwrap_or_default()
    }
}

#[derive(Serialize)]
struct Document<'a> {
    created: &'a str,
    architecture: &'a str,
    os: &'a str,
    config: Config<'a>,
    rootfs: RootFs<'a>,
    history: Vec<History<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Config<'a> {
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    env: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    cmd: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct RootFs<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    diff_ids: Vec<Digest>,
}

#[derive(Serialize)]
struct History<'a> {
    created: &'a str,
    created_by: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_what_clients_look_for() {
        let layer = |name: &str| LayerHistory {
            diff_id: Digest::of(name.as_bytes()),
            created_by: name.to_owned(),
        };
        let mut config = ImageConfig {
            platform: Platform::Arm64,
            command: Vec::new(),
            environment: Vec::new(),
            labels: BTreeMap::new(),
            layers: vec![layer("a"), layer("b")],
        };
        let json: serde_json::Value = serde_json::from_slice(&config.to_json()).unwrap();
        assert_eq!(json["architecture"], "arm64");
        assert_eq!(json["created"], "1970-01-01T00:00:01Z");
        assert_eq!(json["config"], serde_json::json!({}), "present, though empty");
        assert_eq!(json["history"].as_array().unwrap().len(), 2);
        assert_eq!(json["rootfs"]["type"], "layers");
        assert_eq!(json["rootfs"]["diff_ids"][1], Digest::of(b"b").to_string());

        config.command = vec!["bash".to_owned()];
        let json: serde_json::Value = serde_json::from_slice(&config.to_json()).unwrap();
        assert_eq!(json["config"]["Cmd"], serde_json::json!(["bash"]));
    }
}
