//! What must hold for every grouping, and the faults of earlier programs.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::Index;

use super::generated::{Package, Random, closure_of, package_set, popularity_of};
use super::popularity::package_name;
use super::*;
use crate::store_path::StorePath;

pub(super) fn path(name: &str) -> StorePath {
    StorePath::new(format!("/nix/store/{}-{name}", "0".repeat(32))).unwrap()
}

pub(super) fn node(name: &str, nar_size: u64, references: &[&str]) -> ClosureNode {
    let references = references.iter().map(|&name| path(name)).collect();
    ClosureNode { path: path(name), nar_size, references }
}

/// Closures with up to `most` paths of less than `largest` bytes each; one in four
/// may have circles.
pub(super) fn any_closure(most: usize, largest: u64) -> impl Strategy<Value = Closure> {
    let node = (0..largest, prop::collection::vec(any::<Index>(), 0..5));
    (prop::collection::vec(node, 1..most), 0..4).prop_map(|(list, kind)| {
        let name = |index: usize| path(&format!("p{index:04}-1"));
        let nodes = list.iter().enumerate().map(|(index, (nar_size, needs))| {
            let bound = if kind == 0 { list.len() } else { index.max(1) };
            let references = needs.iter().map(|need| name(need.index(bound))).collect();
            ClosureNode { path: name(index), nar_size: *nar_size, references }
        });
        Closure::new(nodes.collect()).unwrap()
    })
}

fn roots_of(closure: &Closure, picks: &[Index]) -> Vec<StorePath> {
    picks.iter().map(|pick| closure.nodes()[pick.index(closure.len())].path.clone()).collect()
}

fn table(closure: &Closure, counts: &[u64]) -> Popularity {
    let names = closure.nodes().iter().map(|node| node.path.name());
    let entries: serde_json::Map<_, _> =
        names.zip(counts).map(|(name, &count)| (name.to_owned(), count.into())).collect();
    Popularity::from_json(&serde_json::to_vec(&entries).unwrap()).unwrap()
}

proptest! {
    #[test]
    fn every_grouping_is_a_partition_within_the_budget(
        closure in any_closure(120, 40_000_000),
        picks in prop::collection::vec(any::<Index>(), 0..5),
        counts in prop::collection::vec(0_u64..200, 120),
        budget in 1_usize..100,
        shift in any::<Index>(),
    ) {
        let roots = roots_of(&closure, &picks);
        let popularity = table(&closure, &counts);
        let layers = group(&closure, &roots, &popularity, budget).unwrap();

        prop_assert!(layers.len() <= budget);
        let mut paths: Vec<_> = layers.iter().flat_map(|layer| layer.paths.clone()).collect();
        paths.sort_unstable();
        let all: Vec<_> = closure.nodes().iter().map(|node| node.path.clone()).collect();
        prop_assert_eq!(paths, all);
        prop_assert_eq!(layers.iter().map(|l| l.size).sum::<u64>(), closure.total_nar_size());
        for layer in &layers {
            prop_assert!(layer.paths.is_sorted() && layer.roots.len() <= layer.paths.len());
        }

        // The order of the input does not matter, nor does the run.
        let mut nodes = closure.nodes().to_vec();
        nodes.rotate_left(shift.index(closure.len()));
        for node in &mut nodes {
            node.references.reverse();
        }
        let mut other_roots = roots;
        other_roots.reverse();
        let again = group(&Closure::new(nodes).unwrap(), &other_roots, &popularity, budget);
        prop_assert_eq!(again.unwrap(), layers);
    }
}

#[test]
fn refuses_what_can_not_be_grouped() {
    let closure = Closure::new(vec![node("a-1", 1, &[])]).unwrap();
    let none = Popularity::empty();
    assert_eq!(group(&closure, &[], &none, 0), Err(GroupError::NoBudget));
    assert_eq!(
        group(&closure, &[path("b-1")], &none, 9),
        Err(GroupError::UnknownRoot { path: path("b-1") })
    );
    assert_eq!(group(&Closure::default(), &[], &none, 9), Ok(vec![]));
}

/// `count` packages of one byte that two roots need, so that each is a subtree.
fn siblings(count: usize) -> Vec<ClosureNode> {
    let names: Vec<String> = (0..count).map(|index| format!("lib{index}-1")).collect();
    let needs: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut nodes: Vec<_> = needs.iter().map(|name| node(name, 1, &[])).collect();
    nodes.extend([node("one-1", 1, &needs), node("two-1", 1, &needs)]);
    nodes
}

