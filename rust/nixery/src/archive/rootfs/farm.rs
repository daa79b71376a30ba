//! The link farm: one tree of links to what is in several packages.

use std::collections::BTreeMap;

use super::tree::{Directory, Node};
use crate::archive::listing::Listing;
use crate::store_path::StorePath;

/// Directories up to this depth are real ones even if only one package has them:
/// `/etc` is 1, `/etc/ssl` is 2. People mount and write files there.
const REAL_DEPTH: usize = 2;

/// Deeper directories that are real as well, since something is added to them.
const REAL: [&[u8]; 1] = [b"etc/ssl/certs"];

/// The most directories that are merged. Links from one directory to another
/// can make a small package look like an endless tree, and no image comes near
/// this; what is beyond it becomes a link to the first package's directory.
const DIRECTORY_LIMIT: usize = 50_000;

/// The depth down to which directories are merged, for the same reason.
const DEPTH_LIMIT: usize = 100;

/// Merges `packages`: where several have the same file, the first wins.
pub(super) fn merge(packages: &[(&StorePath, &Listing)]) -> Directory {
    let sources = packages.iter().map(|(path, listing)| Source {
        listing,
        path: path.as_str().as_bytes().to_vec(),
        chain: vec![0],
    });
    Merger { directories: 0 }.merge(&sources.collect::<Vec<_>>(), b"", 1)
}

/// A directory of one package that takes part in a merged one.
struct Source<'a> {
    listing: &'a Listing,
    /// Where it is, absolute.
    path: Vec<u8>,
    /// The numbers of the directories on the way to it, itself last.
    chain: Vec<usize>,
}

impl Source<'_> {
    fn below(&self, name: &[u8]) -> Vec<u8> {
        [&self.path, &b"/"[..], name].concat()
    }
}

struct Merger {
    /// How many directories have been merged.
    directories: usize,
}

impl Merger {
    /// Merges `sources`, which are what several packages have at `path`;
    /// `depth` is that of the entries.
    fn merge(&mut self, sources: &[Source<'_>], path: &[u8], depth: usize) -> Directory {
        self.directories += 1;
        let mut names = BTreeMap::<&[u8], Vec<(&Source<'_>, Option<usize>)>>::new();
        for source in sources {
            let Some(&number) = source.chain.last() else { continue };
            for (name, directory) in source.listing.entries(number) {
                // A link back to a directory on the way is a link like any other.
                let directory = directory.filter(|number| !source.chain.contains(number));
                names.entry(&name.0).or_default().push((source, directory));
            }
        }
        let mut entries = BTreeMap::new();
        for (name, found) in names {
            let mut path = path.to_vec();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name);
            entries.insert(name.to_vec(), self.entry(name, &found, &path, depth));
        }
        Directory { entries, ..Directory::default() }
    }

    /// What becomes of `name`, which `found` have: the sources and the numbers
    /// of the directories that it is in them.
    fn entry(
        &mut self,
        name: &[u8],
        found: &[(&Source<'_>, Option<usize>)],
        path: &[u8],
        depth: usize,
    ) -> Node {
        let directories: Vec<Source<'_>> = found
            .iter()
            .filter_map(|(source, number)| {
                let mut chain = source.chain.clone();
                chain.push((*number)?);
                Some(Source { listing: source.listing, path: source.below(name), chain })
            })
            .collect();
        let first_is_file = found.first().is_none_or(|(_, number)| number.is_none());
        let must_be_real = depth <= REAL_DEPTH || REAL.contains(&path);
        let alone = directories.len() == 1 && !must_be_real;
        let too_much = self.directories >= DIRECTORY_LIMIT || depth >= DEPTH_LIMIT;
        if first_is_file || alone || too_much {
            let target = found.first().map(|(source, _)| source.below(name)).unwrap_or_default();
            return Node::Symlink { target };
        }
        Node::Directory(self.merge(&directories, path, depth + 1))
    }
}
