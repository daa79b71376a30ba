//! Packing store paths into one layer.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};

use super::error::PackError;
use super::gzip::BLOCK_SIZE;
use super::member::MemberReader;
use super::pool::Pool;
use super::stream::{Finished, LayerStream, Part};
use super::tar;
use crate::oci::Digest;
use crate::storage::{Blob, BlobReader, BlobSink};
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
    /// How many compressed bytes each of them has.
    pub members: Vec<u32>,
    /// How many bytes of the archive they hold.
    pub uncompressed: u64,
}

impl PathMembers {
    /// How many compressed bytes they are together.
    pub fn length(&self) -> u64 {
        self.members.iter().copied().map(u64::from).sum()
    }
}

/// A store path of a layer, and where its bytes come from.
#[derive(Clone, Debug)]
pub enum PathSource {
    /// From the store: they are packed.
    Store(StorePath),
    /// From a layer that has them: they are copied.
    Layer {
        /// Where they are.
        members: PathMembers,
        /// The layer.
        blob: Blob,
    },
}

impl PathSource {
    /// The store path.
    pub fn path(&self) -> &StorePath {
        match self {
            Self::Store(path) => path,
            Self::Layer { members, .. } => &members.path,
        }
    }

    fn reader(&self) -> Option<BlobReader> {
        match self {
            Self::Store(_) => None,
            Self::Layer { members, blob } => Some(blob.reader(members.offset, members.length())),
        }
    }
}

/// Paths in other layers whose bytes are on their way at the same time, where these
/// layers are on another machine: more than one, as each has to be waited for.
const READ_AHEAD: usize = 4;

/// Bytes of memory that putting a layer together takes besides the pool's, roughly: two
/// blocks of what is copied, lists of files, buffers for directories.
pub const LAYER_MEMORY: usize = 3 * BLOCK_SIZE;

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
    let sources = paths.iter().cloned().map(PathSource::Store).collect();
    put_together(pool, sources, &mut OnlyWrite(sink), cancelled)
}

/// The same for paths of which some are in other layers already: these are not
/// compressed again, and need not be in the store. The layer is the same, byte by
/// byte, whichever they are.
pub fn put_together(
    pool: &Pool,
    mut sources: Vec<PathSource>,
    sink: &mut dyn BlobSink,
    cancelled: &AtomicBool,
) -> Result<Packed, PackError> {
    sources.sort_by(|a, b| a.path().cmp(b.path()));
    sources.dedup_by(|a, b| a.path() == b.path());
    let paths: Vec<&StorePath> = sources.iter().map(PathSource::path).collect();
    let mut stream = LayerStream::new(pool, sink, cancelled);
    let mut reader = None;
    let mut upcoming = sources.iter().filter_map(PathSource::reader);
    let mut ahead = VecDeque::new();
    tar::write_beginning(&paths, &mut stream)?;
    let is_packed = |source: &PathSource| matches!(source, PathSource::Store(_));
    let mut first = 0;
    // Runs of paths from the store are walked through together, so that what
    // comes next is read ahead.
    for run in sources.chunk_by(|a, b| is_packed(a) && is_packed(b)) {
        match &run[0] {
            PathSource::Store(_) => {
                tar::write_trees(&paths[first..first + run.len()], &mut stream)?;
            }
            PathSource::Layer { members, blob } => {
                while ahead.len() < READ_AHEAD
                    && let Some(reader) = upcoming.next()
                {
                    ahead.push_back(reader);
                }
                let begin = || blob.reader(members.offset, members.length());
                let bytes = ahead.pop_front().unwrap_or_else(begin);
                let reader = reader.get_or_insert_with(MemberReader::new);
                stream.copy(members, blob, bytes, reader)?;
            }
        }
        first += run.len();
    }
    tar::write_end(&mut stream)?;
    Ok(Packed::new(stream.finish()?, &paths))
}

/// A sink that takes bytes only.
pub(super) struct OnlyWrite<'a>(pub(super) &'a mut dyn Write);

impl Write for OnlyWrite<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl BlobSink for OnlyWrite<'_> {}

impl Packed {
    /// `paths` are those of the parts after the first.
    pub(super) fn new(finished: Finished, paths: &[&StorePath]) -> Self {
        let Finished { diff_id, blob, parts } = finished;
        let mut offset = parts.first().map_or(0, Part::compressed);
        let uncompressed_size = parts.iter().map(|part| part.uncompressed).sum();
        let members = paths
            .iter()
            .zip(parts.into_iter().skip(1))
            .map(|(path, part)| {
                let begin = offset;
                offset += part.compressed();
                PathMembers {
                    path: (*path).clone(),
                    offset: begin,
                    members: part.members,
                    uncompressed: part.uncompressed,
                }
            })
            .collect();
        Self {
            diff_id,
            digest: blob.digest,
            md5: blob.md5,
            size: blob.size,
            uncompressed_size,
            members,
        }
    }
}

#[cfg(test)]
mod tests;
