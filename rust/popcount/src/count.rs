//! Counting who refers to what.

use std::collections::{BTreeMap, HashMap};

use crate::narinfo::Narinfo;

/// How many store paths of other packages refer to each package, and to each name
/// with version.
///
/// The count of a name is the number of different store paths that refer to at
/// least one store path of that name, and whose own package name is another one. So
/// what refers to two outputs or two versions of a package counts once for it, and
/// the outputs of one package don't make each other popular.
#[derive(Debug, Default)]
pub struct Counter {
    counts: HashMap<Box<str>, u64>,
}

impl Counter {
    /// Counts the references of one store path. Each may be added only once.
    pub fn add(&mut self, narinfo: &Narinfo) {
        let own = narinfo.path.package();
        // Names that have no version are package names already.
        let mut names: Vec<&str> = narinfo
            .references
            .iter()
            .filter(|reference| reference.package() != own)
            .flat_map(|reference| [reference.package(), reference.name()])
            .collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            match self.counts.get_mut(name) {
                Some(count) => *count += 1,
                None => _ = self.counts.insert(name.into(), 1),
            }
        }
    }

    /// The counts, by name. What nobody refers to isn't there.
    pub fn table(&self) -> BTreeMap<&str, u64> {
        self.counts.iter().map(|(name, count)| (&**name, *count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store_path::BaseName;
    use crate::store_path::tests::base;

    fn count(all: &[(BaseName, Vec<BaseName>)]) -> Vec<(String, u64)> {
        let mut counter = Counter::default();
        for (path, references) in all {
            counter.add(&Narinfo { path: path.clone(), references: references.clone() });
        }
        counter.table().into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
    }

    fn entries(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
        expected.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    #[test]
    fn counts_by_package_and_by_version() {
        let glibc = base('1', "glibc-2.40-66");
        let counts = count(&[
            (base('2', "bash-5.2"), vec![glibc.clone()]),
            (base('3', "jq-1.7"), vec![base('4', "glibc-2.39"), base('5', "hook")]),
            (base('6', "gcc-14-lib"), vec![glibc]),
        ]);
        let expected = [("glibc", 3), ("glibc-2.39", 1), ("glibc-2.40-66", 2), ("hook", 1)];
        assert_eq!(counts, entries(&expected));
    }

    #[test]
    fn one_referrer_counts_once_for_a_package() {
        let references = vec![
            base('1', "glibc-2.40"),
            base('2', "glibc-2.40-bin"),
            base('3', "glibc-2.39"),
            // The same name with another hash, as for two systems.
            base('4', "glibc-2.39"),
        ];
        let counts = count(&[(base('5', "bash-5.2"), references)]);
        let expected = [("glibc", 1), ("glibc-2.39", 1), ("glibc-2.40", 1), ("glibc-2.40-bin", 1)];
        assert_eq!(counts, entries(&expected));
    }

    #[test]
    fn a_package_does_not_make_itself_popular() {
        let glibc = base('1', "glibc-2.40");
        let counts = count(&[
            (glibc.clone(), vec![glibc.clone()]),
            (base('2', "glibc-2.40-bin"), vec![glibc.clone()]),
            (base('3', "glibc-locales-2.40"), vec![glibc]),
        ]);
        assert_eq!(counts, entries(&[("glibc", 1), ("glibc-2.40", 1)]));
    }

    proptest! {
        #[test]
        fn order_does_not_matter_and_no_package_is_less_than_its_versions(
            edges in prop::collection::vec(
                (0..6_u8, prop::collection::vec((0..6_u8, 0..3_u8), 0..6)), 0..12,
            ),
        ) {
            let all: Vec<_> = edges.into_iter().map(|(path, references)| {
                let references = references.into_iter().map(|(package, version)| {
                    base('1', &format!("p{}-{version}", (b'a' + package) as char))
                });
                (base('0', &format!("p{}-0", (b'a' + path) as char)), references.collect())
            }).collect();
            let counts = count(&all);
            let reversed: Vec<_> = all.iter().rev().cloned().collect();
            prop_assert_eq!(&counts, &count(&reversed));
            let by_name: HashMap<_, _> = counts.iter().cloned().collect();
            for (name, count) in &counts {
                let package = name.split('-').next().unwrap();
                prop_assert!(by_name[package] >= *count && *count <= all.len() as u64);
            }
        }
    }
}
