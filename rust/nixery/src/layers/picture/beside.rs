//! The layers of two images, and which of them are the same.

use std::collections::HashMap;

use super::svg::{Drawing, FONT, Labels, MARGIN, colour, escape, fitting, size, width};
use crate::layers::{Closure, Layer};
use crate::store_path::StorePath;

/// Height of a layer, and the room below it.
const LAYER: usize = 22;
const GAP: usize = 4;

/// Width of a layer, and of the room between the images.
const WIDTH: usize = 330;
const BETWEEN: usize = 90;

/// What is drawn of an image.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    /// What it is called.
    pub name: &'a str,
    /// Its layers, in their order.
    pub layers: &'a [Layer],
    /// The closure that they were made of.
    pub closure: &'a Closure,
}

/// Draws the layers of two images, one image beside the other, with a ribbon between
/// those that are the same. Bars show how large layers are.
pub fn beside(images: &[Image<'_>; 2]) -> String {
    let of_second: HashMap<&[StorePath], usize> =
        (0..).zip(images[1].layers).map(|(at, layer)| (layer.paths.as_slice(), at)).collect();
    let pairs: Vec<(usize, usize)> = images[0]
        .layers
        .iter()
        .enumerate()
        .filter_map(|(at, layer)| Some((at, *of_second.get(layer.paths.as_slice())?)))
        .collect();
    let common = total(pairs.iter().map(|&(at, _)| &images[0].layers[at]));
    let largest = images.iter().flat_map(|image| image.layers).map(|layer| layer.size).max();

    let mut drawing = Drawing::new();
    for &(first, second) in &pairs {
        draw_ribbon(&mut drawing, first, second);
    }
    let columns = Columns {
        labels: Labels::new(&[images[0].closure, images[1].closure]),
        largest: largest.unwrap_or(1).max(1),
        bottom: top(images.iter().map(|image| image.layers.len()).max().unwrap_or(0)) + FONT + 2,
        common,
    };
    // Both have the colour of the first.
    let colours = [
        pairs.iter().map(|&(first, _)| (first, first)).collect(),
        pairs.iter().map(|&(first, second)| (second, first)).collect(),
    ];
    for (side, (image, colours)) in images.iter().zip(&colours).enumerate() {
        columns.draw(&mut drawing, left(side), image, colours);
    }
    let bottom = columns.bottom + FONT + 6;
    drawing.add(format_args!(
        "<text class=\"faint\" x=\"{MARGIN}\" y=\"{bottom}\">A ribbon joins layers that are the \
         same in both images; a dashed one is in one image only. Bars show sizes.</text>"
    ));
    let title = format!("The layers of {} and of {}", images[0].name, images[1].name);
    let description = format!("{} layers with {} are in both images.", pairs.len(), size(common));
    let area = (left(1) + WIDTH + MARGIN, bottom + MARGIN);
    drawing.document(area, &title, &description, images[0].layers.len())
}

/// Top of the layer with this number, from 0.
fn top(at: usize) -> usize {
    MARGIN + FONT + 12 + at * (LAYER + GAP)
}

/// Left edge of an image, the first or the second.
fn left(side: usize) -> usize {
    MARGIN + side * (WIDTH + BETWEEN)
}

fn total<'a>(layers: impl Iterator<Item = &'a Layer>) -> u64 {
    layers.map(|layer| layer.size).fold(0, u64::saturating_add)
}

fn draw_ribbon(drawing: &mut Drawing, first: usize, second: usize) {
    let (from, to) = (left(0) + WIDTH, left(1));
    let middle = from.midpoint(to);
    let (a, b) = (top(first), top(second));
    drawing.add(format_args!(
        "<path class=\"{} path ribbon\" d=\"M{from} {a}C{middle} {a} {middle} {b} {to} {b}V{}C\
         {middle} {} {middle} {} {from} {}Z\"/>",
        colour(first),
        b + LAYER,
        b + LAYER,
        a + LAYER,
        a + LAYER
    ));
}

/// What both images have in common.
struct Columns<'a> {
    labels: Labels<'a>,
    /// Size of the largest layer.
    largest: u64,
    /// Where the sums are.
    bottom: usize,
    /// Size of the layers that are in both.
    common: u64,
}

impl Columns<'_> {
    /// `colours` are those of the layers that are in the other image too.
    fn draw(
        &self,
        drawing: &mut Drawing,
        x: usize,
        image: &Image<'_>,
        colours: &HashMap<usize, usize>,
    ) {
        drawing.add(format_args!(
            "<text class=\"bold\" x=\"{x}\" y=\"{}\">{}</text>",
            MARGIN + FONT,
            escape(image.name)
        ));
        for (at, layer) in image.layers.iter().enumerate() {
            self.draw_layer(drawing, x, at, layer, colours.get(&at).copied());
        }
        let (count, sum) = (image.layers.len(), total(image.layers.iter()));
        let own = match count - colours.len() {
            0 => "nothing only here".to_owned(),
            own => format!("only here: {} in {own}", size(sum.saturating_sub(self.common))),
        };
        drawing.add(format_args!(
            "<text x=\"{x}\" y=\"{}\">{} in {count} layers; {own}</text>",
            self.bottom,
            size(sum)
        ));
    }

    /// Its number, what is in it, and its size, as a number and as a bar.
    fn draw_layer(
        &self,
        drawing: &mut Drawing,
        x: usize,
        at: usize,
        layer: &Layer,
        number: Option<usize>,
    ) {
        let (box_class, bar_class) = match number.map(colour) {
            Some(colour) => (format!("{colour} path"), format!("{colour} root")),
            None => ("only".to_owned(), "only bar".to_owned()),
        };
        let (name, size, y) = (self.labels.of_layer(layer), size(layer.size), top(at));
        // At most as wide as the layer, so it fits.
        let bar = (u128::from(layer.size) * WIDTH as u128 / u128::from(self.largest)).max(1);
        drawing.add(format_args!(
            "<g><title>{name}</title>\
             <rect class=\"{box_class}\" x=\"{x}\" y=\"{y}\" width=\"{WIDTH}\" height=\"{LAYER}\"/>\
             <rect class=\"{bar_class}\" x=\"{x}\" y=\"{y}\" width=\"{bar}\" height=\"{LAYER}\"/>\
             <text class=\"bold\" x=\"{}\" y=\"{text}\">{}</text>\
             <text x=\"{}\" y=\"{text}\">{}</text>\
             <text class=\"end\" x=\"{}\" y=\"{text}\">{size}</text></g>",
            x + 6,
            at + 1,
            x + 28,
            fitting(&name, WIDTH - 34 - 12 - width(&size)),
            x + WIDTH - 6,
            text = y + 15
        ));
    }
}
