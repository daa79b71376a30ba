//! Which paths belong together: the top of the dominator tree.
//!
//! Take the closure with an image root above it. A path that can only be reached
//! through another is needed only by it, in this image, so both belong into one
//! layer: the layers are the subtrees directly below the root of the dominator
//! tree. The idea of deciding it by dominators, and of lifting popular and big
//! paths out of their dominators, is that of tazjin's "Nixery: Improved Layering
//! Design" (2019), <https://tazj.in/blog/nixery-layers>.

use super::closure_size;
use super::components::Components;
use super::{Closure, Popularity};

/// A path whose closure is larger than this, in bytes of NAR, is lifted out of
/// the subtree that needs it.
pub const BIG_CLOSURE: u64 = 100_000_000;

/// A path that is by itself at least this large, in bytes of NAR, is alone: sending
/// it again costs more than a layer does. What only it needs is together without it,
/// as the next image may have another use for a small part of that.
pub const BIG_PATH: u64 = 10_000_000;

/// A path that is at least this popular is lifted out: in this image one package
/// may be alone in needing it, but in the next image another one will, and then
/// the two images would have it in different layers.
///
/// An absolute count, because a threshold that followed from the other paths of
/// the image would move with every package. Measured on the 63,000 packages of a
/// distribution, without [`BIG_PATH`], as the share of an image that a client
/// fetches again although it has those paths: coming from an image with only the
/// base in common, 6 % with 5, 8 % with 16, 13 % with 50, 23 % without lifting;
/// from the same image with one package less, 5, 4, 4 and 8 %.
pub const POPULAR: u64 = 16;

/// Paths that belong together. Everything is by index in the closure.
pub(super) struct Subtree {
    /// The path that all others are needed by.
    pub(super) root: usize,
    /// All paths, in no order: the root included, unless it is alone in another one.
    pub(super) paths: Vec<usize>,
}

/// What refers to a component, in terms of subtrees.
#[derive(Clone, Copy)]
enum NeededBy {
    Nothing,
    One(usize),
    Several,
}

/// Splits the closure into subtrees; each path is in exactly one.
///
/// Only the dominator tree's top level matters, and on an acyclic graph that
/// needs no tree: going from what needs to what is needed, a path belongs to the
/// subtree that everything above it belongs to, and where that is not one it is
/// the root of another. Linear time, unlike general algorithms. A path that is
/// not reachable from `roots` hangs below one that nothing needs, which then
/// counts as a root.
pub(super) fn subtrees(
    closure: &Closure,
    roots: &[usize],
    popularity: &Popularity,
) -> Vec<Subtree> {
    let nodes = closure.nodes();
    let components = Components::new(closure);
    let sizes: Vec<u64> = components
        .members
        .iter()
        .map(|paths| {
            paths.iter().fold(0, |sum: u64, &path| sum.saturating_add(nodes[path].nar_size))
        })
        .collect();

    let mut lifted = closure_size::exceeds(&components, &sizes, BIG_CLOSURE);
    for &root in roots {
        lifted[components.of[root]] = true;
    }
    let counts: Vec<u64> = nodes.iter().map(|node| popularity.of(&node.path)).collect();
    for (component, paths) in components.members.iter().enumerate() {
        lifted[component] |=
            sizes[component] >= BIG_PATH || paths.iter().any(|&path| counts[path] >= POPULAR);
    }

    let mut subtrees: Vec<Subtree> = Vec::new();
    let mut needed_by = vec![NeededBy::Nothing; components.len()];
    for component in (0..components.len()).rev() {
        let paths = &components.members[component];
        let subtree = match needed_by[component] {
            NeededBy::One(subtree) if !lifted[component] => subtree,
            NeededBy::Nothing | NeededBy::One(_) | NeededBy::Several => {
                // In a circle the most popular path stands for all of it.
                let root = paths
                    .iter()
                    .copied()
                    .max_by_key(|&path| (counts[path], std::cmp::Reverse(path)));
                subtrees.push(Subtree { root: root.unwrap_or_default(), paths: Vec::new() });
                subtrees.len() - 1
            }
        };
        subtrees[subtree].paths.extend(paths);
        let mut subtree = subtree;
        if sizes[component] >= BIG_PATH && !components.needs[component].is_empty() {
            let root = subtrees[subtree].root;
            subtrees.push(Subtree { root, paths: Vec::new() });
            subtree = subtrees.len() - 1;
        }
        for &need in &components.needs[component] {
            needed_by[need] = match needed_by[need] {
                NeededBy::Nothing => NeededBy::One(subtree),
                NeededBy::One(other) if other == subtree => NeededBy::One(subtree),
                NeededBy::One(_) | NeededBy::Several => NeededBy::Several,
            };
        }
    }
    subtrees.retain(|subtree| !subtree.paths.is_empty());
    subtrees
}

#[cfg(test)]
mod tests;
