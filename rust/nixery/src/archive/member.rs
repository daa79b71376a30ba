//! Reading gzip members that were packed before.

use std::io;

use libdeflater::Decompressor;

use super::gzip::BLOCK_SIZE;
use crate::storage::Blob;

/// Longest member that is read, in bytes. A member holds one block, and one that
/// can't be compressed is longer than that by a few bytes in each 64 KiB.
const MAX_MEMBER: usize = BLOCK_SIZE + BLOCK_SIZE / 16;

/// Reads members one after the other. Has two buffers of a block each.
pub(super) struct MemberReader {
    decompressor: Decompressor,
    compressed: Vec<u8>,
    content: Vec<u8>,
}

/// A member in its two forms.
pub(super) struct Member<'a> {
    pub(super) compressed: &'a [u8],
    pub(super) content: &'a [u8],
}

impl MemberReader {
    pub(super) fn new() -> Self {
        Self {
            decompressor: Decompressor::new(),
            compressed: vec![0; MAX_MEMBER],
            content: vec![0; BLOCK_SIZE],
        }
    }

    /// Reads the member at `offset`. Fails also where it is damaged: a member has
    /// a checksum of its content (RFC 1952, 2.3.1).
    pub(super) fn read(&mut self, blob: &Blob, offset: u64, length: u32) -> io::Result<Member<'_>> {
        let length = usize::try_from(length).map_err(io::Error::other)?;
        let compressed = self.compressed.get_mut(..length).ok_or(io::ErrorKind::InvalidData)?;
        blob.read_exact_at(compressed, offset)?;
        let held = self
            .decompressor
            .gzip_decompress(compressed, &mut self.content)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(Member { compressed, content: &self.content[..held] })
    }
}
