//! A blob that can be read.

use std::fs::File;
use std::io::{self, IoSliceMut, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, copy_file_range, openat, openat2};
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
    pub(crate) fn in_memory(content: Bytes) -> Self {
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

/// Takes the bytes of a blob that is being made.
pub trait BlobSink: Write {
    /// Writes `length` bytes of another blob, from `offset` on.
    fn append(&mut self, source: &Blob, offset: u64, length: u64) -> io::Result<()> {
        append_by_reading(self, source, offset, length)
    }
}

/// Bytes copied at a time, where the kernel doesn't do it.
const COPY: usize = 256 << 10;

/// Appends a part of a blob to `target`, over memory.
pub(super) fn append_by_reading<W: Write + ?Sized>(
    target: &mut W,
    source: &Blob,
    mut offset: u64,
    length: u64,
) -> io::Result<()> {
    let end = offset + length;
    let mut buffer = vec![0; usize::try_from(length).map_or(COPY, |length| length.min(COPY))];
    while offset < end {
        let now = usize::try_from(end - offset).map_or(COPY, |left| left.min(COPY));
        source.read_exact_at(&mut buffer[..now], offset)?;
        target.write_all(&buffer[..now])?;
        offset += now as u64;
    }
    Ok(())
}

impl BlobSink for Vec<u8> {}

/// Appends a part of a blob to `target` within the kernel, which shares the bytes
/// instead of copying them where the file system can (`copy_file_range(2)`). Returns
/// how many of the bytes it took: fewer where it can't, such as from memory or
/// across file systems.
pub(super) fn append_in_kernel(
    target: &File,
    source: &Blob,
    mut offset: u64,
    length: u64,
) -> io::Result<u64> {
    let Content::File(file) = &source.content else { return Ok(0) };
    let mut done = 0;
    while done < length {
        let left = usize::try_from(length - done).unwrap_or(usize::MAX);
        match copy_file_range(file, Some(&mut offset), target, None, left) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(copied) => done += copied as u64,
            Err(Errno::INTR) => {}
            Err(Errno::NOSPC | Errno::DQUOT) => return Err(io::ErrorKind::StorageFull.into()),
            // Not between these files, or not on this kernel.
            Err(_) => break,
        }
    }
    Ok(done)
}

/// Opens a file. Anything else that has its name, such as a pipe, is opened without
/// waiting for another end.
pub(super) fn open(path: &Path) -> io::Result<File> {
    Ok(openat(CWD, path, FLAGS, Mode::empty())?.into())
}

const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

/// Opens a file for callers that must not wait: fails where its name would have to
/// be looked up on the disk (`openat2(2)`, `RESOLVE_CACHED`; Linux 5.12).
pub(super) fn open_now(path: &Path) -> io::Result<File> {
    Ok(openat2(CWD, path, FLAGS, Mode::empty(), ResolveFlags::CACHED)?.into())
}

fn slice(bytes: &Bytes, offset: u64, length: usize) -> io::Result<&[u8]> {
    usize::try_from(offset)
        .ok()
        .and_then(|start| bytes.get(start..start.checked_add(length)?))
        .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}
