//! The documents that registries serve: digests, descriptors, manifests and
//! image configurations.

mod config;
mod digest;
mod manifest;

pub use config::{ImageConfig, LayerHistory};
pub use digest::{Digest, InvalidDigest, hex, is_of_any_algorithm};
pub use manifest::{Descriptor, Format, Manifest, empty_index};
