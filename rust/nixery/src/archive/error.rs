//! What can go wrong while a layer is packed.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use thiserror::Error;

use crate::store_path::StorePath;

/// Why a layer was not packed. Whatever reached the sink before is useless
/// then; the pool stays usable for all other layers.
#[derive(Debug, Error)]
pub enum PackError {
    /// A file, directory or symbolic link could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// What was being read.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file's size or kind changed between its listing and its end, so it
    /// is not a valid store object.
    #[error("{} changed while it was being read", path.display())]
    Changed {
        /// The file that changed.
        path: PathBuf,
    },
    /// A socket, pipe or device, which Nix forbids in its store.
    #[error(
        "{} is not a regular file, a directory or a symbolic link; remove it from the store path",
        path.display()
    )]
    Unsupported {
        /// The offending file.
        path: PathBuf,
    },
    /// Gzip members that were packed before are not what they were.
    #[error("what was packed of {path} before can't be used again")]
    Damaged {
        /// The store path that they are of.
        path: StorePath,
        /// What is wrong with them.
        source: io::Error,
    },
    /// The storage that has another layer failed; what is in that may be good.
    #[error("can't read {path} in another layer")]
    Source {
        /// The store path that is in it.
        path: StorePath,
        /// Why.
        source: io::Error,
    },
    /// The sink refused the compressed bytes.
    #[error("cannot write the layer")]
    Sink(#[source] io::Error),
    /// The caller asked to stop.
    #[error("packing was cancelled")]
    Cancelled,
    /// A compression thread failed on one block of this layer.
    #[error("a block of the layer could not be compressed")]
    Compression,
}

impl PackError {
    /// A failure to read `path`, which is absolute but for its leading slash.
    pub(super) fn read(path: &[u8], source: impl Into<io::Error>) -> Self {
        Self::Read { path: absolute(path), source: source.into() }
    }

    /// `path`, without its leading slash, is not what it was before.
    pub(super) fn changed(path: &[u8]) -> Self {
        Self::Changed { path: absolute(path) }
    }
}

/// The absolute path whose name in the archive is `path`.
pub(super) fn absolute(path: &[u8]) -> PathBuf {
    PathBuf::from("/").join(OsStr::from_bytes(path))
}
