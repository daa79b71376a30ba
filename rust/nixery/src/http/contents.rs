//! What an image consists of, for people.

use std::fmt::Write;

use super::images::{ImageView, LayerView};
use super::layout::{bytes, escape};

/// Names of store paths that are shown of a layer.
const NAMES: usize = 8;

/// Of all of a picture of layers, in thousandths of a percent, what they have all together
/// so that the smallest are seen; and what each has at most of that.
const SEEN: u128 = 40_000;
const SEEN_OF_EACH: u128 = 500;

/// The packages and layers of an image, with a picture of their sizes. `tells_sharing`:
/// what other images have is told.
pub(super) fn contents(image: &ImageView, tells_sharing: bool) -> String {
    let mut text = format!(
        "<section id=\"contents\">\n<h2>Packages</h2>\n<p>{} in {} store paths: {} of files, {} in the registry.</p>\n<ul>\n",
        image.packages.len(),
        image.layers.iter().map(|layer| layer.store_paths.len()).sum::<usize>(),
        bytes(image.nar_size),
        bytes(image.size)
    );
    for package in &image.packages {
        let _ = writeln!(
            text,
            "<li><code>{}</code> {}</li>",
            escape(&package.attribute),
            escape(&package.version)
        );
    }
    let largest = image.layers.iter().map(|layer| layer.size).max().unwrap_or(1).max(1);
    text.push_str("</ul>\n<h2>Layers</h2>\n");
    text.push_str(&strip(image));
    if tells_sharing {
        text.push_str(
            "<p class=\"legend\"><span class=\"own\"></span> only in this image, as far as this \
             server remembers <span class=\"shared\"></span> in other images too</p>\n",
        );
    }
    text.push_str("<ol class=\"layers\">\n");
    for layer in &image.layers {
        text.push_str(&layer_item(layer, largest));
    }
    text.push_str("</ol>\n</section>\n");
    text
}

/// All layers beside each other, each as wide as its part of the image. What it shows is
/// in the list below too.
fn strip(image: &ImageView) -> String {
    let all = u128::from(image.size.max(1));
    // In thousandths of a percent, of which there are few enough for any integer.
    let layers = image.layers.len().max(1) as u128;
    let least = SEEN_OF_EACH.min(SEEN / layers);
    let part = |bytes: u64| u128::from(bytes) * (100_000 - least * layers) / all;
    let percent = |part: u128| format!("{}.{:03}%", part / 1000, part % 1000);
    let mut before = 0;
    let mut text =
        "<svg class=\"strip\" aria-hidden=\"true\" width=\"100%\" height=\"36\">".to_owned();
    for (number, layer) in image.layers.iter().enumerate() {
        let before_it = least * number as u128;
        let begin = before_it + part(before);
        let end = before_it + least + part(before + layer.size);
        before += layer.size;
        let _ = write!(
            text,
            "<rect class=\"{}\" x=\"{}\" width=\"{}\" height=\"36\"><title>{}: {}</title></rect>",
            class(layer),
            percent(begin),
            percent(end - begin),
            number + 1,
            bytes(layer.size),
        );
    }
    text.push_str("</svg>\n");
    text
}

fn class(layer: &LayerView) -> &'static str {
    if layer.shared_with.is_empty() { "own" } else { "shared" }
}

fn layer_item(layer: &LayerView, largest: u64) -> String {
    let mut paths: Vec<_> = layer.store_paths.iter().collect();
    paths.sort_by_key(|path| std::cmp::Reverse(path.nar_size));
    let names: Vec<&str> = paths.iter().take(NAMES).map(|path| path.name.as_str()).collect();
    let more = paths.len().saturating_sub(NAMES);
    let names = match (names.is_empty(), more) {
        (true, _) => "links to the packages".to_owned(),
        (false, 0) => escape(&names.join(", ")),
        (false, more) => format!("{} and {more} more", escape(&names.join(", "))),
    };
    let shared = if layer.shared_with.is_empty() {
        String::new()
    } else {
        format!(" <small>also in {}</small>", escape(&layer.shared_with.join(", ")))
    };
    // Of the square root, so that small ones are seen beside large ones. In thousandths,
    // of which there are few enough for any integer.
    let width = (layer.size.saturating_mul(1_000_000) / largest).isqrt();
    format!(
        "<li><svg aria-hidden=\"true\" width=\"100%\" height=\"8\"><rect class=\"{class}\" width=\"{whole}.{tenth}%\" height=\"8\"/></svg>\
         <strong>{size}</strong> {names}{shared}</li>\n",
        class = class(layer),
        whole = width / 10,
        tenth = width % 10,
        size = bytes(layer.size),
    )
}
