//! Store paths as one tar archive whose bytes depend on nothing but them.
//!
//! Every entry belongs to user and group 0 and has Nix's time stamp; hard links
//! are written as files of their own, since whether two files of a store share
//! an inode depends only on when it was last optimised.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

use super::error::PackError;
use super::header::{Kind, UNIT, header, is_long};
use super::walk::{Entry, Node, Walk};
use crate::store_path::StorePath;

/// Length of an archive's end: two blocks of zeros.
pub(super) const TRAILER_LENGTH: u64 = 2 * UNIT as u64;

/// Name of the records that carry long names, as GNU tar writes it.
pub(super) const LONG_RECORD_NAME: &[u8] = b"././@LongLink";

/// Where an archive is written to: a sequence of buffers, which files are read
/// into without a copy on the way.
pub trait Output {
    /// Room for the next bytes; never empty. What was in it does not matter.
    fn space(&mut self) -> Result<&mut [u8], PackError>;

    /// Says that the first `length` bytes of [`space`](Self::space) are written.
    fn advance(&mut self, length: usize);

    /// Says that another part of the archive starts with the next byte.
    fn begin_part(&mut self) -> Result<(), PackError>;
}

/// Writes an archive of `paths`, which must be sorted.
///
/// Its parts are: the directories above the store paths (`nix/`, `nix/store/`),
/// then each store path's own tree, then the end of the archive.
pub fn write_store_paths(paths: &[&StorePath], out: &mut impl Output) -> Result<(), PackError> {
    write_beginning(paths, out)?;
    write_trees(paths, out)?;
    write_end(out)
}

/// Writes the part before the store paths: the directories above them.
pub(super) fn write_beginning(
    paths: &[&StorePath],
    out: &mut impl Output,
) -> Result<(), PackError> {
    out.begin_part()?;
    for ancestor in ancestors(paths) {
        write_directory(out, ancestor, 0o755)?;
    }
    Ok(())
}

/// Writes the trees of `paths`, each as a part of its own.
pub(super) fn write_trees(paths: &[&StorePath], out: &mut impl Output) -> Result<(), PackError> {
    for entry in Walk::new(paths) {
        let Entry { path, is_root, node } = entry?;
        if is_root {
            out.begin_part()?;
        }
        match node {
            Node::Directory { mode } => write_directory(out, &path, mode)?,
            Node::Symlink { target } => write_symlink(out, &path, &target)?,
            Node::File { file, mode, size } => write_open_file(out, &path, mode, size, &file)?,
        }
    }
    Ok(())
}

/// Every directory above one of `paths`, without the leading slash, sorted.
fn ancestors<'a>(paths: &[&'a StorePath]) -> BTreeSet<&'a [u8]> {
    let mut ancestors = BTreeSet::new();
    for path in paths {
        let path = &path.as_str()[1..];
        ancestors.extend(path.match_indices('/').map(|(end, _)| &path.as_bytes()[..end]));
    }
    ancestors
}

/// Writes the end of the archive, a part of its own.
pub(super) fn write_end(out: &mut impl Output) -> Result<(), PackError> {
    out.begin_part()?;
    write_zeros(out, TRAILER_LENGTH)
}

/// Writes the entry of a directory; `path` is without slashes at its ends.
pub(super) fn write_directory(
    out: &mut impl Output,
    path: &[u8],
    mode: u32,
) -> Result<(), PackError> {
    let mut name = Vec::with_capacity(path.len() + 1);
    name.extend_from_slice(path);
    name.push(b'/');
    write_header(out, Kind::Directory, &name, b"", mode, 0)
}

/// Writes the entry of a symbolic link.
pub(super) fn write_symlink(
    out: &mut impl Output,
    path: &[u8],
    target: &[u8],
) -> Result<(), PackError> {
    write_header(out, Kind::Symlink, path, target, 0o777, 0)
}

/// Writes the entry of a regular file.
pub(super) fn write_file(
    out: &mut impl Output,
    path: &[u8],
    mode: u32,
    content: &[u8],
) -> Result<(), PackError> {
    write_header(out, Kind::File, path, b"", mode, content.len() as u64)?;
    write_padded(out, content)
}

/// Writes the entry of a regular file that is open at its start, and must have
/// `size` bytes.
fn write_open_file(
    out: &mut impl Output,
    path: &[u8],
    mode: u32,
    size: u64,
    file: &OwnedFd,
) -> Result<(), PackError> {
    write_header(out, Kind::File, path, b"", mode, size)?;
    let mut left = size;
    loop {
        let space = out.space()?;
        // Asking for one byte more than there should be shows in the same call
        // whether the file ends where it should.
        let wanted = at_most(left + 1, space.len());
        let read = rustix::io::retry_on_intr(|| rustix::io::read(file, &mut space[..wanted]))
            .map_err(|error| PackError::read(path, error))?;
        left = left.checked_sub(read as u64).ok_or_else(|| PackError::changed(path))?;
        out.advance(read);
        match (left, read) {
            (0, read) if read < wanted => break,
            (1.., 0) => return Err(PackError::changed(path)),
            _ => {}
        }
    }
    write_zeros(out, padding(size))
}

/// Writes an entry's header and, before it, what is too long for it.
fn write_header(
    out: &mut impl Output,
    kind: Kind,
    name: &[u8],
    target: &[u8],
    mode: u32,
    size: u64,
) -> Result<(), PackError> {
    for (kind, long) in [(Kind::LongTarget, target), (Kind::LongName, name)] {
        if is_long(long) {
            // The text ends with a NUL, which counts.
            let text = [long, b"\0"].concat();
            write(out, &header(kind, LONG_RECORD_NAME, b"", 0o644, text.len() as u64))?;
            write_padded(out, &text)?;
        }
    }
    write(out, &header(kind, name, target, mode, size))
}

/// Writes `content` and fills up its last block.
fn write_padded(out: &mut impl Output, content: &[u8]) -> Result<(), PackError> {
    write(out, content)?;
    write_zeros(out, padding(content.len() as u64))
}

/// How many bytes are missing after `size` bytes to whole blocks.
fn padding(size: u64) -> u64 {
    size.wrapping_neg() % UNIT as u64
}

/// The smaller of the two.
fn at_most(wanted: u64, room: usize) -> usize {
    usize::try_from(wanted).map_or(room, |wanted| wanted.min(room))
}

fn write(out: &mut impl Output, mut bytes: &[u8]) -> Result<(), PackError> {
    while !bytes.is_empty() {
        let space = out.space()?;
        let (now, later) = bytes.split_at(bytes.len().min(space.len()));
        space[..now.len()].copy_from_slice(now);
        out.advance(now.len());
        bytes = later;
    }
    Ok(())
}

fn write_zeros(out: &mut impl Output, mut count: u64) -> Result<(), PackError> {
    while count > 0 {
        let space = out.space()?;
        let now = at_most(count, space.len());
        space[..now].fill(0);
        out.advance(now);
        count -= now as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
