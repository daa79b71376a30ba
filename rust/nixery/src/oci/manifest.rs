//! Manifests, in the two formats that clients know.
//!
//! Sources: OCI image specification, "Image Manifest"; Docker's "Image
//! Manifest Version 2, Schema 2".

use serde::{Deserialize, Serialize};

use super::Digest;

/// A format of manifests. Both describe the same blobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Format {
    /// OCI image manifest.
    #[serde(rename = "oci")]
    Oci,
    /// Docker image manifest version 2, schema 2.
    #[serde(rename = "docker")]
    Docker,
}

impl Format {
    /// Both formats, the standard one first.
    pub const ALL: [Self; 2] = [Self::Oci, Self::Docker];

    /// Media type of the manifest.
    pub fn manifest_type(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.manifest.v1+json",
            Self::Docker => "application/vnd.docker.distribution.manifest.v2+json",
        }
    }

    /// Media type of its image configurations.
    pub fn config_type(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.config.v1+json",
            Self::Docker => "application/vnd.docker.container.image.v1+json",
        }
    }

    fn layer_type(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Docker => "application/vnd.docker.image.rootfs.diff.tar.gzip",
        }
    }

    /// The format whose manifests have this media type.
    pub fn of_manifest_type(media_type: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.manifest_type().eq_ignore_ascii_case(media_type))
    }
}

/// A blob, by its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Descriptor {
    /// What it must hash to.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

impl Descriptor {
    /// Describes `content`.
    pub fn of(content: &[u8]) -> Self {
        Self { digest: Digest::of(content), size: content.len() as u64 }
    }
}

/// A manifest, as the bytes that are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The format, which says the media type.
    pub format: Format,
    /// The document.
    pub content: Vec<u8>,
}

impl Manifest {
    /// The manifest of an image with this configuration and these layers, the
    /// lowest first.
    pub fn new(format: Format, config: Descriptor, layers: &[Descriptor]) -> Self {
        let document = Document {
            schema_version: 2,
            media_type: format.manifest_type().to_owned(),
            config: Blob::new(format.config_type(), config),
            layers: layers.iter().map(|&layer| Blob::new(format.layer_type(), layer)).collect(),
        };
        // Serialising strings and numbers to memory can't fail.
        Self { format, content: serde_json::to_vec(&document).unwrap_or_default() }
    }

    /// Recognises a manifest made here, or nothing where `content` is anything
    /// else, such as a layer.
    pub fn recognise(content: Vec<u8>) -> Option<Self> {
        let document: Document = serde_json::from_slice(&content).ok()?;
        Some(Self { format: Format::of_manifest_type(&document.media_type)?, content })
    }

    /// The blobs it consists of: the configuration and the layers.
    pub fn blobs(&self) -> Vec<Descriptor> {
        serde_json::from_slice::<Document>(&self.content).map_or_else(
            |_| Vec::new(),
            |document| {
                let blobs = std::iter::once(&document.config).chain(&document.layers);
                blobs.map(|blob| Descriptor { digest: blob.digest, size: blob.size }).collect()
            },
        )
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: u32,
    media_type: String,
    config: Blob,
    layers: Vec<Blob>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Blob {
    media_type: String,
    size: u64,
    digest: Digest,
}

impl Blob {
    fn new(media_type: &str, Descriptor { digest, size }: Descriptor) -> Self {
        Self { media_type: media_type.to_owned(), size, digest }
    }
}

/// Media type and content of an image index that lists nothing: the answer to
/// "what refers to this?" where nothing does (OCI distribution specification,
/// "Listing Referrers").
pub fn empty_index() -> (&'static str, &'static str) {
    (
        "application/vnd.oci.image.index.v1+json",
        r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_names_its_own_type_and_its_blobs() {
        let config = Descriptor::of(b"{}");
        let layers = [Descriptor::of(b"one"), Descriptor::of(b"two")];
        for format in Format::ALL {
            let manifest = Manifest::new(format, config, &layers);
            let json: serde_json::Value = serde_json::from_slice(&manifest.content).unwrap();
            assert_eq!(json["schemaVersion"], 2);
            assert_eq!(json["mediaType"], format.manifest_type());
            assert_eq!(json["layers"][1]["size"], 3);
            assert_eq!(manifest.blobs(), [config, layers[0], layers[1]]);
            assert_eq!(Manifest::recognise(manifest.content.clone()), Some(manifest));
        }
    }

    #[test]
    fn other_documents_are_not_taken_for_manifests() {
        for content in ["", "{}", empty_index().1, r#"{"mediaType":"x"}"#] {
            assert_eq!(Manifest::recognise(content.as_bytes().to_vec()), None, "{content}");
        }
    }

    #[test]
    fn fuzzed() {
        let blob = Descriptor::of(b"");
        let seeds = Format::ALL.map(|format| Manifest::new(format, blob, &[blob, blob]).content);
        let words = [
            Format::Oci.manifest_type().to_owned(),
            Format::Docker.manifest_type().to_owned(),
            serde_json::to_string(&blob).unwrap(),
            r#""layers":["#.to_owned(),
        ];
        crate::fuzz::parser("manifests", seeds).words(words).factor(32).run(
            |input| {
                let manifest = Manifest::recognise(input.to_vec())?;
                let blobs = manifest.blobs();
                Some((manifest, blobs))
            },
            |input, parsed| {
                let Some((manifest, blobs)) = parsed else { return };
                assert_eq!(manifest.content, input);
                // Written anew, it names the same blobs.
                let again = Manifest::new(manifest.format, blobs[0], &blobs[1..]);
                assert_eq!(again.blobs(), blobs);
            },
        );
    }
}
