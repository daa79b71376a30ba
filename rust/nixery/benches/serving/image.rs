//! A package set that needs no building: its packages are in the store already.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Result;

/// Packages, and how many bytes each has. Nothing in them can be compressed, so
/// that layers are about as large. The last two are in every image.
const PACKAGES: [(&str, usize); 5] = [
    ("small", 6_600),
    ("medium", 1_000_000),
    ("large", 40_000_000),
    ("cacert", 100),
    ("iana-etc", 100),
];

/// Store paths, which are deleted when this is dropped.
pub(crate) struct PackageSet(Vec<String>);

impl PackageSet {
    /// Makes the files below `scratch` and adds them to the Nix store, and a set of them
    /// with the attributes `more`.
    pub(crate) fn add_to_store(scratch: &Path, more: &str) -> Result<Self> {
        let mut paths = Self(Vec::new());
        let mut set = String::from(
            "{ system, ... }:\nlet\n  package = name: path: { inherit name system; \
             type = \"derivation\"; outPath = builtins.storePath path; };\nin\n{\n",
        );
        for (name, size) in PACKAGES {
            let directory = scratch.join("packages").join(name);
            fs::create_dir_all(&directory)?;
            fs::write(directory.join("data"), noise(name, size))?;
            let path = paths.add(&directory)?;
            writeln!(set, "  {name} = package \"{name}-1\" {path};")?;
        }
        set.push_str(more);
        set.push_str("}\n");
        // Images are kept in memory for good only if their source can't change,
        // as is so in the store.
        let directory = scratch.join("package-set");
        fs::create_dir(&directory)?;
        fs::write(directory.join("default.nix"), set)?;
        paths.add(&directory)?;
        Ok(paths)
    }

    /// The store path of the set.
    pub(crate) fn path(&self) -> &str {
        self.0.last().map_or("", String::as_str)
    }

    /// The name of an image with all packages.
    #[expect(clippy::unused_self, reason = "there is no image without the packages")]
    pub(crate) fn image(&self) -> &'static str {
        "small/medium/large"
    }

    fn add(&mut self, directory: &Path) -> Result<String> {
        let output = Command::new("nix-store")
            .arg("--add")
            .arg(directory)
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| format!("nix-store can't be run: is Nix installed? {error}"))?;
        if !output.status.success() {
            return Err("nix-store could not add a path".into());
        }
        let path = String::from_utf8(output.stdout)?.trim().to_owned();
        self.0.push(path.clone());
        Ok(path)
    }
}

impl Drop for PackageSet {
    fn drop(&mut self) {
        // What another user of the store holds by now may stay.
        let _ = Command::new("nix-store")
            .arg("--delete")
            .args(&self.0)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

/// The same random bytes in every run, others for each name.
fn noise(name: &str, size: usize) -> Vec<u8> {
    let mut state = name.bytes().fold(7_u64, |state, byte| state * 31 + u64::from(byte));
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        // xorshift64*
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend(state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}
