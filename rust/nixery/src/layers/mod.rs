//! Grouping the store paths of a closure into layers.
