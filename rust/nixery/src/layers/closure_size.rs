//! Which paths have big closures of their own.

use super::components::Components;

/// Memory for the bit sets, in 64-bit words: 16 MiB. A closure whose full
/// reachability matrix is larger (11,600 components) takes several passes.
const MATRIX_WORDS: usize = 2 << 20;

/// Tells for each component whether the sizes of all that it reaches, itself
/// included and each counted once, sum to more than `limit`.
///
/// `sizes` are the components' own sizes. Exact for any graph. Most answers
/// follow from bounds; where they don't, reachable sets are compared column
/// block by column block, so memory stays at 16 MiB (or 8 bytes per component).
pub(super) fn exceeds(components: &Components, sizes: &[u64], limit: u64) -> Vec<bool> {
    exceeds_in_blocks(components, sizes, limit, MATRIX_WORDS)
}

fn exceeds_in_blocks(
    components: &Components,
    sizes: &[u64],
    limit: u64,
    matrix_words: usize,
) -> Vec<bool> {
    let count = components.len();
    // No closure is larger than its needs' closures laid side by side.
    let mut at_most = vec![0_u64; count];
    let mut big = vec![false; count];
    for component in 0..count {
        let needs = &components.needs[component];
        at_most[component] =
            needs.iter().fold(sizes[component], |sum, &need| sum.saturating_add(at_most[need]));
        big[component] = sizes[component] > limit || needs.iter().any(|&need| big[need]);
    }
    let mut open = open_count(&at_most, &big, limit);

    let words = (matrix_words / count.max(1)).clamp(1, count.div_ceil(64).max(1));
    let mut reached = vec![0_u64; count * words];
    let mut found = vec![0_u64; count];
    for first in (0..count).step_by(words * 64) {
        if open == 0 {
            break;
        }
        reached.fill(0);
        let columns: Vec<Column> = sizes[first..].chunks(64).take(words).map(Column::new).collect();
        for component in first..count {
            big[component] |= components.needs[component].iter().any(|&need| big[need]);
            // What needs a big one is big too, so nobody reads its row again.
            if !big[component] {
                let (needed, this) = reached.split_at_mut(component * words);
                let row = &mut this[..words];
                for &need in &components.needs[component] {
                    for (word, other) in row.iter_mut().zip(&needed[need * words..]) {
                        *word |= other;
                    }
                }
                if component - first < words * 64 {
                    row[(component - first) / 64] |= 1 << (component % 64);
                }
                if at_most[component] <= limit {
                    continue;
                }
                let sums = columns.iter().zip(&*row).map(|(column, &word)| column.sum_of(word));
                found[component] = sums.fold(found[component], u64::saturating_add);
                big[component] = found[component] > limit;
            }
        }
        open = open_count(&at_most, &big, limit);
    }
    big
}

/// How many components the bounds have not decided.
fn open_count(at_most: &[u64], big: &[bool], limit: u64) -> usize {
    at_most.iter().zip(big).filter(|&(&most, &big)| most > limit && !big).count()
}

/// The sizes of up to 64 components, one for each bit of a word.
struct Column<'a> {
    sizes: &'a [u64],
    total: u64,
}

impl<'a> Column<'a> {
    fn new(sizes: &'a [u64]) -> Self {
        Self { sizes, total: sizes.iter().copied().fold(0, u64::saturating_add) }
    }

    /// Sum of the sizes whose bits are set.
    fn sum_of(&self, word: u64) -> u64 {
        // In deep graphs most words are full or empty.
        if word == u64::MAX {
            return self.total;
        }
        let (mut sum, mut rest) = (0_u64, word);
        while rest != 0 {
            sum = sum.saturating_add(self.sizes[rest.trailing_zeros() as usize]);
            rest &= rest - 1;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::layers::tests::any_closure;

    /// The definition itself: walk from each component and add up.
    fn by_walking(components: &Components, sizes: &[u64], limit: u64) -> Vec<bool> {
        let walk = |start| {
            let mut seen = vec![false; components.len()];
            let (mut stack, mut sum) = (vec![start], 0);
            while let Some(component) = stack.pop() {
                if !std::mem::replace(&mut seen[component], true) {
                    sum += sizes[component];
                    stack.extend(&components.needs[component]);
                }
            }
            sum > limit
        };
        (0..components.len()).map(walk).collect()
    }

    proptest! {
        #[test]
        fn agrees_with_walking(closure in any_closure(150, 1), limit in 0_u64..4000, words in 1_usize..400) {
            let components = Components::new(&closure);
            let sizes: Vec<u64> =
                (0..components.len()).map(|component| (component as u64 * 37) % 101).collect();
            prop_assert_eq!(
                exceeds_in_blocks(&components, &sizes, limit, words),
                by_walking(&components, &sizes, limit)
            );
        }
    }
}
