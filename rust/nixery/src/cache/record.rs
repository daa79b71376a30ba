//! What is recorded.

use serde::{Deserialize, Serialize};

use crate::archive::{Listing, Packed, PathMembers};
use crate::layers::Closure;
use crate::nix::Package;
use crate::oci::{Descriptor, Digest};
use crate::store_path::StorePath;

/// A record of the manifests of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestRecord {
    /// What the image is, for people: its packages, platform and source.
    pub image: String,
    /// The manifests, each in another format. They name all other blobs.
    pub manifests: Vec<Descriptor>,
}

/// A record of a layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerRecord {
    /// Digest of the tar stream.
    pub diff_id: Digest,
    /// The blob.
    pub blob: Descriptor,
    /// MD5 of the blob, which object stores compare.
    pub md5: [u8; 16],
    /// Length of the tar stream in bytes.
    pub uncompressed_size: u64,
    /// Compression level.
    pub level: u8,
    /// Where the gzip members of each store path are in the blob; empty for a root
    /// file system.
    pub members: Vec<PathMembers>,
}

impl LayerRecord {
    /// The record of a layer that was packed at `level`.
    pub fn new(packed: Packed, level: u8) -> Self {
        Self {
            diff_id: packed.diff_id,
            blob: Descriptor { digest: packed.digest, size: packed.size },
            md5: packed.md5,
            uncompressed_size: packed.uncompressed_size,
            level,
            members: packed.members,
        }
    }
}

/// A record of a store path that was packed: where its bytes are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PathRecord {
    /// A layer that has it.
    pub blob: Descriptor,
    /// Compression level.
    pub level: u8,
    /// Where in that.
    pub members: PathMembers,
}

/// A record of a package that was prepared: all that an image needs to know of it,
/// so that nobody has to ask Nix, or to look into the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageRecord {
    /// What it is.
    pub package: Package,
    /// All that it needs, itself included.
    pub closure: Closure,
    /// What is in it, for the root file system.
    pub listing: Listing,
    /// The store paths of its closure that have the UTF-8 locale of the C library.
    pub locales: Vec<StorePath>,
}
