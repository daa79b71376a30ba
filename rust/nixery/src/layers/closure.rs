//! The closure graph of an image: its store paths and what they refer to.

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

    /// The union of several closures, which must agree where they overlap.
    pub fn merge(closures: impl IntoIterator<Item = Self>) -> Result<Self, ClosureError> {
        Self::new(closures.into_iter().flat_map(|closure| closure.nodes).collect())
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
    fn merges_closures_that_agree() {
        let glibc = || node("glibc-2.40", 3, &[]);
        let one = Closure::new(vec![node("a-1", 1, &["glibc-2.40"]), glibc()]).unwrap();
        let other = Closure::new(vec![glibc(), node("b-1", 1, &["glibc-2.40"])]).unwrap();
        assert_eq!(Closure::merge([one.clone(), other]).unwrap().len(), 3);

        let contrary = Closure::new(vec![node("glibc-2.40", 4, &[])]).unwrap();
        assert!(Closure::merge([one, contrary]).is_err());
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
