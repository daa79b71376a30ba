//! The closure graph of an image, with a band for each layer.

use std::collections::HashSet;

use super::arrows::Arrows;
use super::rows::{Block, blocks};
use super::svg::{Drawing, FONT, Labels, MARGIN, colour, fitting, size, width};
use crate::layers::{Closure, Layer, Popularity};
use crate::store_path::StorePath;

/// Height of a row, of a path in it, and of the room above and below the rows of a
/// subtree.
const ROW: usize = 21;
const PATH: usize = 17;
const PADDING: usize = 3;

/// Between two bands.
const GAP: usize = 4;

/// Left of the graph: number and size of each layer.
const HEAD: usize = 100;

/// Between two columns: room for arrows.
const BETWEEN: usize = 22;

/// What a label is cut to.
const LABEL: usize = 112;

/// What this many arrows lead to, such as libc, is needed by nearly everything. They
/// are drawn faintly, as the others could not be followed through them.
const MANY: usize = 9;

/// What the picture says of itself. The second line is the longest text there is.
const LEGEND: [&str; 2] = [
    "Each band is a layer, its bar the size of its Nix archives. Bold: a package of the image's \
     name. Strong colour: the root of a subtree.",
    "A line leads to the right, to what a path refers to. References that follow from others are \
     left out; those to what many paths need are faint.",
];

/// Draws the closure with its references as arrows from left to right, each layer as
/// a band, and each subtree of the dominator tree as a block in its layer's band.
/// `roots` and `popularity` are those that the `layers` were made with; `name` is
/// what the picture is of.
pub fn graph(
    layers: &[Layer],
    closure: &Closure,
    roots: &[StorePath],
    popularity: &Popularity,
    name: &str,
) -> String {
    let arrows = Arrows::new(closure);
    let blocks = blocks(layers, closure, roots, popularity, &arrows);
    let graph = Graph::new(layers, closure, roots, &arrows, &blocks);
    let mut drawing = Drawing::new();
    graph.draw_layers(&mut drawing, &blocks);
    graph.draw_arrows(&mut drawing);
    graph.draw_paths(&mut drawing, &blocks);

    let mut bottom = graph.bottom;
    for line in LEGEND {
        bottom += FONT + 6;
        let text =
            format_args!("<text class=\"faint\" x=\"{MARGIN}\" y=\"{bottom}\">{line}</text>");
        drawing.add(text);
    }
    let description = format!(
        "{} store paths in {} layers, {}.",
        closure.len(),
        layers.len(),
        size(closure.total_nar_size())
    );
    let title = format!("The closure of {name} and its layers");
    drawing.document((graph.right + MARGIN, bottom + MARGIN), &title, &description, layers.len())
}

/// Where everything is. Paths are by their indices in the closure, layers and blocks by
/// those in their lists.
struct Graph<'a> {
    layers: &'a [Layer],
    closure: &'a Closure,
    arrows: &'a Arrows,
    labels: Labels<'a>,
    /// Whether a path is a package of the image.
    chosen: Vec<bool>,
    /// Left edges of the columns.
    lefts: Vec<usize>,
    /// Of each path, the height of its middle, and its layer.
    middles: Vec<usize>,
    layer_of: Vec<usize>,
    /// Top and bottom of layers, and of blocks.
    bands: Vec<(usize, usize)>,
    outlines: Vec<(usize, usize)>,
    right: usize,
    bottom: usize,
}

impl<'a> Graph<'a> {
    fn new(
        layers: &'a [Layer],
        closure: &'a Closure,
        roots: &[StorePath],
        arrows: &'a Arrows,
        blocks: &[Block],
    ) -> Self {
        let roots: HashSet<&StorePath> = roots.iter().collect();
        let mut graph = Self {
            layers,
            closure,
            arrows,
            labels: Labels::new(&[closure]),
            chosen: closure.nodes().iter().map(|node| roots.contains(&node.path)).collect(),
            lefts: Vec::new(),
            middles: vec![0; closure.len()],
            layer_of: vec![0; closure.len()],
            bands: vec![(0, 0); layers.len()],
            outlines: Vec::new(),
            right: 0,
            bottom: MARGIN,
        };
        graph.place_columns();
        graph.place_rows(blocks);
        graph
    }

    /// Each column is as wide as its widest path.
    fn place_columns(&mut self) {
        let columns = &self.arrows.columns;
        let mut widths = vec![0; columns.iter().max().map_or(0, |last| last + 1)];
        for (path, &column) in columns.iter().enumerate() {
            widths[column] = widths[column].max(self.width(path));
        }
        let mut right = MARGIN + HEAD + 10;
        for width in widths {
            self.lefts.push(right);
            right += width + BETWEEN;
        }
        // Room for the legend, at least.
        self.right = (right - BETWEEN + 10).max(MARGIN + width(LEGEND[1]));
    }

