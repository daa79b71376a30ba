//! Package sets that look like real ones, made from a seed: for tests and
//! benches, which both include this file.

/// A package: its store path's name, its size in bytes, and the packages it needs
/// by their indices, all lower than its own.
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) size: u64,
    pub(crate) needs: Vec<usize>,
}

/// Numbers that look random: a linear congruential generator with the constants
/// of Knuth's MMIX, of which the upper half is used.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number from 0 to `bound - 1`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound.max(1)
    }

    /// The same, with each power of two as likely as the next: few get much.
    pub(crate) fn skewed_below(&mut self, bound: usize) -> usize {
        let halvings = self.below(bound.max(1).ilog2() as usize + 1);
        self.below(bound >> halvings)
    }
}

/// A package set in which how often a package is needed follows a power law and
/// sizes are spread evenly over the powers of two from 4 KB to 32 MB.
pub(crate) fn package_set(count: usize, seed: u64) -> Vec<Package> {
    let mut random = Random(seed);
    (0..count)
        .map(|index| {
            let mut needs: Vec<usize> = (0..=random.skewed_below(20))
                .filter(|_| index > 0)
                .map(|_| match random.below(4) {
                    0 => random.below(index),
                    _ => random.skewed_below(index),
                })
                .collect();
            needs.sort_unstable();
            needs.dedup();
            let size = (4096 + random.below(4096)) << random.below(13);
            Package { name: format!("package{index}-1.{}", index % 10), size: size as u64, needs }
        })
        .collect()
}

/// Indices of `roots` and all that they need, sorted.
pub(crate) fn closure_of(packages: &[Package], roots: &[usize]) -> Vec<usize> {
    let mut seen = vec![false; packages.len()];
    let mut stack = roots.to_vec();
    while let Some(index) = stack.pop() {
        if !std::mem::replace(&mut seen[index], true) {
            stack.extend(&packages[index].needs);
        }
    }
    (0..packages.len()).filter(|&index| seen[index]).collect()
}

/// The popularity table of a package set: how many packages need each, as JSON.
pub(crate) fn popularity_of(packages: &[Package]) -> String {
    let mut counts = vec![0; packages.len()];
    for &need in packages.iter().flat_map(|package| &package.needs) {
        counts[need] += 1;
    }
    let entries: Vec<String> = packages
        .iter()
        .zip(counts)
        .map(|(package, count)| format!("{:?}:{count}", package.name))
        .collect();
    format!("{{{}}}", entries.join(","))
}
