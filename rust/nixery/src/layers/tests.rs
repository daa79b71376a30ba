//! What the tests of the layers share.

use super::ClosureNode;
use crate::store_path::StorePath;

pub(super) fn path(name: &str) -> StorePath {
    StorePath::new(format!("/nix/store/{}-{name}", "0".repeat(32))).unwrap()
}

pub(super) fn node(name: &str, nar_size: u64, references: &[&str]) -> ClosureNode {
    let references = references.iter().map(|&name| path(name)).collect();
    ClosureNode { path: path(name), nar_size, references }
}