    /// The blocks below each other, with gaps between layers.
    fn place_rows(&mut self, blocks: &[Block]) {
        let mut last = None;
        for block in blocks {
            if last != Some(block.layer) {
                self.bottom += if last.is_some() { GAP } else { 0 };
                self.bands[block.layer].0 = self.bottom;
                last = Some(block.layer);
            }
            let top = self.bottom;
            for (path, place) in block.places() {
                self.middles[path] = top + PADDING + place * ROW / 100 + ROW / 2;
                self.layer_of[path] = block.layer;
            }
            self.bottom += block.rows * ROW + 2 * PADDING;
            self.outlines.push((top, self.bottom));
            self.bands[block.layer].1 = self.bottom;
        }
    }

    fn label(&self, path: usize) -> String {
        fitting(self.labels.of(&self.closure.nodes()[path].path), LABEL)
    }

    fn width(&self, path: usize) -> usize {
        let width = width(&self.label(path));
        // Bold letters are wider.
        12 + if self.chosen[path] { width + width / 8 } else { width }
    }

    /// Bands with number, size and bar; and the blocks of those that have several.
    fn draw_layers(&self, drawing: &mut Drawing, blocks: &[Block]) {
        let largest = self.layers.iter().map(|layer| layer.size).max().unwrap_or(1).max(1);
        for (number, layer) in self.layers.iter().enumerate() {
            let (top, bottom) = self.bands[number];
            // At most as wide as there is room, so it fits.
            let bar = u128::from(layer.size) * (HEAD as u128 - 16) / u128::from(largest);
            drawing.add(format_args!(
                "<g><title>Layer {one}: {name}</title><rect class=\"{colour} band\" \
                 x=\"{MARGIN}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" rx=\"5\"/>\
                 <text class=\"bold\" x=\"{left}\" y=\"{text}\">{one}</text>\
                 <text class=\"end\" x=\"{right}\" y=\"{text}\">{size}</text>\
                 <rect class=\"{colour} root\" x=\"{left}\" y=\"{under}\" width=\"{bar}\" \
                 height=\"4\"/></g>",
                one = number + 1,
                name = self.labels.of_layer(layer),
                colour = colour(number),
                width = self.right - MARGIN,
                height = bottom - top,
                left = MARGIN + 8,
                right = MARGIN + HEAD - 8,
                text = top + 16,
                under = top + 20,
                size = size(layer.size),
                bar = bar.max(1)
            ));
        }
        for (block, &(top, bottom)) in blocks.iter().zip(&self.outlines) {
            if self.layers[block.layer].roots.len() > 1 {
                drawing.add(format_args!(
                    "<rect class=\"{} path\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" \
                     rx=\"4\" fill-opacity=\"0.35\"/>",
                    colour(block.layer),
                    MARGIN + HEAD + 2,
                    top + 1,
                    self.right - MARGIN - HEAD - 5,
                    bottom - top - 2
                ));
            }
        }
    }

    fn draw_arrows(&self, drawing: &mut Drawing) {
        let mut needed_by = vec![0_usize; self.closure.len()];
        for &(_, to) in &self.arrows.list {
            needed_by[to] += 1;
        }
        for &(from, to) in &self.arrows.list {
            let columns = &self.arrows.columns;
            let start = self.lefts[columns[from]] + self.width(from);
            let end = self.lefts[columns[to]];
            let bend = BETWEEN.max(end.saturating_sub(start) / 3);
            let kind = match (needed_by[to] >= MANY, self.layer_of[from] == self.layer_of[to]) {
                (true, _) => " many",
                (false, true) => "",
                (false, false) => " far",
            };
            let (high, low) = (self.middles[from], self.middles[to]);
            drawing.add(format_args!(
                "<path class=\"{} arrow{kind}\" d=\"M{start} {high}C{} {high} {} {low} {end} \
                 {low}\"/>",
                colour(self.layer_of[from]),
                start + bend,
                end.saturating_sub(bend)
            ));
        }
    }

    fn draw_paths(&self, drawing: &mut Drawing, blocks: &[Block]) {
        let roots: HashSet<usize> = blocks.iter().map(|block| block.root).collect();
        for (path, node) in self.closure.nodes().iter().enumerate() {
            let (chosen, bold) =
                if self.chosen[path] { (" chosen", " class=\"bold\"") } else { ("", "") };
            let left = self.lefts[self.arrows.columns[path]];
            drawing.add(format_args!(
                "<g><title>{}, {}</title><rect class=\"{} {}{chosen}\" x=\"{left}\" y=\"{}\" \
                 width=\"{}\" height=\"{PATH}\" rx=\"{}\"/><text{bold} x=\"{}\" y=\"{}\">{}\
                 </text></g>",
                node.path.name(),
                size(node.nar_size),
                colour(self.layer_of[path]),
                if roots.contains(&path) { "root" } else { "path" },
                self.middles[path] - PATH / 2,
                self.width(path),
                PATH / 2,
                left + 6,
                self.middles[path] + FONT / 3,
                self.label(path)
            ));
        }
    }
}
