//! A file system tree in memory.

use std::collections::BTreeMap;

/// Something at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Directory(Directory),
    Symlink { target: Vec<u8> },
    File { mode: u32, content: Vec<u8> },
}

/// A directory and everything below it, in the order of the names' bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Directory {
    pub(super) mode: u32,
    pub(super) entries: BTreeMap<Vec<u8>, Node>,
}

impl Default for Directory {
    fn default() -> Self {
        Self { mode: 0o755, entries: BTreeMap::new() }
    }
}

impl Directory {
    /// What is at `path`, a relative one. Links are not followed.
    pub(super) fn get(&self, path: &str) -> Option<&Node> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut directory = self;
        for part in parent.split('/').filter(|part| !part.is_empty()) {
            let Some(Node::Directory(next)) = directory.entries.get(part.as_bytes()) else {
                return None;
            };
            directory = next;
        }
        directory.entries.get(name.as_bytes())
    }

    /// Changes the directory at `path`. It is made, with those above it, where
    /// it is missing, and in place of anything else that has its name.
    pub(super) fn edit(&mut self, path: &str, change: impl FnOnce(&mut Self)) {
        let (name, rest) = path.split_once('/').unwrap_or((path, ""));
        if name.is_empty() {
            return change(self);
        }
        let mut below = match self.entries.remove(name.as_bytes()) {
            Some(Node::Directory(directory)) => directory,
            _ => Self::default(),
        };
        below.edit(rest, change);
        self.entries.insert(name.into(), Node::Directory(below));
    }

    /// Puts `node` at `path` unless something is there.
    pub(super) fn add(&mut self, path: &str, node: Node) {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        self.edit(parent, |directory| {
            directory.entries.entry(name.into()).or_insert(node);
        });
    }
}