/// Fault of the Go program: equal ratings gave other layers on each run.
#[test]
fn ties_do_not_depend_on_chance() {
    let mut nodes = siblings(60);
    let roots = [path("one-1"), path("two-1")];
    let run = |nodes: &[ClosureNode]| {
        group(&Closure::new(nodes.to_vec()).unwrap(), &roots, &Popularity::empty(), 20).unwrap()
    };
    let first = run(&nodes);
    let mut random = Random(7);
    for _ in 0..10 {
        for index in (1..nodes.len()).rev() {
            nodes.swap(index, random.below(index + 1));
        }
        assert_eq!(run(&nodes), first);
    }
}

/// Fault of the Go program: it summed closure sizes, so what several packages
/// need was counted once for each of them.
#[test]
fn sizes_count_each_path_once() {
    let closure = Closure::new(vec![
        node("app-1", 1, &["x-1", "y-1"]),
        node("x-1", 10, &["shared-1"]),
        node("y-1", 20, &["shared-1"]),
        node("shared-1", 5000, &[]),
        node("other-1", 6000, &[]),
    ])
    .unwrap();
    let roots = [path("app-1"), path("other-1")];
    let layers = group(&closure, &roots, &Popularity::empty(), 9).unwrap();
    let sizes: Vec<_> = layers.iter().map(|layer| (layer.size, layer.rating)).collect();
    assert_eq!(sizes, [(6000, 6000), (5031, 5031)]);
}

