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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use bytes::Bytes;

    use super::*;
    use crate::archive::gzip::{Gzip, Level};
    use crate::storage::Blob;

    /// Whatever stands in a layer where a record says that a member is.
    #[test]
    fn fuzzed() {
        let path = StorePath::new(format!("/nix/store/{}-a", "0".repeat(32))).unwrap();
        let gzip = RefCell::new(Gzip::new(Level::default()));
        let pack = |content: &[u8]| {
            let mut output = vec![0; gzip.borrow_mut().output_size()];
            let length = gzip.borrow_mut().member(content, &mut output).unwrap();
            output.truncate(length);
            output
        };
        let mut long = LONG_RECORD_NAME.to_vec();
        long.resize(UNIT, 0);
        long.extend_from_slice(&path.as_str().as_bytes()[1..]);
        let mut named = path.as_str().as_bytes()[1..].to_vec();
        named.resize(UNIT, 0);
        let seeds = [pack(&long), pack(&named), pack(&vec![7; BLOCK_SIZE]), pack(b"")];
        let reader = RefCell::new(MemberReader::new());
        // The buffers are there already.
        let fuzz = crate::fuzz::parser("gzip members", seeds).base(1 << 10).factor(2);
        fuzz.words([b"\x1f\x8b\x08", &[0; 3]]).run(
            |input| {
                let blob = Blob::in_memory(Bytes::copy_from_slice(input));
                let length = u32::try_from(input.len()).unwrap();
                let mut reader = reader.borrow_mut();
                let more = reader.read(&mut blob.reader(0, length.into()), length + 1);
                assert!(more.is_err(), "what isn't there was read");
                let read = reader.read(&mut blob.reader(0, length.into()), length).ok()?;
                assert_eq!(read.compressed, input);
                Some((read.content.len(), begins_with(read.content, &path)))
            },
            |input, found| {
                let Some((length, begins)) = found else { return };
                assert!(length <= BLOCK_SIZE);
                let reader = reader.borrow();
                let content = &reader.content[..length];
                let packed = pack(content);
                // RFC 1952, 2.3: the same content has the same end.
                assert!(input.ends_with(&packed[packed.len() - 8..]));
                let name = String::from_utf8_lossy(content).into_owned();
                assert!(!begins || name.contains(&path.as_str()[1..]));
            },
        );
    }
}
