//! What all pictures have in common: the document, colours, labels, sizes.

use std::collections::HashMap;
use std::fmt::Write as _;

use crate::layers::popularity::package_name;
use crate::layers::{Closure, Layer};
use crate::store_path::StorePath;

/// Size of labels, in pixels like everything here.
pub(super) const FONT: usize = 12;

/// Between what is drawn and the edge.
pub(super) const MARGIN: usize = 12;

/// Neither hue nor lightness of neighbours is alike; green and yellow, which look
/// paler than others, come out as well as the rest.
const HUES: [u16; 12] = [210, 28, 140, 330, 182, 52, 268, 0, 100, 232, 300, 160];

/// Colours that every picture uses, for light and for dark surroundings.
const LIGHT: &str = "\
.ground{fill:#fff;stroke:#d5d9e0}\
text{fill:#1c2330}\
.faint{fill:#566072}\
.only{fill:#f1f2f5;stroke:#7b8496}\
.only.bar{fill:#c9cdd6;stroke:none}";
const DARK: &str = "\
.ground{fill:#161b26;stroke:#323a4a}\
text{fill:#e8ebf2}\
.faint{fill:#a3acbd}\
.only{fill:#232937;stroke:#8a93a5}\
.only.bar{fill:#4a5265;stroke:none}";

/// A picture that is being drawn.
pub(super) struct Drawing {
    body: String,
}

impl Drawing {
    pub(super) fn new() -> Self {
        Self { body: String::new() }
    }

    /// Adds an element, as SVG, on a line of its own.
    pub(super) fn add(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = writeln!(self.body, "{element}");
    }

    /// The document: `title` and `description` are what screen readers say, `colours`
    /// how many colours of layers it uses.
    pub(super) fn document(
        self,
        (width, height): (usize, usize),
        title: &str,
        description: &str,
        colours: usize,
    ) -> String {
        let (title, description) = (escape(title), escape(description));
        let (mut light, mut dark) = (LIGHT.to_owned(), DARK.to_owned());
        for (number, hue) in HUES.iter().enumerate().take(colours) {
            light += &rules(number, *hue, 55, [94, 84, 66], 38);
            dark += &rules(number, *hue, 38, [16, 26, 38], 68);
        }
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             width=\"{width}\" height=\"{height}\" role=\"img\" aria-labelledby=\"title desc\">\n\
             <title id=\"title\">{title}</title>\n<desc id=\"desc\">{description}</desc>\n\
             <style>\
             text{{font:{FONT}px system-ui,'Segoe UI',Helvetica,Arial,sans-serif}}\
             .bold{{font-weight:700}}.arrow{{fill:none;stroke-width:1.2}}.far{{opacity:.5}}.many{{opacity:.2}}\
             .ribbon{{opacity:.75}}.only{{stroke-dasharray:4 3}}.end{{text-anchor:end}}\
             {light}@media(prefers-color-scheme:dark){{{dark}}}</style>\n\
             <rect class=\"ground\" x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"8\"/>\n\
             {}</svg>\n",
            width - 1,
            height - 1,
            self.body
        )
    }
}

/// The rules of one colour: of bands, of paths, of roots and bars, and of lines, by
/// their lightness.
fn rules(number: usize, hue: u16, saturation: u8, [band, path, root]: [u8; 3], line: u8) -> String {
    format!(
        ".c{number}.band{{fill:hsl({hue},{saturation}%,{band}%)}}\
         .c{number}.path{{fill:hsl({hue},{saturation}%,{path}%)}}\
         .c{number}.root{{fill:hsl({hue},{saturation}%,{root}%)}}\
         .c{number}.arrow,.c{number}.chosen{{stroke:hsl({hue},{saturation}%,{line}%)}}"
    )
}

/// The class for the colour of the layer with this number, from 0.
pub(super) fn colour(layer: usize) -> String {
    format!("c{}", layer % HUES.len())
}

/// Text as SVG has it.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Bytes of NAR for people; halves are rounded up, in integers.
pub(super) fn size(bytes: u64) -> String {
    if bytes < 99_500 {
        return format!("{} kB", bytes.div_ceil(1000));
    }
    let tenths = bytes / 100_000 + u64::from(bytes % 100_000 >= 50_000);
    format!("{}.{} MB", tenths / 10, tenths % 10)
}

/// About how wide a label is, at most, in fonts that are in use.
pub(super) fn width(label: &str) -> usize {
    let tenths: usize = label
        .chars()
        .map(|letter| match letter {
            'i' | 'j' | 'l' | '.' | '-' | '\'' | ' ' | ',' | '(' | ')' => 34,
            'f' | 'r' | 't' => 42,
            'm' | 'w' | 'M' | 'W' | '…' => 95,
            _ => 64,
        })
        .sum();
    (tenths * FONT).div_ceil(100)
}

/// As much of a label as is at most so wide.
pub(super) fn fitting(label: &str, most: usize) -> String {
    if width(label) <= most {
        return label.to_owned();
    }
    let mut short = String::new();
    for letter in label.chars() {
        if width(&short) + width("…") + width(&letter.to_string()) > most {
            break;
        }
        short.push(letter);
    }
    short + "…"
}

/// What paths are called: the name without version where that is enough to tell
/// them apart, otherwise the whole one.
pub(super) struct Labels<'a>(HashMap<&'a str, usize>);

impl<'a> Labels<'a> {
    pub(super) fn new(closures: &[&'a Closure]) -> Self {
        // By closure, as two versions of a package have one name, one in each.
        let mut most = HashMap::new();
        for closure in closures {
            let mut counts = HashMap::<&str, usize>::new();
            for node in closure.nodes() {
                *counts.entry(package_name(node.path.name())).or_default() += 1;
            }
            for (name, count) in counts {
                let entry = most.entry(name).or_default();
                *entry = count.max(*entry);
            }
        }
        Self(most)
    }

    pub(super) fn of<'b>(&self, path: &'b StorePath) -> &'b str {
        let name = package_name(path.name());
        let is_one = self.0.get(name).is_some_and(|&count| count == 1);
        if is_one && !name.is_empty() { name } else { path.name() }
    }

    /// What a layer is called: its roots, and how many more paths are in it. "for"
    /// stands before roots that are in another layer, being big.
    pub(super) fn of_layer(&self, layer: &Layer) -> String {
        let mut others = layer.paths.len();
        let mut names = Vec::new();
        for root in &layer.roots {
            if layer.paths.contains(root) {
                others -= 1;
                names.push(self.of(root).to_owned());
            } else {
                names.push(format!("for {}", self.of(root)));
            }
        }
        let names = names.join(", ");
        match others {
            0 => names,
            1 if layer.paths.len() == 1 => format!("{names}: {}", self.of(&layer.paths[0])),
            _ => format!("{names} + {others}"),
        }
    }
}
