//! What must hold for every picture.

use std::collections::BTreeSet;

use petgraph::algo::toposort;
use petgraph::algo::tred::{dag_to_toposorted_adjacency_list, dag_transitive_reduction_closure};
use petgraph::graph::DiGraph;
use proptest::prelude::*;
use proptest::sample::Index;

use super::arrows::Arrows;
use super::{Image, beside, graph};
use crate::layers::tests::{any_closure, node, path};
use crate::layers::{Closure, Layer, Popularity, group};
use crate::store_path::StorePath;

fn small() -> (Closure, [StorePath; 2]) {
    let closure = Closure::new(vec![
        node("git-2", 20_000_000, &["curl-8", "glibc-2"]),
        node("bash-5", 1_234_567, &["glibc-2"]),
        node("curl-8", 900_000, &["glibc-2", "zlib-1"]),
        node("zlib-1", 130_000, &["glibc-2"]),
        node("glibc-2", 30_000_000, &[]),
    ]);
    (closure.unwrap(), [path("bash-5"), path("git-2")])
}

fn layers_of(closure: &Closure, roots: &[StorePath], most: usize) -> Vec<Layer> {
    group(closure, roots, &Popularity::empty(), most).unwrap()
}

/// How often a start tag of an element with this class occurs.
fn count(picture: &str, class: &str) -> usize {
    picture.matches(class).count()
}

#[test]
fn leaves_out_references_that_follow_from_others() {
    let (closure, _) = small();
    let name = |at: usize| closure.nodes()[at].path.name();
    let arrows = Arrows::new(&closure);
    let drawn: BTreeSet<(&str, &str)> =
        arrows.list.iter().map(|&(from, to)| (name(from), name(to))).collect();
    let expected =
        [("bash-5", "glibc-2"), ("curl-8", "zlib-1"), ("git-2", "curl-8"), ("zlib-1", "glibc-2")];
    assert_eq!(drawn, expected.into());
    let column = |name: &str| arrows.columns[closure.position(&path(name)).unwrap()];
    let columns = ["bash-5", "git-2", "curl-8", "zlib-1", "glibc-2"].map(column);
    assert_eq!(columns, [0, 0, 1, 2, 3]);
}

#[test]
fn has_every_path_every_arrow_and_every_layer() {
    let (closure, roots) = small();
    let layers = layers_of(&closure, &roots, 94);
    let picture = graph(&layers, &closure, &roots, &Popularity::empty(), "a<b");
    for (name, size) in [("git-2", "20.0 MB"), ("curl-8", "0.9 MB"), ("glibc-2", "30.0 MB")] {
        assert!(picture.contains(&format!("<title>{name}, {size}</title>")), "{name}");
    }
    assert_eq!(count(&picture, " arrow"), 4, "{picture}");
    assert_eq!(count(&picture, " band\""), layers.len());
    assert_eq!(count(&picture, " chosen\""), roots.len());
    assert!(picture.contains("<title id=\"title\">The closure of a&lt;b and its layers</title>"));
    assert!(picture.contains("<desc id=\"desc\">5 store paths in 4 layers, 52.3 MB.</desc>"));
}

#[test]
fn joins_the_layers_that_are_the_same() {
    let (closure, roots) = small();
    let both = layers_of(&closure, &roots, 94);
    let only_bash = closure.of(&path("bash-5"));
    let bash = layers_of(&only_bash, &roots[..1], 94);
    let image = |name, layers, closure| Image { name, layers, closure };
    let picture = beside(&[image("bash", &bash, &only_bash), image("both", &both, &closure)]);
    assert_eq!(count(&picture, " ribbon\""), 2, "{picture}");
    assert!(picture.contains("31.2 MB in 2 layers; nothing only here"), "{picture}");
    assert!(picture.contains("52.3 MB in 4 layers; only here: 21.0 MB in 2"), "{picture}");
    assert!(picture.contains("2 layers with 31.2 MB are in both images."), "{picture}");
}

/// The transitive reduction of a closure without circles, as petgraph has it.
fn reduced(closure: &Closure) -> BTreeSet<(usize, usize)> {
    let mut graph = DiGraph::<(), (), usize>::default();
    let nodes: Vec<_> = closure.nodes().iter().map(|_| graph.add_node(())).collect();
    for (from, node) in closure.nodes().iter().enumerate() {
        for to in &node.references {
            graph.add_edge(nodes[from], nodes[closure.position(to).unwrap()], ());
        }
    }
    let order = toposort(&graph, None).unwrap();
    let (list, _) = dag_to_toposorted_adjacency_list::<_, usize>(&graph, &order);
    let (reduction, _) = dag_transitive_reduction_closure(&list);
    let original = |index: usize| order[index].index();
    reduction
        .edge_indices()
        .filter_map(|edge| reduction.edge_endpoints(edge))
        .map(|(from, to)| (original(from), original(to)))
        .collect()
}

proptest! {
    #[test]
    fn arrows_are_the_transitive_reduction(closure in any_closure(60, 10)) {
        let arrows = Arrows::new(&closure);
        let columns = &arrows.columns;
        let has_circles = arrows.list.iter().any(|&(from, to)| columns[from] >= columns[to]);
        if !has_circles {
            let drawn: BTreeSet<(usize, usize)> = arrows.list.iter().copied().collect();
            prop_assert_eq!(drawn, reduced(&closure));
        }
    }

    /// Circles and shared layers included.
    #[test]
    fn every_path_is_drawn_once_and_in_its_place(
        closure in any_closure(80, 40_000_000),
        picks in prop::collection::vec(any::<Index>(), 0..4),
        most in 1_usize..12,
    ) {
        let nodes = closure.nodes();
        let roots: Vec<StorePath> =
            picks.iter().map(|pick| nodes[pick.index(nodes.len())].path.clone()).collect();
        let layers = layers_of(&closure, &roots, most);
        let picture = graph(&layers, &closure, &roots, &Popularity::empty(), "x");
        for node in nodes {
            let title = format!("<title>{}, ", node.path.name());
            prop_assert_eq!(count(&picture, &title), 1);
        }
        let mut backwards = nodes.to_vec();
        backwards.reverse();
        let again = Closure::new(backwards).unwrap();
        prop_assert_eq!(&picture, &graph(&layers, &again, &roots, &Popularity::empty(), "x"));

        // No two paths stand in one place.
        let place = regex::Regex::new(r#"<rect class="c\d+ (?:path|root)[^>]* (x="\d+" y="\d+") width="\d+" height="17""#);
        let places: Vec<String> =
            place.unwrap().captures_iter(&picture).map(|found| found[1].to_owned()).collect();
        let distinct: BTreeSet<&String> = places.iter().collect();
        prop_assert_eq!(places.len(), nodes.len());
        prop_assert_eq!(distinct.len(), nodes.len());
    }
}
