//! The hashes that the two forms of a layer need.

use md5::Md5;
use sha2::{Digest as _, Sha256};

use crate::oci::Digest;

/// Hashes a layer's compressed bytes: SHA-256 for the registry, MD5 for the
/// storage back ends, which compare it with what a bucket reports.
#[derive(Default)]
pub struct BlobHasher {
    sha256: Sha256,
    md5: Md5,
    size: u64,
}

/// What [`BlobHasher`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobHashes {
    /// SHA-256 of all bytes.
    pub digest: Digest,
    /// MD5 of all bytes.
    pub md5: [u8; 16],
    /// How many bytes there were.
    pub size: u64,
}

impl BlobHasher {
    /// Takes in the next `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.md5.update(bytes);
        self.size += bytes.len() as u64;
    }

    /// The hashes of everything taken in.
    pub fn finish(self) -> BlobHashes {
        BlobHashes {
            digest: Digest::from_bytes(self.sha256.finalize().into()),
            md5: self.md5.finalize().into(),
            size: self.size,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::hex;

    #[test]
    fn hashes_and_counts() {
        let mut hasher = BlobHasher::default();
        hasher.update(b"a");
        hasher.update(b"bc");
        let found = hasher.finish();
        assert_eq!(found.digest, Digest::of(b"abc"));
        assert_eq!(hex(&found.md5), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(found.size, 3);
    }
}
