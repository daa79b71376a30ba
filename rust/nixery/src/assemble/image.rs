//! Images that are in the storage.

use std::sync::Arc;

use bytes::Bytes;

use crate::oci::{Descriptor, Digest, Format, Manifest};

/// The manifests of an image, one in each format.
#[derive(Clone, Debug)]
pub struct Image {
    pub(super) manifests: Vec<Arc<StoredManifest>>,
}

/// A manifest that is in the storage.
#[derive(Debug)]
pub struct StoredManifest {
    /// Its digest.
    pub digest: Digest,
    /// Its digest as the text that headers want.
    pub digest_text: String,
    /// Its format.
    pub format: Format,
    /// The document.
    pub content: Bytes,
    blobs: Vec<Descriptor>,
}

impl Image {
    /// The manifest in a format.
    pub fn manifest(&self, format: Format) -> Option<&Arc<StoredManifest>> {
        self.manifests.iter().find(|manifest| manifest.format == format)
    }

    /// Its manifests, one in each format.
    pub fn manifests(&self) -> &[Arc<StoredManifest>] {
        &self.manifests
    }

    /// Bytes of what a client fetches that has nothing of it: the configuration and the layers.
    pub fn size(&self) -> u64 {
        // All formats have the same ones.
        let blobs = self.manifests.first().map(|manifest| manifest.blobs.as_slice());
        blobs.unwrap_or_default().iter().map(|blob| blob.size).sum()
    }

    /// Every blob that a client may ask for after the manifests, and they too.
    pub(super) fn blobs(&self) -> Vec<Descriptor> {
        let mut blobs: Vec<Descriptor> =
            self.manifests.iter().flat_map(|manifest| manifest.blobs.iter().copied()).collect();
        blobs.extend(self.manifests.iter().map(|manifest| manifest.descriptor()));
        blobs.sort_by_key(|blob| blob.digest);
        blobs.dedup();
        blobs
    }
}

impl StoredManifest {
    pub(super) fn new(manifest: Manifest) -> Self {
        let digest = Digest::of(&manifest.content);
        Self {
            digest,
            digest_text: digest.to_string(),
            format: manifest.format,
            blobs: manifest.blobs(),
            content: manifest.content.into(),
        }
    }

    /// Whether a client that has this manifest asks for that blob.
    pub(super) fn needs(&self, digest: &Digest) -> bool {
        self.digest == *digest || self.blobs.iter().any(|blob| blob.digest == *digest)
    }

    pub(super) fn descriptor(&self) -> Descriptor {
        Descriptor { digest: self.digest, size: self.content.len() as u64 }
    }
}
