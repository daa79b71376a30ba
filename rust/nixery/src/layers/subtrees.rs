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
mod tests {
    use std::collections::BTreeSet;

    use petgraph::algo::dominators::simple_fast;
    use petgraph::graph::{DiGraph, NodeIndex};
    use proptest::prelude::*;

    use super::*;
    use crate::layers::tests::{any_closure, node};

    fn named(closure: &Closure, subtrees: &[Subtree]) -> BTreeSet<(String, BTreeSet<String>)> {
        let name = |&path: &usize| closure.nodes()[path].path.name().to_owned();
        subtrees.iter().map(|s| (name(&s.root), s.paths.iter().map(name).collect())).collect()
    }

    fn expected(list: &[(&str, &[&str])]) -> BTreeSet<(String, BTreeSet<String>)> {
        let own = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        list.iter().map(|&(root, paths)| (root.to_owned(), own(paths))).collect()
    }

    fn small() -> Closure {
        Closure::new(vec![
            node("bash-5", 1, &["readline-8", "glibc-2"]),
            node("git-2", 1, &["curl-8", "glibc-2"]),
            node("readline-8", 1, &["ncurses-6"]),
            node("ncurses-6", 1, &["glibc-2"]),
            node("curl-8", 1, &["glibc-2"]),
            node("glibc-2", 1, &[]),
        ])
        .unwrap()
    }

    fn split(closure: &Closure, popularity: &str) -> BTreeSet<(String, BTreeSet<String>)> {
        let popularity = Popularity::from_json(popularity.as_bytes()).unwrap();
        let root = |name: &str| closure.nodes().iter().position(|n| n.path.name() == name);
        let roots: Vec<usize> = ["bash-5", "git-2"].into_iter().filter_map(root).collect();
        named(closure, &subtrees(closure, &roots, &popularity))
    }

    #[test]
    fn keeps_together_what_only_one_package_needs() {
        assert_eq!(
            split(&small(), "{}"),
            expected(&[
                ("bash-5", &["bash-5", "readline-8", "ncurses-6"]),
                ("git-2", &["git-2", "curl-8"]),
                ("glibc-2", &["glibc-2"]),
            ])
        );
    }

    #[test]
    fn lifts_what_is_popular_elsewhere() {
        assert_eq!(
            split(&small(), r#"{"readline": 15, "ncurses": 16}"#),
            expected(&[
                ("bash-5", &["bash-5", "readline-8"]),
                ("ncurses-6", &["ncurses-6"]),
                ("git-2", &["git-2", "curl-8"]),
                ("glibc-2", &["glibc-2"]),
            ])
        );
    }

    #[test]
    fn lifts_what_is_big_or_has_a_big_closure() {
        let mut nodes = small().nodes().to_vec();
        nodes.push(node("data-1", BIG_CLOSURE, &[]));
        nodes.push(node("index-1", 1, &["data-1"]));
        nodes.push(node("medium-1", BIG_PATH, &[]));
        for node in &mut nodes {
            if node.path.name() == "curl-8" {
                node.references.extend(["index-1", "medium-1"].map(crate::layers::tests::path));
            }
        }
        let closure = Closure::new(nodes).unwrap();
        assert_eq!(
            split(&closure, "{}"),
            expected(&[
                ("bash-5", &["bash-5", "readline-8", "ncurses-6"]),
                ("git-2", &["git-2"]),
                ("curl-8", &["curl-8"]),
                ("index-1", &["index-1"]),
                ("data-1", &["data-1"]),
                ("medium-1", &["medium-1"]),
                ("glibc-2", &["glibc-2"]),
            ])
        );
    }

    #[test]
    fn what_is_big_is_alone_whatever_needs_its_parts() {
        let closure = |uses: &[&str]| {
            Closure::new(vec![
                node("git-2", BIG_PATH, &["curl-8", "pcre-2", "glibc-2"]),
                node("curl-8", 1, &["nghttp-1", "glibc-2"]),
                node("nghttp-1", 1, &["glibc-2"]),
                node("pcre-2", 1, &[]),
                node("glibc-2", 1, &[]),
                node("bash-5", 1, uses),
            ])
            .unwrap()
        };
        let private = ["curl-8", "nghttp-1", "pcre-2"];
        assert_eq!(
            split(&closure(&["glibc-2"]), "{}"),
            expected(&[
                ("git-2", &["git-2"]),
                ("git-2", &private),
                ("glibc-2", &["glibc-2"]),
                ("bash-5", &["bash-5"]),
            ])
        );
        assert_eq!(
            split(&closure(&["glibc-2", "curl-8"]), "{}"),
            expected(&[
                ("git-2", &["git-2"]),
                ("git-2", &["pcre-2"]),
                ("curl-8", &["curl-8", "nghttp-1"]),
                ("glibc-2", &["glibc-2"]),
                ("bash-5", &["bash-5"]),
            ])
        );
        let alone = Closure::new(vec![node("git-2", BIG_PATH, &[])]).unwrap();
        assert_eq!(split(&alone, "{}"), expected(&[("git-2", &["git-2"])]));
    }

    #[test]
    fn hangs_unreachable_paths_below_one_that_nothing_needs() {
        let closure = Closure::new(vec![
            node("bash-5", 1, &["glibc-2"]),
            node("glibc-2", 1, &[]),
            node("stray-1", 1, &["stray-lib-1"]),
            node("stray-lib-1", 1, &[]),
            // A circle that nothing leads to.
            node("x-1", 1, &["y-1"]),
            node("y-1", 1, &["x-1"]),
        ])
        .unwrap();
        assert_eq!(
            split(&closure, r#"{"y": 2}"#),
            expected(&[
                ("bash-5", &["bash-5", "glibc-2"]),
                ("stray-1", &["stray-1", "stray-lib-1"]),
                ("y-1", &["x-1", "y-1"]),
            ])
        );
    }

    proptest! {
        /// petgraph's dominator tree as the judge, on graphs without circles.
        #[test]
        fn is_the_top_of_the_dominator_tree(closure in any_closure(60, 1000), picks in prop::collection::vec(any::<prop::sample::Index>(), 0..4)) {
            let components = Components::new(&closure);
            prop_assume!(components.len() == closure.len());
            let len = closure.len();
            let mut roots: Vec<usize> = picks.iter().map(|pick| pick.index(len)).collect();

            let mine = subtrees(&closure, &roots, &Popularity::empty());

            let mut graph = DiGraph::<(), ()>::new();
            let image = graph.add_node(());
            let index: Vec<NodeIndex> = (0..len).map(|_| graph.add_node(())).collect();
            let mut needed = vec![false; len];
            for (from, needs) in components.needs.iter().enumerate() {
                for &to in needs {
                    let (from, to) = (components.members[from][0], components.members[to][0]);
                    graph.add_edge(index[from], index[to], ());
                    needed[to] = true;
                }
            }
            roots.extend((0..len).filter(|&path| !needed[path]));
            for &root in &roots {
                graph.update_edge(image, index[root], ());
            }
            let tree = simple_fast(&graph, image);
            for subtree in &mine {
                for &path in &subtree.paths {
                    let above: Vec<NodeIndex> = tree.dominators(index[path]).unwrap().collect();
                    // No path is big here.
                    prop_assert_eq!(above[above.len() - 2], index[subtree.root]);
                }
            }
        }
    }
}
