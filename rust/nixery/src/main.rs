//! The `nixery` program.
fn main() {}
