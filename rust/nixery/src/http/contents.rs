//! What an image consists of, for people.

use std::fmt::Write;

use super::figures::bytes;
use super::images::{ImageView, LayerView};
use super::layout::escape;

/// Names of store paths that are shown of a layer at once, the largest.
const NAMES: usize = 5;

/// Other images that are named at a layer.
const OTHERS: usize = 3;

/// Of all of a picture of layers, in thousandths of a percent, what they have all together
/// so that the smallest are seen, and can be pointed at; and what each has at most of that.
const SEEN: u128 = 50_000;
const SEEN_OF_EACH: u128 = 1000;

/// The packages and layers of an image, with a picture of their sizes. `tells_sharing`:
/// what other images have is told.
pub(super) fn contents(image: &ImageView, tells_sharing: bool) -> String {
    let mut text =
        "<section id=\"contents\">\n<h2>Packages</h2>\n<ul class=\"packages\">\n".to_owned();
    for package in &image.packages {
        let _ = writeln!(
            text,
            "<li><code>{}</code> {}</li>",
            escape(&package.attribute),
            escape(&package.version)
        );
    }
    let _ = write!(
        text,
        "</ul>\n<h2>Layers</h2>\n{facts}{strip}",
        facts = facts(image, tells_sharing),
        strip = strip(image)
    );
    if tells_sharing {
        text.push_str(
            "<p class=\"legend\"><span class=\"own\"></span> only in this image, as far as this \
             server remembers <span class=\"shared\"></span> in other images too</p>\n",
        );
    }
    text.push_str(
        "<table class=\"layers\">\n<thead><tr><th scope=\"col\" class=\"number\">#</th>\
         <th scope=\"col\" class=\"number\">Size</th><td class=\"bar\"></td>\
         <th scope=\"col\">Store paths</th></tr></thead>\n<tbody>\n",
    );
    let largest = image.layers.iter().map(|layer| layer.size).max().unwrap_or(1).max(1);
    for (number, layer) in (1..).zip(&image.layers) {
        text.push_str(&row(number, layer, largest));
    }
    text.push_str("</tbody>\n</table>\n</section>\n");
    text
}

/// Numbers about all of it.
fn facts(image: &ImageView, tells_sharing: bool) -> String {
    let paths = image.layers.iter().map(|layer| layer.store_paths.len()).sum::<usize>();
    let mut facts = vec![
        ("Layers", image.layers.len().to_string()),
        ("Store paths", paths.to_string()),
        ("Files", bytes(image.nar_size)),
        ("To transfer", bytes(image.size)),
    ];
    if tells_sharing {
        let shared = image.layers.iter().filter(|layer| !layer.shared_with.is_empty());
        let size = shared.map(|layer| layer.size).sum();
        facts.push(("… of it in other images too", bytes(size)));
    }
    let facts = facts.into_iter().fold(String::new(), |text, (name, value)| {
        text + "<div><dt>" + name + "</dt><dd>" + &value + "</dd></div>\n"
    });
    format!("<dl class=\"facts\">\n{facts}</dl>\n")
}

/// All layers beside each other, each as wide as its part of the image, and leading to its
/// row in the table below, which has all that is shown.
fn strip(image: &ImageView) -> String {
    let all = u128::from(image.size.max(1));
    // In thousandths of a percent, of which there are few enough for any integer.
    let layers = image.layers.len().max(1) as u128;
    let least = SEEN_OF_EACH.min(SEEN / layers);
    let part = |bytes: u64| u128::from(bytes) * (100_000 - least * layers) / all;
    let percent = |part: u128| format!("{}.{:03}%", part / 1000, part % 1000);
    let mut before = 0;
    // Not only colours tell what is shared.
    let mut text = "<svg class=\"strip\" aria-hidden=\"true\" width=\"100%\" height=\"36\">\
         <defs><pattern id=\"stripes\" width=\"7\" height=\"7\" patternUnits=\"userSpaceOnUse\" \
         patternTransform=\"rotate(45)\"><rect class=\"ground\" width=\"7\" height=\"7\"/>\
         <rect class=\"stripe\" width=\"3\" height=\"7\"/></pattern></defs>"
        .to_owned();
    for (number, layer) in image.layers.iter().enumerate() {
        let before_it = least * number as u128;
        let begin = before_it + part(before);
        let end = before_it + least + part(before + layer.size);
        before += layer.size;
        let _ = write!(
            text,
            "<a href=\"#layer-{number}\" tabindex=\"-1\"><rect class=\"{class}\" x=\"{begin}\" width=\"{width}\" height=\"36\">\
             <title>{number}: {size}, {names}</title></rect></a>",
            number = number + 1,
            class = class(layer),
            begin = percent(begin),
            width = percent(end - begin),
            size = bytes(layer.size),
            names = Names::of(layer).in_short(),
        );
    }
    text.push_str("</svg>\n");
    text
}

fn class(layer: &LayerView) -> &'static str {
    if layer.shared_with.is_empty() { "own" } else { "shared" }
}

/// The names of a layer's store paths as HTML, the largest first.
struct Names {
    first: String,
    rest: Vec<String>,
}

