//! Under which keys things are recorded.
//!
//! A key is a hash over everything that decides what the record says. Whoever lets
//! something else decide it adds that here.

use sha2::{Digest as _, Sha256};

use crate::oci::Digest;
use crate::source::Snapshot;
use crate::storage::{RecordKey, RecordKind};
use crate::store_path::StorePath;

/// Version of the records' form, and of the bytes that images consist of. A
/// change of either needs another number, or old images are taken for new ones.
pub(super) const VERSION: u32 = 2;

/// Makes keys: a hash over fields that can't run into each other.
struct KeyBuilder {
    kind: RecordKind,
    hasher: Sha256,
}

impl KeyBuilder {
    /// A key for records of `kind` about `purpose`.
    fn new(kind: RecordKind, purpose: &str) -> Self {
        let mut key = Self { kind, hasher: Sha256::new() };
        key.field(kind.directory()).field(VERSION.to_string()).field(purpose);
        key
    }

    /// Adds one field.
    fn field(&mut self, content: impl AsRef<[u8]>) -> &mut Self {
        let content = content.as_ref();
        self.hasher.update((content.len() as u64).to_le_bytes());
        self.hasher.update(content);
        self
    }

    /// Adds a list of fields, however many.
    fn list<T: AsRef<[u8]>>(&mut self, items: impl ExactSizeIterator<Item = T>) -> &mut Self {
        self.field((items.len() as u64).to_le_bytes());
        for item in items {
            self.field(item);
        }
        self
    }

    fn finish(self) -> RecordKey {
        RecordKey { kind: self.kind, key: Digest::from_bytes(self.hasher.finalize().into()) }
    }
}

/// The key of the layer that holds `paths`, which are sorted.
pub fn layer_key(level: u8, paths: &[StorePath]) -> RecordKey {
    let mut key = KeyBuilder::new(RecordKind::Build, "store paths");
    key.field([level]).list(paths.iter().map(StorePath::as_str));
    key.finish()
}

/// The key of the root file system over `packages`, which are sorted.
pub fn rootfs_key(level: u8, packages: &[StorePath]) -> RecordKey {
    let mut key = KeyBuilder::new(RecordKind::Build, "root file system");
    key.field([level]).list(packages.iter().map(StorePath::as_str));
    key.finish()
}

/// The key of what is known of a store path that was packed.
pub fn path_key(level: u8, path: &StorePath) -> RecordKey {
    let mut key = KeyBuilder::new(RecordKind::Path, "store path");
    key.field([level]).field(path.as_str());
    key.finish()
}

/// The key of a package that was prepared: what `name` is in a package set.
pub fn package_key(source: &Snapshot, system: &str, name: &str) -> RecordKey {
    let mut key = KeyBuilder::new(RecordKind::Package, "package");
    key.field(source.identity()).field(system).field(name);
    key.finish()
}

/// Everything that decides what the manifests of an image are.
#[derive(Clone, Copy, Debug)]
pub struct ManifestInputs<'a> {
    /// The package set.
    pub source: &'a Snapshot,
    /// Nix's name of the platform.
    pub system: &'a str,
    /// The packages, sorted.
    pub packages: &'a [&'a str],
    /// Compression level.
    pub level: u8,
    /// The most layers.
    pub max_layers: usize,
    /// What identifies the popularity table.
    pub popularity: &'a Digest,
}

/// The key of an image's manifests.
pub fn manifest_key(inputs: ManifestInputs<'_>) -> RecordKey {
    let mut key = KeyBuilder::new(RecordKind::Manifest, "manifests");
    key.field(inputs.source.identity())
        .field(inputs.system)
        .list(inputs.packages.iter())
        .field([inputs.level])
        .field((inputs.max_layers as u64).to_le_bytes())
        .field(inputs.popularity.hex());
    key.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::platform::Platform;
    use crate::source::Fingerprint;

    fn snapshot(fingerprint: &str) -> Snapshot {
        let (content, changed) = (fingerprint.to_owned(), String::new());
        Snapshot::of_directory(Path::new("/pkgs"), Fingerprint { content, changed }, None)
    }

    fn inputs<'a>(
        source: &'a Snapshot,
        packages: &'a [&'a str],
        popularity: &'a Digest,
    ) -> ManifestInputs<'a> {
        let (system, level, max_layers) = ("x86_64-linux", 5, 94);
        ManifestInputs { source, system, packages, level, max_layers, popularity }
    }

    /// The Go program joined the names with nothing between them, and left the
    /// platform out.
    #[test]
    fn different_images_have_different_keys() {
        let (source, other_source) = (snapshot("s"), snapshot("sa"));
        let popularity = Digest::of(b"");
        let base = inputs(&source, &["ab", "c"], &popularity);
        let others = [
            inputs(&source, &["a", "bc"], &popularity),
            inputs(&source, &["abc"], &popularity),
            inputs(&other_source, &["b", "c"], &popularity),
            inputs(&source, &["ab", "c", ""], &popularity),
            ManifestInputs { system: "aarch64-linux", ..base },
            ManifestInputs { level: 6, ..base },
            ManifestInputs { max_layers: 93, ..base },
            ManifestInputs { popularity: &Digest::of(b"other"), ..base },
        ];
        for other in others {
            assert_ne!(manifest_key(base), manifest_key(other), "{other:?}");
        }
        assert_eq!(manifest_key(base), manifest_key(base));
    }

    #[test]
    fn a_layer_and_a_root_file_system_of_the_same_paths_are_two_things() {
        assert_ne!(layer_key(5, &[]), rootfs_key(5, &[]));
    }

    #[test]
    fn a_package_is_told_by_its_set_its_system_and_its_name() {
        let (one, two) = (snapshot("1"), snapshot("2"));
        let key = package_key(&one, "x86_64-linux", "git");
        assert_ne!(key, package_key(&two, "x86_64-linux", "git"));
        assert_ne!(key, package_key(&one, "aarch64-linux", "git"));
        assert_ne!(key, package_key(&one, "x86_64-linux", "jq"));
        assert_ne!(key, package_key(&one, "x86_64-linuxgit", ""));
    }

    proptest! {
        #[test]
        fn no_two_images_share_a_key(
            images in proptest::collection::vec(
                (
                    "[ab/]{0,3}",
                    prop_oneof![Just(Platform::Amd64), Just(Platform::Arm64)],
                    proptest::collection::vec("[ab]{0,3}", 0..4),
                ),
                2..30,
            )
        ) {
            let popularity = Digest::of(b"");
            let mut seen = HashMap::new();
            for image in &images {
                let (source, platform, packages) = image;
                let source = snapshot(source);
                let names: Vec<&str> = packages.iter().map(String::as_str).collect();
                let inputs = ManifestInputs {
                    system: platform.system(),
                    ..inputs(&source, &names, &popularity)
                };
                let before = seen.insert(manifest_key(inputs), image);
                prop_assert!(before.is_none_or(|before| before == image));
            }
        }
    }
}
