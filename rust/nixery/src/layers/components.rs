//! The closure as an acyclic graph.

use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use super::Closure;

/// The strongly connected components of a closure: sets of paths that refer to
/// each other in a circle. In what Nix makes, each has one path.
///
/// Components are numbered so that what a component needs comes before it.
pub(super) struct Components {
    /// Of each component, its paths' indices in the closure.
    pub(super) members: Vec<Vec<usize>>,
    /// Of each component, the other components it refers to, each once.
    pub(super) needs: Vec<Vec<usize>>,
    /// Of each path of the closure, its component.
    pub(super) of: Vec<usize>,
}

impl Components {
    pub(super) fn new(closure: &Closure) -> Self {
        let references: Vec<Vec<usize>> = closure
            .nodes()
            .iter()
            .map(|node| node.references.iter().filter_map(|r| closure.position(r)).collect())
            .collect();

        let edges = references.iter().map(Vec::len).sum();
        let mut graph = DiGraph::<(), (), usize>::with_capacity(references.len(), edges);
        for _ in &references {
            graph.add_node(());
        }
        for (from, targets) in references.iter().enumerate() {
            for &to in targets {
                graph.add_edge(NodeIndex::new(from), NodeIndex::new(to), ());
            }
        }

        // Kosaraju's algorithm because petgraph's works without recursion, so
        // that long chains of references can't exhaust the stack. Its order is
        // that of the numbering: a component comes after all that it reaches.
        let members: Vec<Vec<usize>> = kosaraju_scc(&graph)
            .into_iter()
            .map(|component| component.into_iter().map(NodeIndex::index).collect())
            .collect();
        let mut of = vec![0; references.len()];
        for (component, paths) in members.iter().enumerate() {
            for &path in paths {
                of[path] = component;
            }
        }
        let needs = members
            .iter()
            .enumerate()
            .map(|(component, paths)| {
                let targets = paths.iter().flat_map(|&path| &references[path]);
                let mut needs: Vec<usize> =
                    targets.map(|&target| of[target]).filter(|&need| need != component).collect();
                needs.sort_unstable();
                needs.dedup();
                needs
            })
            .collect();
        Self { members, needs, of }
    }

    /// Number of components.
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::tests::node;

    #[test]
    fn numbers_needs_first_and_keeps_circles_together() {
        let closure = Closure::new(vec![
            node("app-1", 1, &["x-1"]),
            node("x-1", 1, &["y-1", "glibc-2"]),
            node("y-1", 1, &["x-1"]),
            node("glibc-2", 1, &[]),
        ])
        .unwrap();
        let components = Components::new(&closure);
        assert_eq!(components.len(), 3);
        for (component, needs) in components.needs.iter().enumerate() {
            assert!(needs.iter().all(|&need| need < component));
        }
        let mut sizes: Vec<_> = components.members.iter().map(Vec::len).collect();
        sizes.sort_unstable();
        assert_eq!(sizes, [1, 1, 2]);
    }
}
