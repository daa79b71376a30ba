//! Compression of blocks into gzip members that stand alone.
//!
//! A gzip file may be any number of members one after the other (RFC 1952,
//! section 2.2). Here every block is a member of its own, so that blocks can
//! be compressed by many threads, and so that the same input gives the same
//! bytes wherever it lies in a layer. A member's header is constant: no name,
//! no time, "unknown" operating system; its bytes depend only on the input,
//! the level and the version of libdeflate.

use std::fmt;

use libdeflater::{CompressionLvl, Compressor};
use thiserror::Error;

/// The most input that one member holds, in bytes.
///
/// Larger blocks compress hardly better, and memory grows with them.
pub const BLOCK_SIZE: usize = 1 << 20;

/// How hard to compress: 1 (fast) to 12 (small).
///
/// The default, 5, gives smaller layers than `gzip -6` at several times its
/// speed. From 10 on, compression is tens of times slower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Level(u8);

/// A number that is not a compression level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{0} is not a compression level: expected 1 (fastest) to 12 (smallest)")]
pub struct InvalidLevel(pub u8);

impl Level {
    /// Checks that `level` is one of 1 to 12.
    pub fn new(level: u8) -> Result<Self, InvalidLevel> {
        if (1..=12).contains(&level) { Ok(Self(level)) } else { Err(InvalidLevel(level)) }
    }

    /// The number, 1 to 12.
    pub fn get(self) -> u8 {
        self.0
    }
}

impl Default for Level {
    fn default() -> Self {
        Self(5)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Turns blocks into gzip members, one after the other.
pub struct Gzip {
    compressor: Compressor,
}

/// The output did not fit, which [`Gzip::output_size`] rules out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the compressed block is larger than the output buffer")]
pub struct OutputTooSmall;

impl Gzip {
    /// A compressor, which needs about 1 MiB of memory (9 MiB from level 10).
    pub fn new(level: Level) -> Self {
        // Every `Level` is a level of libdeflate.
        let level = CompressionLvl::new(level.get().into()).unwrap_or_default();
        Self { compressor: Compressor::new(level) }
    }

    /// Bytes of memory that a compressor needs at `level`, at most (`deflate_compress.c` of
    /// libdeflate: `sizeof(struct libdeflate_compressor)`; measured).
    pub fn memory(level: Level) -> usize {
        if level.get() < 10 { 1 << 20 } else { 9 << 20 }
    }

    /// The room that a member of [`BLOCK_SIZE`] bytes of input may need.
    pub fn output_size(&mut self) -> usize {
        self.compressor.gzip_compress_bound(BLOCK_SIZE)
    }

    /// Compresses `input` into one whole member at the start of `output`, and
    /// returns the member's length in bytes.
    pub fn member(&mut self, input: &[u8], output: &mut [u8]) -> Result<usize, OutputTooSmall> {
        self.compressor.gzip_compress(input, output).map_err(|_| OutputTooSmall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_1_to_12() {
        assert_eq!(Level::default().get(), 5);
        assert_eq!(Level::new(0), Err(InvalidLevel(0)));
        assert_eq!(Level::new(13), Err(InvalidLevel(13)));
        assert!((1..=12).all(|level| Level::new(level).is_ok_and(|l| l.get() == level)));
    }

    /// Every level must be known to libdeflate: an unknown one would silently
    /// become its default.
    #[test]
    fn libdeflate_knows_every_level() {
        assert!((1..=12).all(|level| CompressionLvl::new(level).is_ok()));
    }

    #[test]
    fn a_member_is_the_same_each_time_and_names_neither_time_nor_system() {
        let input: Vec<u8> = (0..BLOCK_SIZE).map(|i| ((i * i) >> 7).to_le_bytes()[0]).collect();
        for level in [1, 5, 9, 12] {
            let mut gzip = Gzip::new(Level::new(level).unwrap());
            let mut first = vec![0; gzip.output_size()];
            let length = gzip.member(&input, &mut first).unwrap();
            // RFC 1952, section 2.3: magic, deflate, no flags, no time …, any system.
            assert_eq!(first[..8], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0]);
            assert_eq!(first[9], 255);
            gzip.member(b"something else in between", &mut vec![0; 1000]).unwrap();
            let mut second = vec![0xff; gzip.output_size()];
            assert_eq!(gzip.member(&input, &mut second), Ok(length));
            assert_eq!(first[..length], second[..length], "level {level}");
        }
    }

    #[test]
    fn incompressible_input_fits() {
        let mut state = 1_u64;
        let input: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .take(BLOCK_SIZE)
        .collect();
        let mut gzip = Gzip::new(Level::default());
        let mut output = vec![0; gzip.output_size()];
        assert!(gzip.member(&input, &mut output).unwrap() > BLOCK_SIZE);
        assert_eq!(gzip.member(&input, &mut output[..100]), Err(OutputTooSmall));
    }
}
