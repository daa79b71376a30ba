//! Where paths stand: blocks of those that belong together, one below the other.

use std::collections::{BTreeMap, HashMap};

use super::arrows::Arrows;
use crate::layers::subtrees::subtrees;
use crate::layers::{Closure, Layer, Popularity};
use crate::store_path::StorePath;

/// How often rows are put into order; after that nothing moves in practice.
const ROUNDS: usize = 12;

/// One subtree of the dominator tree.
pub(super) struct Block {
    /// The layer that it is in, from 0.
    pub(super) layer: usize,
    /// The path that all others are there for.
    pub(super) root: usize,
    /// Its paths: of each column that there is, from above.
    pub(super) columns: BTreeMap<usize, Vec<usize>>,
    /// Number of rows that it takes.
    pub(super) rows: usize,
}

/// The blocks of all layers, in the order of the layers and, in shared ones, of
/// their roots. Paths stand beside what they have arrows to and from, as far as
/// there is room.
pub(super) fn blocks(
    layers: &[Layer],
    closure: &Closure,
    roots: &[StorePath],
    popularity: &Popularity,
    arrows: &Arrows,
) -> Vec<Block> {
    let layer_of: HashMap<&StorePath, usize> = (0..)
        .zip(layers)
        .flat_map(|(number, layer)| layer.paths.iter().map(move |path| (path, number)))
        .collect();
    let roots: Vec<usize> = roots.iter().filter_map(|root| closure.position(root)).collect();
    let mut blocks: Vec<Block> = subtrees(closure, &roots, popularity)
        .into_iter()
        .filter_map(|mut subtree| {
            subtree.paths.sort_unstable();
            let first = &closure.nodes()[*subtree.paths.first()?].path;
            let mut columns = BTreeMap::<usize, Vec<usize>>::new();
            for path in subtree.paths {
                columns.entry(arrows.columns[path]).or_default().push(path);
            }
            let rows = columns.values().map(Vec::len).max()?;
            Some(Block { layer: *layer_of.get(first)?, root: subtree.root, columns, rows })
        })
        .collect();
    blocks.sort_by_cached_key(|block| {
        let root = &closure.nodes()[block.root].path;
        let place = layers[block.layer].roots.iter().position(|other| other == root);
        (block.layer, place, block.columns.values().flatten().min().copied())
    });
    order(&mut blocks, arrows);
    blocks
}

/// Puts the paths of each column beside what they refer to and what refers to them.
fn order(blocks: &mut [Block], arrows: &Arrows) {
    let mut neighbours: Vec<Vec<usize>> = vec![Vec::new(); arrows.columns.len()];
    for &(from, to) in &arrows.list {
        neighbours[from].push(to);
        neighbours[to].push(from);
    }
    // In hundredths of a row, so that nothing depends on how fractions are rounded.
    let mut heights = vec![0; arrows.columns.len()];
    for _ in 0..ROUNDS {
        let mut top = 0;
        for block in &*blocks {
            for (path, height) in block.places() {
                heights[path] = top + height;
            }
            top += 100 * block.rows;
        }
        for block in &mut *blocks {
            for paths in block.columns.values_mut() {
                // Stable: what is alike stays in the order of the closure.
                paths.sort_by_key(|&path| {
                    let sum: usize = neighbours[path].iter().map(|&other| heights[other]).sum();
                    sum.checked_div(neighbours[path].len()).unwrap_or(heights[path])
                });
            }
        }
    }
}

impl Block {
    /// Each path with its height below the top of the block, in hundredths of a row:
    /// columns are in the middle of the block.
    pub(super) fn places(&self) -> impl Iterator<Item = (usize, usize)> {
        self.columns.values().flat_map(|paths| {
            let first = 50 * (self.rows - paths.len());
            paths.iter().enumerate().map(move |(row, &path)| (path, first + 100 * row))
        })
    }
}
