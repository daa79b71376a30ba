//! The closure graph of an image: its store paths and what they refer to.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::{Deserialize, Serialize, Serializer};
use thiserror::Error;

use crate::store_path::StorePath;

/// One store path of a closure, as the builder reports it:
/// `{"path": …, "nar_size": …, "references": […]}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ClosureNode {
    /// The store path.
    pub path: StorePath,
    /// Size of its serialisation (NAR) in bytes, without what it refers to.
    pub nar_size: u64,
    /// The store paths whose hashes occur in it.
    pub references: Vec<StorePath>,
}

/// A closed graph of store paths in its canonical form: nodes sorted by path,
/// each once; references sorted, each once, never to the node itself, and all of
/// them to nodes of the graph.
///
/// References may form cycles. Nix lets a path refer to itself only, but the
/// graph is input, and nothing here depends on it being free of cycles.
///
/// In JSON it is the list of its nodes, and checked when it is read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<ClosureNode>")]
pub struct Closure {
    nodes: Vec<ClosureNode>,
}

/// Why a list of nodes is not a closure.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ClosureError {
    /// A path is listed twice, with two sizes or two lists of references.
    #[error("{path} is in the closure graph twice, with different sizes or references")]
    Conflict {
        /// The path that is listed twice.
        path: StorePath,
    },
    /// The graph is not closed.
    #[error("{path} refers to {reference}, which is not in the closure graph")]
    MissingReference {
        /// The path that refers.
        path: StorePath,
        /// What it refers to.
        reference: StorePath,
    },
}

impl Closure {
    /// Brings `nodes` into canonical form. A node that is listed twice with the
    /// same content counts once.
    pub fn new(mut nodes: Vec<ClosureNode>) -> Result<Self, ClosureError> {
        for node in &mut nodes {
            node.references.sort_unstable();
            node.references.dedup();
            // Most libraries refer to themselves; for layers that says nothing.
            let path = &node.path;
            node.references.retain(|reference| reference != path);
        }
        nodes.sort_unstable();
        nodes.dedup();
        if let Some(twins) = nodes.windows(2).find(|pair| pair[0].path == pair[1].path) {
            return Err(ClosureError::Conflict { path: twins[0].path.clone() });
        }
        let closure = Self { nodes };
        for node in &closure.nodes {
            if let Some(missing) = node.references.iter().find(|r| !closure.contains(r)) {
                return Err(ClosureError::MissingReference {
                    path: node.path.clone(),
                    reference: missing.clone(),
                });
            }
        }
        Ok(closure)
    }

    /// The union of several closures. Where they disagree on a path, as can be if it
    /// was built twice by builds that are not reproducible, the larger size and all
    /// references count: the image then has what either of the two needs.
    pub fn merge<'a>(closures: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut nodes = BTreeMap::<&StorePath, ClosureNode>::new();
        for node in closures.into_iter().flat_map(|closure| &closure.nodes) {
            match nodes.entry(&node.path) {
                Entry::Vacant(entry) => drop(entry.insert(node.clone())),
                Entry::Occupied(mut entry) if *entry.get() != *node => {
                    let known = entry.get_mut();
                    known.nar_size = known.nar_size.max(node.nar_size);
                    known.references.extend(node.references.iter().cloned());
                    known.references.sort_unstable();
                    known.references.dedup();
                }
                Entry::Occupied(_) => {}
            }
        }
        // Closed, as each of them is; and the map sorts by path.
        Self { nodes: nodes.into_values().collect() }
    }

    /// What `root` needs, itself included; nothing if it isn't in this closure.
    #[must_use]
    pub fn of(&self, root: &StorePath) -> Self {
        let mut reached = vec![false; self.nodes.len()];
        let mut queue: Vec<usize> = self.position(root).into_iter().collect();
        while let Some(next) = queue.pop() {
            if !std::mem::replace(&mut reached[next], true) {
                let references = self.nodes[next].references.iter();
                queue.extend(references.filter_map(|path| self.position(path)));
            }
        }
        let nodes = self.nodes.iter().zip(reached);
        Self { nodes: nodes.filter(|(_, is)| *is).map(|(node, _)| node.clone()).collect() }
    }

    /// The nodes, sorted by path.
    pub fn nodes(&self) -> &[ClosureNode] {
        &self.nodes
    }

    /// Number of store paths.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no store path at all.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Whether `path` is one of the closure's.
    pub fn contains(&self, path: &StorePath) -> bool {
        self.position(path).is_some()
    }

    /// Sum of all NAR sizes in bytes; `u64::MAX` if it is larger.
    pub fn total_nar_size(&self) -> u64 {
        self.nodes.iter().fold(0, |total, node| total.saturating_add(node.nar_size))
    }

    /// Index of `path` in [`Self::nodes`].
    pub(super) fn position(&self, path: &StorePath) -> Option<usize> {
        self.nodes.binary_search_by(|node| node.path.cmp(path)).ok()
    }
}

