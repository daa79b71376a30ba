//! The store paths to pack.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use nixery::store_path::StorePath;

use crate::Result;

/// The paths that the command line or the environment name, or else generated
/// ones below `scratch`; sorted.
pub(crate) fn paths(scratch: &Path) -> Result<Vec<StorePath>> {
    // Cargo passes `--bench` on.
    let stores: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let mut paths = Vec::new();
    if let Ok(list) = std::env::var("NIXERY_BENCH_PATHS") {
        for line in fs::read_to_string(list)?.lines() {
            paths.push(StorePath::new(line)?);
        }
    }
    for store in &stores {
        paths.extend(store_paths(store.as_ref())?);
    }
    if paths.is_empty() {
        generate(scratch)?;
        paths = store_paths(scratch)?;
    }
    paths.sort();
    paths.dedup();
    Ok(paths)
}

/// All store paths directly below `store`.
fn store_paths(store: &Path) -> Result<Vec<StorePath>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(store)? {
        // A store has other things too, such as `.links`.
        paths.extend(entry?.path().to_str().and_then(|path| StorePath::new(path).ok()));
    }
    Ok(paths)
}

/// 160 store paths of 1 to 6 MB that compress to about a third, as real ones do.
fn generate(store: &Path) -> Result<()> {
    let mut random = Random(7);
    for number in 0..160 {
        let path = store.join(format!("{number:032}-generated"));
        for directory in ["bin", "lib", "share/doc"] {
            fs::create_dir_all(path.join(directory))?;
        }
        for file in 0..100 {
            let text = text(&mut random, 200 << (file % 8));
            fs::write(path.join(format!("share/doc/{file}.txt")), text)?;
        }
        for file in 0..=random.below(5) {
            let code = code(&mut random, 1 << 20);
            fs::write(path.join(format!("lib/lib{file}.so")), code)?;
        }
    }
    Ok(())
}

/// Words with some structure.
fn text(random: &mut Random, length: usize) -> String {
    let mut text = String::new();
    while text.len() < length {
        let word = random.below(50).pow(2);
        let _ =
            write!(text, "{word:x} {}", if word.is_multiple_of(7) { "and\n" } else { "of the " });
    }
    text
}

/// Runs of repeated instructions between random bytes.
fn code(random: &mut Random, length: usize) -> Vec<u8> {
    let mut code = Vec::with_capacity(length + 64);
    while code.len() < length {
        let noise = (0..random.below(12)).map(|_| random.byte()).collect::<Vec<_>>();
        code.extend(noise);
        let op = random.byte() % 40;
        code.extend((0..16_u8).map(|i| op.wrapping_mul(31).wrapping_add(i.wrapping_mul(op))));
    }
    code
}

/// A small generator, so that each run packs the same bytes.
struct Random(u64);

impl Random {
    fn byte(&mut self) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.to_be_bytes()[0]
    }

    /// A number below `limit`, which is at most 256.
    fn below(&mut self, limit: usize) -> usize {
        usize::from(self.byte()) % limit
    }
}
