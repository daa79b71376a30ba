//! The root file system: the layer through which programs find the packages.
//!
//! It holds no store paths, only symbolic links into them: `/bin/git` leads to
//! `/nix/store/…-git-2.47.0/bin/git`. Directories that several packages have are
//! real, with the contents of all; a deeper one that only one package has is a
//! link to it. A few directories and files that every Linux program expects are
//! added.

mod base;
mod farm;
mod tree;

#[cfg(test)]
mod tests;

use std::io::Write;
use std::sync::atomic::AtomicBool;

use super::error::PackError;
use super::layer::{OnlyWrite, Packed};
use super::listing::Listing;
use super::pool::Pool;
use super::stream::LayerStream;
use super::tar::{self, Output};
use crate::store_path::StorePath;
use tree::{Directory, Node};

/// Everything in a root file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootFs {
    root: Directory,
}

/// Plans the root file system of an image with `packages`.
///
/// The same packages give the same plan in any order. Where two have the same
/// file, the one whose store path is lower wins; what a package has wins over
/// what is added.
pub fn plan(packages: &[(StorePath, Listing)]) -> RootFs {
    let mut packages: Vec<_> = packages.iter().map(|(path, listing)| (path, listing)).collect();
    packages.sort_by_key(|(path, _)| *path);
    packages.dedup_by_key(|(path, _)| *path);
    let mut root = farm::merge(&packages);
    base::complete(&mut root);
    RootFs { root }
}

/// Packs `rootfs` into a layer of its own, as [`pack_layer`] does with store
/// paths; [`Packed::members`] is empty.
///
/// [`pack_layer`]: super::pack_layer
pub fn pack_rootfs(
    pool: &Pool,
    rootfs: &RootFs,
    sink: &mut dyn Write,
    cancelled: &AtomicBool,
) -> Result<Packed, PackError> {
    let mut sink = OnlyWrite(sink);
    let mut stream = LayerStream::new(pool, &mut sink, cancelled);
    stream.begin_part()?;
    write_tree(&mut stream, b".", &rootfs.root)?;
    tar::write_end(&mut stream)?;
    Ok(Packed::new(stream.finish()?, &[]))
}

/// Writes the directory at `path` and everything below it.
fn write_tree(out: &mut impl Output, path: &[u8], directory: &Directory) -> Result<(), PackError> {
    tar::write_directory(out, path, directory.mode)?;
    for (name, node) in &directory.entries {
        let path = [path, b"/", name].concat();
        match node {
            Node::Symlink { target } => tar::write_symlink(out, &path, target)?,
            Node::File { mode, content } => tar::write_file(out, &path, *mode, content)?,
            Node::Directory(directory) => write_tree(out, &path, directory)?,
        }
    }
    Ok(())
}
