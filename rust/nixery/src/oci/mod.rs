//! The documents that registries serve.

mod digest;

pub use digest::{Digest, InvalidDigest, hex};
