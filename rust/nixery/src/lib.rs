//! Nixery: a container registry that makes its images from Nix packages when
//! they are asked for.
//!
//! Data flows one way, `main → http → assemble → {nix, archive, storage} →
//! {layers, oci, image, source, store_path}`; the last group is pure (no I/O).

pub mod archive;
pub mod layers;
pub mod oci;
pub mod store_path;
