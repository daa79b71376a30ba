//! Turning store paths into layers.
//!
//! [`pack_layer`] walks through some store paths and writes them as a tar
//! archive of gzip members: the same bytes for the same paths, on any machine
//! and with any number of threads. [`Pool`] has the threads that compress, and
//! all the memory; one pool serves all layers of all images. Nothing here is
//! asynchronous: callers use blocking threads.
//!
//! [`rootfs`] makes the one layer that holds no store paths: the root file
//! system, whose symbolic links lead to the packages.

mod error;
#[cfg(test)]
mod fixture;
mod gzip;
mod hash;
mod header;
mod layer;
mod listing;
mod member;
mod pool;
pub mod rootfs;
mod stream;
pub mod tar;
mod walk;

pub use error::PackError;
pub use gzip::{BLOCK_SIZE, Gzip, InvalidLevel, Level, OutputTooSmall};
pub use hash::{BlobHasher, BlobHashes};
pub use layer::{LAYER_MEMORY, Packed, PathMembers, PathSource, pack_layer, put_together};
pub use listing::Listing;
pub use pool::Pool;
