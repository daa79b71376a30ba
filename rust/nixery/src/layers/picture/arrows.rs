//! Which references are drawn, and how far to the right each path is.

use crate::layers::Closure;
use crate::layers::components::Components;

/// A closure from left to right: whatever needs something is to the left of it.
pub(super) struct Arrows {
    /// References, from the first to the second index in the closure. What follows
    /// from others is left out: if git needs curl and curl needs libc, git's own
    /// reference to libc tells nothing about who needs whom.
    pub(super) list: Vec<(usize, usize)>,
    /// Of each path, how many arrows lead to it at most, one after the other.
    pub(super) columns: Vec<usize>,
}

impl Arrows {
    pub(super) fn new(closure: &Closure) -> Self {
        let components = Components::new(closure);
        let mut columns = vec![0; components.len()];
        for component in (0..components.len()).rev() {
            for &need in &components.needs[component] {
                columns[need] = columns[need].max(columns[component] + 1);
            }
        }

        let needs = direct(&components);
        let mut list = Vec::new();
        for (from, node) in closure.nodes().iter().enumerate() {
            let own = components.of[from];
            for to in node.references.iter().filter_map(|path| closure.position(path)) {
                let other = components.of[to];
                // In a circle nothing follows from anything else.
                if other == own || needs[own].contains(&other) {
                    list.push((from, to));
                }
            }
        }
        let columns = components.of.iter().map(|&component| columns[component]).collect();
        Self { list, columns }
    }
}

/// Of each component, what it needs directly and not by way of something else that
/// it needs: the transitive reduction.
fn direct(components: &Components) -> Vec<Vec<usize>> {
    let mut seen_by = vec![usize::MAX; components.len()];
    let mut direct = Vec::new();
    for component in 0..components.len() {
        let mut kept = Vec::new();
        // What is needed has the lower number: so whatever leads to a need comes
        // before it here.
        for &need in components.needs[component].iter().rev() {
            if seen_by[need] == component {
                continue;
            }
            kept.push(need);
            let mut queue = vec![need];
            while let Some(next) = queue.pop() {
                if seen_by[next] != component {
                    seen_by[next] = component;
                    queue.extend(&components.needs[next]);
                }
            }
        }
        direct.push(kept);
    }
    direct
}
