//! Grouping the store paths of a closure into layers, so that images share them.
//!
//! A layer is reused when another image has exactly the same paths in it. So
//! paths that are always needed together share a layer, what many images need
//! is alone in its layer, and what has to share a layer for want of room is put
//! where the fewest bytes change with the next package.
//!
//! [`group`] is the whole of it; [`Closure`] is its checked input and
//! [`Popularity`] what is known about the world outside the image. Everything
//! here is pure and deterministic: the same paths give the same layers in the
//! same order, in whatever order they came.

mod closure;
mod closure_size;
mod components;
#[cfg(test)]
mod generated;
mod graph_file;
mod group;
pub mod picture;
mod popularity;
mod report;
mod subtrees;
#[cfg(test)]
mod tests;

pub use closure::{Closure, ClosureError, ClosureNode};
pub use graph_file::{GraphFile, GraphFileError};
pub use group::{GroupError, Layer, group};
pub use popularity::{Popularity, PopularityError};
pub use report::report;
pub use subtrees::{BIG_CLOSURE, BIG_PATH, POPULAR};
