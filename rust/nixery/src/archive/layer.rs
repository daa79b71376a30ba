//! Packing store paths into one layer.

use std::io::Write;
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};

use super::error::PackError;
use super::pool::Pool;
use super::stream::{Finished, LayerStream};
use super::tar;
use crate::oci::Digest;
use crate::store_path::StorePath;

/// What a manifest, an image configuration and a storage back end need to know
/// of a layer that was packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// SHA-256 of the uncompressed archive (OCI image specification, "Layer
    /// `DiffID`").
    pub diff_id: Digest,
    /// SHA-256 of the compressed bytes.
    pub digest: Digest,
    /// MD5 of the compressed bytes.
    pub md5: [u8; 16],
    /// Length of the compressed bytes.
    pub size: u64,
    /// Length of the uncompressed archive in bytes.
    pub uncompressed_size: u64,
    /// Where each store path's gzip members are, in the order of the blob. They
    /// follow each other without gaps. Before the first are the directories above
    /// the store paths, after the last is the end of the archive, each as members
    /// of their own. Empty for the root file system layer.
    pub members: Vec<PathMembers>,
}

/// The gzip members of one store path. Their bytes depend only on the path's
/// contents and the level, so they are the same in every layer that has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathMembers {
    /// The store path.
    pub path: StorePath,
    /// Where they begin in the compressed layer, in bytes.
    pub offset: u64,
    /// How many compressed bytes they are.
    pub length: u64,
    /// How many bytes of the archive they hold.
    pub uncompressed: u64,
}

/// Packs `paths`, in the order of their bytes and each once, and writes the
/// compressed layer to `sink`.
///
/// Blocks the calling thread, which reads, hashes and writes while the pool
/// compresses. Two or three calls at a time keep a pool busy; any number is
/// safe. Setting `cancelled` makes it return [`PackError::Cancelled`] within
/// the time that a few blocks take.
pub fn pack_layer(
    pool: &Pool,
    paths: &[StorePath],
    sink: &mut dyn Write,
    cancelled: &AtomicBool,
) -> Result<Packed, PackError> {
    let mut paths: Vec<&StorePath> = paths.iter().collect();
    paths.sort_unstable();
    paths.dedup();
    let mut stream = LayerStream::new(pool, sink, cancelled);
    tar::write_store_paths(&paths, &mut stream)?;
    Ok(Packed::new(stream.finish()?, &paths))
}

impl Packed {
    /// `paths` are those of the parts after the first.
    pub(super) fn new(finished: Finished, paths: &[&StorePath]) -> Self {
        let Finished { diff_id, blob, parts } = finished;
        let mut offset = parts.first().map_or(0, |part| part.compressed);
        let members = paths
            .iter()
            .zip(parts.iter().skip(1))
            .map(|(path, part)| {
                let members = PathMembers {
                    path: (*path).clone(),
                    offset,
                    length: part.compressed,
                    uncompressed: part.uncompressed,
                };
                offset += part.compressed;
                members
            })
            .collect();
        Self {
            diff_id,
            digest: blob.digest,
            md5: blob.md5,
            size: blob.size,
            uncompressed_size: parts.iter().map(|part| part.uncompressed).sum(),
            members,
        }
    }
}

#[cfg(test)]
mod tests;
