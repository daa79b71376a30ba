//! A blob that can be read.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

/// An open blob: it stays readable, and the same, whatever happens to its name.
#[derive(Clone, Debug)]
pub struct Blob {
    size: u64,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    Memory(Bytes),
    File(Arc<File>),
}

/// What a read that must not block came to.
#[derive(Debug, PartialEq, Eq)]
pub enum ReadNow {
    /// So many bytes are in the buffer, at least one.
    Read(usize),
    /// The bytes would have to come from the disk first.
    WouldBlock,
}

impl Blob {
    pub(super) fn in_memory(content: Bytes) -> Self {
        Self { size: content.len() as u64, content: Content::Memory(content) }
    }

    pub(super) fn in_file(file: Arc<File>, size: u64) -> Self {
        Self { size, content: Content::File(file) }
    }

    /// Length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The bytes themselves, where they are in memory anyway.
    pub fn bytes(&self) -> Option<&Bytes> {
        match &self.content {
            Content::Memory(bytes) => Some(bytes),
            Content::File(_) => None,
        }
    }

    /// Fills `buffer` from `offset` on. May wait for the disk.
    ///
    /// Ends with `UnexpectedEof` where the blob has fewer bytes than that.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match &self.content {
            Content::File(file) => file.read_exact_at(buffer, offset),
            Content::Memory(bytes) => {
                buffer.copy_from_slice(slice(bytes, offset, buffer.len())?);
                Ok(())
            }
        }
    }

    /// Reads what is in memory already, for callers that must not wait.
    pub fn read_now(&self, buffer: &mut [u8], offset: u64) -> io::Result<ReadNow> {
        let Content::File(file) = &self.content else {
            self.read_exact_at(buffer, offset)?;
            return Ok(ReadNow::Read(buffer.len()));
        };
        let mut target = [IoSliceMut::new(buffer)];
        match preadv2(file, &mut target, offset, ReadWriteFlags::NOWAIT) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => Ok(ReadNow::Read(read)),
            // Not in the page cache; or a file system that can't tell.
            Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INTR) => {
                Ok(ReadNow::WouldBlock)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The whole content, where it has at most `limit` bytes. May wait for the
    /// disk.
    pub fn read_all(&self, limit: u64) -> io::Result<Option<Vec<u8>>> {
        if self.size > limit {
            return Ok(None);
        }
        let mut content = vec![0; usize::try_from(self.size).map_err(io::Error::other)?];
        self.read_exact_at(&mut content, 0)?;
        Ok(Some(content))
    }
}

/// Opens a file for callers that must not wait: fails where its name would have to
/// be looked up on the disk (`openat2(2)`, `RESOLVE_CACHED`; Linux 5.12).
pub(super) fn open_now(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED)?.into())
}

fn slice(bytes: &Bytes, offset: u64, length: usize) -> io::Result<&[u8]> {
    usize::try_from(offset)
        .ok()
        .and_then(|start| bytes.get(start..start.checked_add(length)?))
        .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}
