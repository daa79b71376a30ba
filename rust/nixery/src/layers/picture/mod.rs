//! Pictures of closures and of their layers, as SVG.
//!
//! They are for people, in the book and beside `nixery --layers`: the same input
//! gives the same bytes. They need nothing but themselves (no scripts, no fonts, no
//! other files), and have colours for light and dark surroundings.

mod arrows;
mod beside;
mod graph;
mod rows;
mod svg;
#[cfg(test)]
mod tests;

pub use beside::{Image, beside};
pub use graph::graph;
