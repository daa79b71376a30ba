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