/// Fault of the Go program: popularity was looked up by name and version, so each
/// release started as unknown and its layers as other ones.
#[test]
fn a_new_release_stays_in_its_layer() {
    let layers = |version: &str| {
        let lib = format!("lib-{version}");
        let closure = Closure::new(vec![node("app-1", 9, &[&lib]), node(&lib, 3, &[])]).unwrap();
        let popularity = Popularity::from_json(br#"{"lib-1.0": 5000}"#).unwrap();
        group(&closure, &[path("app-1")], &popularity, 9).unwrap()
    };
    let (old, new) = (layers("1.0"), layers("1.1"));
    assert_eq!(old.len(), 2);
    assert_eq!(new.iter().map(|layer| layer.rating).collect::<Vec<_>>(), [39, 9]);
    assert_eq!(new[0].paths, [path("lib-1.1")]);
    assert_eq!(old[1], new[1]);
}

fn path_sets(layers: &[Layer]) -> BTreeSet<&[StorePath]> {
    layers.iter().map(|layer| layer.paths.as_slice()).collect()
}

/// `count` packages of different sizes that have nothing to do with each other.
fn strangers(count: usize) -> Closure {
    let nodes = (0..count).map(|index| {
        let size = (index * 7919) % 1009 + 1;
        node(&format!("package{index:04}-1"), size as u64, &[])
    });
    Closure::new(nodes.collect()).unwrap()
}

/// Fault of the Go program: all that was too much went to one layer, which grew
/// with each package and differed in each image. Here, once there are too many,
/// `n` more change at most `2n` layers, and none is much larger than the others.
#[test]
fn no_layer_catches_all() {
    let layers = |count| group(&strangers(count), &[], &Popularity::empty(), 94).unwrap();
    for (count, more) in [(95, 1), (200, 1), (200, 5), (203, 1), (900, 3)] {
        let (before, after) = (layers(count), layers(count + more));
        let lost = path_sets(&before).difference(&path_sets(&after)).count();
        assert!(lost <= 2 * more, "{count} + {more}: {lost} layers changed");
    }

    let layers = layers(900);
    let shared: Vec<_> = layers.iter().map(|layer| layer.roots.len()).filter(|&n| n > 1).collect();
    assert_eq!((layers.len(), shared.len()), (94, 18));
    assert!(shared.iter().all(|&roots| roots < 3 * 824 / 18), "{shared:?}");
    // Those that are shared come last: clients may reuse only a common start.
    assert!(layers[..76].iter().all(|layer| layer.roots.len() == 1));
}

/// Images of the packages of one set.
struct Images {
    packages: Vec<Package>,
    popularity: Popularity,
}

impl Images {
    fn new(count: usize, seed: u64) -> Self {
        let packages = package_set(count, seed);
        let popularity = Popularity::from_json(popularity_of(&packages).as_bytes()).unwrap();
        Self { packages, popularity }
    }

    fn size(&self, path: &StorePath) -> u64 {
        let index = package_name(path.name()).trim_start_matches("package").parse::<usize>();
        self.packages[index.unwrap()].size
    }

    fn layers(&self, roots: &[usize], budget: usize) -> Vec<Layer> {
        let name = |index: usize| self.packages[index].name.as_str();
        let nodes = closure_of(&self.packages, roots).into_iter().map(|index| {
            let needs: Vec<&str> = self.packages[index].needs.iter().map(|&n| name(n)).collect();
            node(name(index), self.packages[index].size, &needs)
        });
        let roots: Vec<StorePath> = roots.iter().map(|&root| path(name(root))).collect();
        group(&Closure::new(nodes.collect()).unwrap(), &roots, &self.popularity, budget).unwrap()
    }
}

/// Per mille of the bytes of `next` that a client with `first` has to fetch again.
fn sent_again(first: &[Layer], next: &[Layer], images: &Images) -> u64 {
    let sets = path_sets(first);
    let known: BTreeSet<&StorePath> = first.iter().flat_map(|layer| &layer.paths).collect();
    let fetched = next.iter().filter(|layer| !sets.contains(layer.paths.as_slice()));
    let again = fetched.flat_map(|layer| &layer.paths).filter(|path| known.contains(path));
    let again: u64 = again.map(|path| images.size(path)).sum();
    again * 1000 / next.iter().map(|layer| layer.size).sum::<u64>()
}

/// What the Go program does with too many layers: all that are rated lowest, by
/// size times popularity, become one.
fn fold_lowest(mut layers: Vec<Layer>, popularity: &Popularity, budget: usize) -> Vec<Layer> {
    let rating =
        |layer: &Layer| u128::from(layer.size) * u128::from(popularity.of(&layer.roots[0]));
    layers.sort_by_key(|layer| std::cmp::Reverse(rating(layer)));
    if layers.len() > budget {
        let rest = layers.split_off(budget - 1);
        let mut paths: Vec<_> = rest.iter().flat_map(|layer| layer.paths.clone()).collect();
        paths.sort_unstable();
        let size = rest.iter().map(|layer| layer.size).sum();
        layers.push(Layer { paths, roots: vec![], rating: 0, size });
    }
    layers
}

/// The purpose of it all: one more package means few bytes that are sent again.
#[test]
fn images_that_differ_in_one_package_share_most_bytes() {
    const PAIRS: u64 = 30;
    let images = Images::new(20_000, 1);
    let mut random = Random(2);
    let (mut ours, mut folded) = (0, 0);
    for _ in 0..PAIRS {
        let roots: Vec<usize> =
            (0..=random.below(12)).map(|_| 10_000 + random.below(10_000)).collect();
        let first = &roots[..roots.len() - 1];
        ours += sent_again(&images.layers(first, 94), &images.layers(&roots, 94), &images);
        let fold = |roots| fold_lowest(images.layers(roots, usize::MAX), &images.popularity, 94);
        folded += sent_again(&fold(first), &fold(&roots), &images);
    }
    let (ours, folded) = (ours / PAIRS, folded / PAIRS);
    println!("sent again: {ours} ‰; when the lowest are folded: {folded} ‰");
    assert!(ours < 80 && 2 * ours < folded, "{ours} ‰, folded {folded} ‰");
}

/// Input may be hostile: neither depth nor circles may exhaust stack or patience.
#[test]
fn long_chains_and_circles_are_grouped() {
    const LEN: usize = 100_000;
    let name = |index: usize| path(&format!("p{index:06}-1"));
    let chain = |end: Option<usize>| {
        let nodes = (0..LEN).map(|index| {
            let next = if index + 1 < LEN { Some(index + 1) } else { end };
            let references = next.map(name).into_iter().collect();
            // The upper half has big closures, so each path of it is a subtree.
            ClosureNode { path: name(index), nar_size: 2_000, references }
        });
        Closure::new(nodes.collect()).unwrap()
    };
    let straight = group(&chain(None), &[name(0)], &Popularity::empty(), 94).unwrap();
    assert_eq!(straight.iter().map(|layer| layer.paths.len()).sum::<usize>(), LEN);
    assert_eq!(straight.len(), 94);

    let circle = group(&chain(Some(0)), &[name(5)], &Popularity::empty(), 94).unwrap();
    assert_eq!(circle.iter().map(|layer| layer.paths.len()).collect::<Vec<_>>(), [LEN]);
}

/// Docker's classic storage reuses only what two images have in common at their
/// start. By size, a large package would come first, and nothing be reused.
#[test]
fn without_a_table_what_others_need_comes_first() {
    let base = [
        node("libc-1", 5_000_000, &[]),
        node("shell-1", 1_000_000, &["libc-1"]),
        node("tools-1", 2_000_000, &["libc-1", "shell-1"]),
    ];
    let large = node("large-1", 9_000_000, &["libc-1", "shell-1"]);
    let order = |nodes: &[ClosureNode], roots: &[&str]| -> Vec<Vec<StorePath>> {
        let closure = Closure::new(nodes.to_vec()).unwrap();
        let roots: Vec<StorePath> = roots.iter().map(|root| path(root)).collect();
        let layers = group(&closure, &roots, &Popularity::empty(), 94).unwrap();
        layers.into_iter().map(|layer| layer.paths).collect()
    };
    let small = order(&base, &["shell-1", "tools-1"]);
    let with_large = order(&[&base[..], &[large]].concat(), &["shell-1", "tools-1", "large-1"]);
    assert_eq!(small[..2], with_large[..2], "libc and the shell");
    assert_eq!(small[0], [path("libc-1")]);
}
