//! Reading gzip members that were packed before.

use std::io;

use libdeflater::{Decompressor, crc32};

use super::gzip::BLOCK_SIZE;
use super::header::UNIT;
use super::tar::LONG_RECORD_NAME;
use crate::storage::BlobReader;
use crate::store_path::StorePath;

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

    /// Reads the member that comes next. Fails also where it is damaged: a member has
    /// a checksum of its content (RFC 1952, 2.3.1).
    pub(super) fn read(&mut self, blob: &mut BlobReader, length: u32) -> io::Result<Member<'_>> {
        let length = usize::try_from(length).map_err(io::Error::other)?;
        let compressed = self.compressed.get_mut(..length).ok_or(io::ErrorKind::InvalidData)?;
        blob.read_exact(compressed)?;
        let held = self
            .decompressor
            .gzip_decompress(compressed, &mut self.content)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let content = &self.content[..held];
        // What comes after a member is overlooked; then the end is of something else
        // (RFC 1952, 2.3: CRC-32 and length).
        let end = [
            crc32(content).to_le_bytes(),
            (held as u64).to_le_bytes()[..4].try_into().unwrap_or_default(),
        ];
        if !compressed.ends_with(end.as_flattened()) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(Member { compressed, content })
    }
}

/// Whether an archive begins with the entry of `path`, or of its long name.
pub(super) fn begins_with(archive: &[u8], path: &StorePath) -> bool {
    let path = &path.as_str().as_bytes()[1..];
    let name = if archive.starts_with(LONG_RECORD_NAME) {
        archive.get(UNIT..).unwrap_or_default()
    } else {
        archive.get(..NAME_LENGTH).unwrap_or_default()
    };
    let rest = name.strip_prefix(path);
    rest.is_some_and(|rest| matches!(rest.strip_prefix(b"/").unwrap_or(rest), [] | [0, ..]))
}

/// Length of the field for names (POSIX.1-2017, pax, "ustar Interchange Format").
const NAME_LENGTH: usize = 100;