impl TryFrom<Vec<ClosureNode>> for Closure {
    type Error = ClosureError;

    fn try_from(nodes: Vec<ClosureNode>) -> Result<Self, Self::Error> {
        Self::new(nodes)
    }
}

impl Serialize for Closure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.nodes.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::tests::{node, path};

    #[test]
    fn is_canonical_whatever_the_order() {
        let closure = Closure::new(vec![
            node("bash-5.2", 2, &["glibc-2.40", "bash-5.2", "glibc-2.40", "acl-2.3"]),
            node("glibc-2.40", 3, &["glibc-2.40"]),
            node("acl-2.3", 1, &[]),
            node("acl-2.3", 1, &[]),
        ])
        .unwrap();
        assert_eq!(
            closure.nodes(),
            [
                node("acl-2.3", 1, &[]),
                node("bash-5.2", 2, &["acl-2.3", "glibc-2.40"]),
                node("glibc-2.40", 3, &[]),
            ]
        );
        assert_eq!((closure.len(), closure.total_nar_size()), (3, 6));
    }

    #[test]
    fn refuses_contradictions_and_loose_ends() {
        assert_eq!(
            Closure::new(vec![node("a-1", 1, &[]), node("a-1", 2, &[])]),
            Err(ClosureError::Conflict { path: path("a-1") })
        );
        assert_eq!(
            Closure::new(vec![node("a-1", 1, &["b-1"])]),
            Err(ClosureError::MissingReference { path: path("a-1"), reference: path("b-1") })
        );
    }

    #[test]
    fn a_union_has_what_either_needs() {
        let glibc = || node("glibc-2.40", 3, &[]);
        let one = Closure::new(vec![node("a-1", 1, &["glibc-2.40"]), glibc()]).unwrap();
        let other = Closure::new(vec![glibc(), node("b-1", 1, &["glibc-2.40"])]).unwrap();
        let all = vec![node("a-1", 1, &["glibc-2.40"]), node("b-1", 1, &["glibc-2.40"]), glibc()];
        assert_eq!(Closure::merge([&one, &other]), Closure::new(all).unwrap());

        // Built twice, and not reproducibly.
        let built = node("glibc-2.40", 4, &["gcc-lib-14"]);
        let built = Closure::new(vec![built, node("gcc-lib-14", 1, &[])]).unwrap();
        for both in [[&one, &built], [&built, &one]] {
            let merged = Closure::merge(both);
            let glibc = &merged.nodes()[merged.position(&path("glibc-2.40")).unwrap()];
            assert_eq!(*glibc, node("glibc-2.40", 4, &["gcc-lib-14"]));
            assert_eq!(merged, Closure::new(merged.nodes().to_vec()).unwrap());
        }
        assert_eq!(Closure::merge([]), Closure::default());
    }

    #[test]
    fn a_part_has_all_that_its_root_needs() {
        let whole = Closure::new(vec![
            node("a-1", 1, &["b-1"]),
            node("b-1", 1, &["c-1"]),
            node("c-1", 1, &["b-1"]),
            node("d-1", 1, &["a-1"]),
        ])
        .unwrap();
        let paths = |root| {
            let part = whole.of(&path(root));
            part.nodes().iter().map(|node| node.path.name().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(paths("b-1"), ["b-1", "c-1"]);
        assert_eq!(paths("d-1"), ["a-1", "b-1", "c-1", "d-1"]);
        assert!(paths("e-1").is_empty());
    }

    #[test]
    fn survives_sizes_that_overflow() {
        let closure =
            Closure::new(vec![node("a-1", u64::MAX, &[]), node("b-1", u64::MAX, &[])]).unwrap();
        assert_eq!(closure.total_nar_size(), u64::MAX);
    }

    #[test]
    fn is_checked_when_read_from_json() {
        let closure = Closure::new(vec![node("a-1", 1, &["b-1"]), node("b-1", 2, &[])]).unwrap();
        let json = serde_json::to_string(&closure).unwrap();
        assert!(json.starts_with('['), "{json}");
        assert_eq!(serde_json::from_str::<Closure>(&json).unwrap(), closure);

        let open = serde_json::to_string(&[node("a-1", 1, &["b-1"])]).unwrap();
        let error = serde_json::from_str::<Closure>(&open).unwrap_err().to_string();
        assert!(error.contains("not in the closure graph"), "{error}");
    }
}
