//! Nixery: a container registry that makes its images from Nix packages when
//! they are asked for.
//!
//! Data flows one way, `main → http → assemble → pin → cache → {nix, archive} →
//! storage → {layers, oci, image, source}`; the last group is pure (no I/O,
//! no tokio, no axum). `tests/it/architecture.rs` checks this.

pub mod access;
pub mod archive;
pub mod assemble;
pub mod cache;
pub mod catalogue;
pub mod concurrent;
pub mod config;
pub mod counters;
pub mod disk;
pub mod error_chain;
pub mod flights;
#[cfg(test)]
#[path = "../tests/support/fuzz.rs"]
mod fuzz;
pub mod gc;
pub mod http;
pub mod image;
pub mod layers;
pub mod nix;
pub mod oci;
pub mod pin;
pub mod places;
pub mod platform;
pub mod popularity;
pub mod process;
pub mod serve;
pub mod small_file;
pub mod source;
pub mod storage;
pub mod store_path;
pub mod systemd;
pub mod telemetry;
