//! A blob that can be read.

use std::fmt;
use std::fs::File;
use std::io::{self, IoSliceMut, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, copy_file_range, openat, openat2};
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use tokio::sync::mpsc;

/// An open blob. On this machine it stays readable, and the same, whatever happens to its
/// name; on another, reading it fails when it is gone.
#[derive(Clone, Debug)]
pub struct Blob {
    size: u64,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    Memory(Bytes),
    File(Arc<File>),
    Remote(Arc<dyn RemoteBlob>),
}

/// A blob on another machine.
pub(super) trait RemoteBlob: fmt::Debug + Send + Sync {
    /// Begins to fetch the bytes from `start` up to `end`, exclusive. They come in order
    /// and in pieces; the last may be an error. Dropping the receiver ends it.
    fn fetch(&self, start: u64, end: u64) -> Pieces;
}

/// Bytes that are on their way. A channel that ends before all have come has failed.
pub type Pieces = mpsc::Receiver<io::Result<Bytes>>;

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

    pub(super) fn remote(blob: Arc<dyn RemoteBlob>, size: u64) -> Self {
        Self { size, content: Content::Remote(blob) }
    }

    /// Length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The bytes themselves, where they are in memory anyway.
    pub fn bytes(&self) -> Option<&Bytes> {
        match &self.content {
            Content::Memory(bytes) => Some(bytes),
            Content::File(_) | Content::Remote(_) => None,
        }
    }

    /// Begins to fetch a part of it, where it is on another machine.
    pub fn fetch(&self, start: u64, end: u64) -> Option<Pieces> {
        match &self.content {
            Content::Remote(blob) => Some(blob.fetch(start, end)),
            Content::Memory(_) | Content::File(_) => None,
        }
    }

    /// Reads `length` bytes from `offset` on, in order. What is on another machine is on
    /// its way from now on. For a thread that may wait.
    pub fn reader(&self, offset: u64, length: u64) -> BlobReader {
        let source = match self.fetch(offset, offset.saturating_add(length)) {
            Some(pieces) => Source::Remote { pieces, current: Bytes::new() },
            None => Source::Local { blob: self.clone(), position: offset },
        };
        BlobReader { source }
    }

    /// Fills `buffer` from `offset` on. May wait for the disk, or for another machine.
    ///
    /// Ends with `UnexpectedEof` where the blob has fewer bytes than that.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match &self.content {
            Content::File(file) => file.read_exact_at(buffer, offset),
            Content::Memory(bytes) => {
                buffer.copy_from_slice(slice(bytes, offset, buffer.len())?);
                Ok(())
            }
            Content::Remote(_) => {
                let length = buffer.len() as u64;
                match offset.checked_add(length) {
                    Some(end) if end <= self.size => self.reader(offset, length).read_exact(buffer),
                    _ => Err(io::ErrorKind::UnexpectedEof.into()),
                }
            }
        }
    }

    /// Reads what is in memory already, for callers that must not wait.
    pub fn read_now(&self, buffer: &mut [u8], offset: u64) -> io::Result<ReadNow> {
        let file = match &self.content {
            Content::File(file) => file,
            Content::Memory(_) => {
                self.read_exact_at(buffer, offset)?;
                return Ok(ReadNow::Read(buffer.len()));
            }
            Content::Remote(_) => return Ok(ReadNow::WouldBlock),
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

/// Reads a part of a blob in order. Blocks.
#[derive(Debug)]
pub struct BlobReader {
    source: Source,
}

#[derive(Debug)]
enum Source {
    Local { blob: Blob, position: u64 },
    Remote { pieces: Pieces, current: Bytes },
}

impl BlobReader {
    /// Fills `buffer` with what comes next.
    pub fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        match &mut self.source {
            Source::Local { blob, position } => {
                blob.read_exact_at(buffer, *position)?;
                *position += buffer.len() as u64;
                Ok(())
            }
            Source::Remote { pieces, current } => {
                let mut filled = 0;
                while filled < buffer.len() {
                    if current.is_empty() {
                        let next = pieces.blocking_recv();
                        *current = next.ok_or(io::ErrorKind::UnexpectedEof)??;
                    }
                    let piece = current.split_to(current.len().min(buffer.len() - filled));
                    buffer[filled..filled + piece.len()].copy_from_slice(&piece);
                    filled += piece.len();
                }
                Ok(())
            }
        }
    }
}

/// Takes the bytes of a blob that is being made.
pub trait BlobSink: Write {
    /// Takes a part of another blob without its bytes being written here, where it can;
    /// `false` where it can't, and has taken nothing.
    fn share(&mut self, _source: &Blob, _offset: u64, _length: u64) -> io::Result<bool> {
        Ok(false)
    }
}

impl BlobSink for Vec<u8> {}

/// Appends a part of a blob to `target` within the kernel, which shares the bytes
/// instead of copying them where the file system can (`copy_file_range(2)`); `false`
/// where it can do neither, such as from memory or across file systems.
pub(super) fn append_in_kernel(
    target: &File,
    source: &Blob,
    mut offset: u64,
    length: u64,
) -> io::Result<bool> {
    let Content::File(file) = &source.content else { return Ok(false) };
    let mut done = 0;
    while done < length {
        let left = usize::try_from(length - done).unwrap_or(usize::MAX);
        match copy_file_range(file, Some(&mut offset), target, None, left) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(copied) => done += copied as u64,
            Err(Errno::INTR) => {}
            Err(Errno::NOSPC | Errno::DQUOT) => return Err(io::ErrorKind::StorageFull.into()),
            // Not between these files, or not on this kernel.
            Err(_) if done == 0 => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
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
