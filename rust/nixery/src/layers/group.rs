//! Subtrees of the closure, grouped into as many layers as there is room for.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::popularity::package_name;
use super::subtrees::subtrees;
use super::{Closure, Popularity};
use crate::store_path::StorePath;

/// Where there are too many subtrees, one in this many layers is shared.
///
/// More shared layers change less each, but leave fewer layers to subtrees of
/// their own; between 3 and 10 the bytes sent again hardly differ.
const LAYERS_PER_SHARED_LAYER: usize = 5;

/// The store paths of one image layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The store paths, sorted.
    pub paths: Vec<StorePath>,
    /// Why they are together: each path is one of these or needed, in this image,
    /// only by one of these, which may be big and so in a layer of its own. Highest
    /// rating first; one, except in a shared layer.
    pub roots: Vec<StorePath>,
    /// How much it is worth to have it as a layer of its own: the sum over its
    /// roots' subtrees of own size times the binary magnitude of the root's
    /// popularity.
    pub rating: u128,
    /// Sum of the paths' own NAR sizes in bytes; `u64::MAX` if it is larger.
    pub size: u64,
}

/// Why a closure can't be grouped.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GroupError {
    /// No layer is allowed.
    #[error("the layer budget is 0: an image needs at least one layer for its store paths")]
    NoBudget,
    /// A root is not in the closure.
    #[error("the package {path} is not in its own closure graph")]
    UnknownRoot {
        /// The root.
        path: StorePath,
    },
}

/// Groups the paths of `closure` into at most `budget` layers; each path is in
/// exactly one. `roots` are the image's packages; what they don't reach is
/// grouped all the same.
///
/// The layers are the subtrees directly below the image in its dominator tree:
/// paths that only one path needs are with it, except what is popular or big
/// ([`POPULAR`](super::POPULAR), [`BIG_PATH`](super::BIG_PATH),
/// [`BIG_CLOSURE`](super::BIG_CLOSURE)). If there are too many, those with the
/// highest ratings keep a layer each, and the others go to a fixed number of
/// shared layers, each to the one that the hash of its root's package name says.
/// So `n` subtrees more change at most `2n` layers: those that the new ones go to
/// and those that they push others out of and into. Folding the lowest ones into
/// one makes a layer that differs in every image; merging them by pairs, like a
/// Huffman tree, lets every pair after a new one slip.
///
/// A rating is size × popularity, but popularity counts by its magnitude (1 for
/// 1, 2 for 2–3, 3 for 4–7, …): counted in full, megabytes of unpopular paths
/// have to share a layer so that a few kilobytes of popular ones need not, and
/// twice as many bytes are fetched again for the next package.
///
/// The order is: highest rating first (without a popularity table, most
/// referrers first), shared layers last, ties by path. Some clients only reuse
/// the layers that two images have in common at their start, and shared layers
/// are the first to differ.
pub fn group(
    closure: &Closure,
    roots: &[StorePath],
    popularity: &Popularity,
    budget: usize,
) -> Result<Vec<Layer>, GroupError> {
    if budget == 0 {
        return Err(GroupError::NoBudget);
    }
    let position = |path: &StorePath| {
        closure.position(path).ok_or_else(|| GroupError::UnknownRoot { path: path.clone() })
    };
    let roots = roots.iter().map(position).collect::<Result<Vec<usize>, _>>()?;

    let mut layers: Vec<Layer> = subtrees(closure, &roots, popularity)
        .into_iter()
        .map(|subtree| {
            let root = closure.nodes()[subtree.root].path.clone();
            let mut indices = subtree.paths;
            indices.sort_unstable();
            let nodes = indices.iter().map(|&path| &closure.nodes()[path]);
            let size = nodes.clone().fold(0, |sum: u64, node| sum.saturating_add(node.nar_size));
            let rating = u128::from(size) * u128::from(magnitude(popularity.of(&root)));
            let paths = nodes.map(|node| node.path.clone()).collect();
            Layer { paths, roots: vec![root], rating, size }
        })
        .collect();
    sort(&mut layers);

    let mut shared = Vec::new();
    if layers.len() > budget {
        let count = (budget / LAYERS_PER_SHARED_LAYER).max(1);
        shared = share(layers.split_off(budget - count), count);
        sort(&mut shared);
    }
    if popularity.is_empty() {
        sort_by_referrers(&mut layers, closure);
    }
    layers.append(&mut shared);
    for layer in &mut layers {
        layer.paths.sort_unstable();
    }
    Ok(layers)
}

/// Highest rating first; what is rated alike by its roots, then by its paths.
fn sort(layers: &mut [Layer]) {
    let key = |layer: &Layer| (Reverse(layer.rating), layer.roots.clone(), layer.paths.clone());
    layers.sort_by_cached_key(key);
}

/// Most referrers first. Where nothing is known of the world outside the image,
/// this tells what other images need too: size alone would put the largest
/// package first, and no two images would have a beginning in common.
fn sort_by_referrers(layers: &mut [Layer], closure: &Closure) {
    let mut referrers: HashMap<&StorePath, usize> = HashMap::new();
    for path in closure.nodes().iter().flat_map(|node| &node.references) {
        *referrers.entry(path).or_default() += 1;
    }
    // Stable: what has as many referrers stays ordered by rating.
    layers.sort_by_key(|layer| {
        let of = |root| referrers.get(root).copied().unwrap_or_default();
        Reverse(layer.roots.first().map_or(0, of))
    });
}

/// Puts `layers`, highest rating first, together in at most `count` layers.
fn share(layers: Vec<Layer>, count: usize) -> Vec<Layer> {
    let mut shared: BTreeMap<usize, Layer> = BTreeMap::new();
    for mut layer in layers {
        // By name and not by path, so that a new release stays where it was.
        let name = layer.roots.first().map_or("", |root| package_name(root.name()));
        match shared.get_mut(&place(name, count)) {
            None => {
                shared.insert(place(name, count), layer);
            }
            Some(into) => {
                into.paths.append(&mut layer.paths);
                into.roots.append(&mut layer.roots);
                into.rating = into.rating.saturating_add(layer.rating);
                into.size = into.size.saturating_add(layer.size);
            }
        }
    }
    shared.into_values().collect()
}

/// One of `count` places for `name`: the same on every machine and in every
/// release, which the standard library's hashes don't promise.
fn place(name: &str, count: usize) -> usize {
    let digest = Sha256::digest(name.as_bytes());
    digest.iter().take(8).fold(0, |rest, &byte| (rest * 256 + usize::from(byte)) % count)
}

/// Number of binary digits: 1 for 1, 2 for 2 and 3, and so on.
fn magnitude(popularity: u64) -> u32 {
    u64::BITS - popularity.leading_zeros()
}