impl Names {
    fn of(layer: &LayerView) -> Self {
        let mut paths: Vec<_> = layer.store_paths.iter().collect();
        paths.sort_by_key(|path| std::cmp::Reverse(path.nar_size));
        let mut names: Vec<String> = paths.iter().map(|path| escape(&path.name)).collect();
        // To say that there is one more takes as much room as that one.
        let shown = if names.len() > NAMES + 1 { NAMES } else { names.len() };
        let rest = names.split_off(shown);
        let first =
            if names.is_empty() { "links to the packages".to_owned() } else { names.join(", ") };
        Self { first, rest }
    }

    fn in_short(&self) -> String {
        match self.rest.len() {
            0 => self.first.clone(),
            more => format!("{} and {more} more", self.first),
        }
    }

    fn in_full(&self) -> String {
        match self.rest.len() {
            0 => self.first.clone(),
            more => format!(
                "{}<details><summary>and {more} more</summary>{}</details>",
                self.first,
                self.rest.join(", ")
            ),
        }
    }
}

fn row(number: usize, layer: &LayerView, largest: u64) -> String {
    let shared = match layer.shared_with.as_slice() {
        [] => String::new(),
        others => {
            let named = others.iter().take(OTHERS).map(|other| escape(other)).collect::<Vec<_>>();
            // There may be more than are known here.
            let more = if others.len() > OTHERS { " and others" } else { "" };
            format!(" <small>also in {}{more}</small>", named.join(", "))
        }
    };
    // Of the square root, so that small ones are seen beside large ones. In thousandths,
    // of which there are few enough for any integer.
    let width = (layer.size.saturating_mul(1_000_000) / largest).isqrt();
    format!(
        "<tr id=\"layer-{number}\"><td class=\"number\">{number}</td><td class=\"number\">{size}</td>\
         <td class=\"bar\"><svg aria-hidden=\"true\" width=\"100%\" height=\"10\"><rect class=\"{class}\" width=\"{whole}.{tenth}%\" height=\"10\"/></svg></td>\
         <td>{names}{shared}</td></tr>\n",
        class = class(layer),
        whole = width / 10,
        tenth = width % 10,
        size = bytes(layer.size),
        names = Names::of(layer).in_full(),
    )
}

#[cfg(test)]
mod tests {
    use super::super::images::PathView;
    use super::*;

    fn layer(size: u64, paths: u64, others: usize) -> LayerView {
        let store_paths = (1..=paths)
            .map(|n| PathView { path: String::new(), name: format!("path-{n}"), nar_size: n })
            .collect();
        let shared_with = (1..=others).map(|n| format!("other{n}")).collect();
        LayerView { digest: String::new(), size, uncompressed_size: 0, store_paths, shared_with }
    }

    #[test]
    fn long_lists_are_cut_to_what_is_largest() {
        let all = row(1, &layer(1, 6, 3), 1);
        assert!(
            all.contains("<td>path-6, path-5, path-4, path-3, path-2, path-1 <small>"),
            "{all}"
        );
        assert!(all.contains("also in other1, other2, other3</small>"), "{all}");
        let cut = row(2, &layer(1, 8, 4), 1);
        assert!(cut.contains("path-5, path-4<details><summary>and 3 more</summary>"), "{cut}");
        assert!(cut.contains("</summary>path-3, path-2, path-1</details>"), "{cut}");
        assert!(cut.contains("also in other1, other2, other3 and others</small>"), "{cut}");
    }

    #[test]
    fn the_smallest_layers_have_room_in_the_picture_and_all_fit() {
        for count in [1, 2, 94] {
            let sizes = (0..count).map(|n| if n == 0 { 1 << 40 } else { 0 });
            let layers: Vec<_> = sizes.map(|size| layer(size, 1, 0)).collect();
            let image = ImageView::of_layers(layers);
            let strip = strip(&image);
            let widths: Vec<f64> = strip
                .split("class=\"own\"")
                .skip(1)
                .map(|rect| rect.split('"').nth(3).unwrap().trim_end_matches('%').parse().unwrap())
                .collect();
            assert_eq!(widths.len(), count);
            assert!(widths.iter().all(|width| *width >= 0.5), "{widths:?}");
            let whole: f64 = widths.iter().sum();
            assert!((99.9..=100.001).contains(&whole), "{whole}");
            for number in 1..=count {
                assert!(strip.contains(&format!("href=\"#layer-{number}\"")));
            }
        }
    }

    #[test]
    fn the_totals_say_what_of_it_is_shared_where_that_is_told() {
        let image = ImageView::of_layers(vec![layer(3_000_000, 2, 1), layer(1_000_000, 1, 0)]);
        let text = contents(&image, true);
        for fact in [
            "<dt>Layers</dt><dd>2</dd>",
            "<dt>Store paths</dt><dd>3</dd>",
            "<dt>To transfer</dt><dd>4.0 MB</dd>",
            "in other images too</dt><dd>3.0 MB</dd>",
        ] {
            assert!(text.contains(fact), "{text}");
        }
        assert!(!contents(&image, false).contains("other images"));
    }
}
