//! The names in a package, for the root file system's link farm.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::error::PackError;
use crate::store_path::StorePath;

/// The directory that tells Nix's builders how to use a package. Programs never
/// look at it.
const NIX_SUPPORT: &[u8] = b"nix-support";

/// The names of everything in a package, without contents.
///
/// A symbolic link that leads to a directory counts as that directory, as long
/// as it is in the store: what a link says about the rest of this machine must
/// not show in an image. Every directory is listed once, however many links lead
/// to it, so that links in a circle are no trouble. `nix-support` is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Listing {
    /// The first is the package itself; the others are what entries refer to.
    directories: Vec<Vec<Entry>>,
}

/// A name, and the number of the directory that it is or leads to; none for
/// everything that is not a directory.
pub(super) type Entry = (Name, Option<usize>);

/// The name of a file: any bytes but NUL and slash. Written as text with
/// percent escapes for what is not printable ASCII.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Name(pub(super) Vec<u8>);

/// What is escaped besides everything that is not ASCII.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

impl From<Name> for String {
    fn from(name: Name) -> Self {
        percent_encode(&name.0, ESCAPED).to_string()
    }
}

/// A text that is not the name of a file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text:?} is not the name of a file")]
pub(super) struct InvalidName {
    text: String,
}

impl TryFrom<String> for Name {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let name: Vec<u8> = percent_decode_str(&text).collect();
        let is_name = !matches!(&name[..], b"" | b"." | b"..")
            && !name.iter().any(|byte| matches!(byte, b'/' | 0));
        if is_name { Ok(Self(name)) } else { Err(InvalidName { text }) }
    }
}

impl Listing {
    /// Reads the names in `package`. A package that is a single file has none:
    /// there is no name at which the file could be expected.
    pub fn read(package: &StorePath) -> Result<Self, PackError> {
        let path = package.as_path();
        let store = path.parent().unwrap_or(path);
        let store = fs::canonicalize(store)
            .map_err(|source| PackError::Read { path: store.to_owned(), source })?;
        let mut reader = Reader { store, known: HashMap::new(), queue: Vec::new() };
        let mut directories = Vec::new();
        reader.number(path)?;
        // Reading a directory queues those that it refers to.
        while let Some(directory) = reader.queue.get(directories.len()).cloned() {
            let left_out = if directories.is_empty() { NIX_SUPPORT } else { b"" };
            directories.push(reader.entries(&directory, left_out)?);
        }
        Ok(Self { directories })
    }

    /// The entries of a directory. Directory 0 is the package.
    pub(super) fn entries(&self, directory: usize) -> &[Entry] {
        self.directories.get(directory).map_or(&[], Vec::as_slice)
    }

    /// A listing from its parts.
    #[cfg(test)]
    pub(super) fn from_directories(directories: &[&[(&str, Option<usize>)]]) -> Self {
        let name = |name: &str| Name(name.as_bytes().to_vec());
        let entries = |entries: &&[(&str, _)]| entries.iter().map(|(n, d)| (name(n), *d)).collect();
        Self { directories: directories.iter().map(entries).collect() }
    }
}

/// Gives each directory a number when it is first met.
struct Reader {
    /// The directory that holds the package; what is outside is not looked at.
    store: PathBuf,
    /// Numbers by device and inode.
    known: HashMap<(u64, u64), usize>,
    /// The directories by number.
    queue: Vec<PathBuf>,
}

impl Reader {
    /// The entries of `directory` in the order of their names, but the one
    /// called `left_out`.
    fn entries(&mut self, directory: &Path, left_out: &[u8]) -> Result<Vec<Entry>, PackError> {
        let fail = |source| PackError::Read { path: directory.to_owned(), source };
        let mut names = Vec::new();
        for entry in fs::read_dir(directory).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let kind = entry.file_type().map_err(fail)?;
            let name = entry.file_name().into_vec();
            if name != left_out {
                names.push((name, kind.is_dir() || kind.is_symlink()));
            }
        }
        // Sorted before directories get their numbers, so that a package has
        // the same listing wherever it is read.
        names.sort_unstable();
        names
            .into_iter()
            .map(|(name, may_be_directory)| {
                let path = directory.join(OsStr::from_bytes(&name));
                let number = if may_be_directory { self.number(&path)? } else { None };
                Ok((Name(name), number))
            })
            .collect()
    }

    /// The number of the directory that `path` is or leads to, if it is one.
    fn number(&mut self, path: &Path) -> Result<Option<usize>, PackError> {
        let fail = |source| PackError::Read { path: path.to_owned(), source };
        let metadata = fs::symlink_metadata(path).map_err(fail)?;
        let target = if metadata.is_symlink() { self.follow(path) } else { Some(metadata) };
        let Some(target) = target.filter(Metadata::is_dir) else { return Ok(None) };
        let next = self.queue.len();
        let number = *self.known.entry((target.dev(), target.ino())).or_insert(next);
        if number == next {
            self.queue.push(path.to_owned());
        }
        Ok(Some(number))
    }

    /// What a link leads to, unless that is nothing, or not in the store.
    fn follow(&self, link: &Path) -> Option<Metadata> {
        let metadata = fs::metadata(link).ok().filter(Metadata::is_dir)?;
        let target = fs::canonicalize(link).ok()?;
        (target != self.store && target.starts_with(&self.store)).then_some(metadata)
    }
}

#[cfg(test)]
mod tests;
