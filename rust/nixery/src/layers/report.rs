//! Layers as text, for people who want to know what is where.

use std::collections::HashSet;
use std::fmt::Write as _;

use super::{Closure, Layer};
use crate::store_path::StorePath;

/// How many roots and how many further paths of a layer are named.
const NAMED: usize = 3;

/// A table of the layers in their order: number, size in MB (1,000,000 bytes of
/// NAR), number of paths, and the names of the first roots and other paths; below
/// it the sums, and those of the closure if they differ.
pub fn report(layers: &[Layer], closure: &Closure) -> String {
    let mut text = String::from("layer         MB  paths  roots (and what only they need)\n");
    let (mut size, mut count) = (0_u64, 0);
    for (number, layer) in (1..).zip(layers) {
        size = size.saturating_add(layer.size);
        count += layer.paths.len();
        let roots: HashSet<&StorePath> = layer.roots.iter().collect();
        let others: Vec<&StorePath> =
            layer.paths.iter().filter(|path| !roots.contains(path)).collect();
        let mut names = list(layer.roots.iter());
        if others.len() == layer.paths.len() {
            // The root is big, and in a layer of its own.
            names = format!("for {names}");
        }
        if !others.is_empty() {
            names = format!("{names} ({})", list(others.into_iter()));
        }
        line(&mut text, &number.to_string(), layer.size, layer.paths.len(), &names);
    }
    line(&mut text, "total", size, count, "");
    if (size, count) != (closure.total_nar_size(), closure.len()) {
        line(&mut text, "graph", closure.total_nar_size(), closure.len(), "");
    }
    text
}

fn line(text: &mut String, number: &str, size: u64, paths: usize, names: &str) {
    // In integers, so that no size loses digits on the way.
    let (whole, thousandths) = (size / 1_000_000, size % 1_000_000 / 1000);
    let line = format!("{number:>5} {whole:>6}.{thousandths:03} {paths:>6}  {names}");
    // Writing to a string does not fail.
    let _ = writeln!(text, "{}", line.trim_end());
}

/// The first few names, and how many more there are.
fn list<'a>(paths: impl ExactSizeIterator<Item = &'a StorePath>) -> String {
    let more = paths.len().saturating_sub(NAMED);
    let mut names: Vec<String> = paths.take(NAMED).map(|path| path.name().to_owned()).collect();
    if more > 0 {
        names.push(format!("{more} more"));
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::tests::{node, path};
    use crate::layers::{Popularity, group};

    #[test]
    fn shows_what_a_big_root_needs_apart_from_it() {
        let closure =
            Closure::new(vec![node("git-2", 20_000_000, &["a-1"]), node("a-1", 2_000, &[])]);
        let closure = closure.unwrap();
        let layers = group(&closure, &[path("git-2")], &Popularity::empty(), 94).unwrap();
        assert!(report(&layers, &closure).contains("0.002      1  for git-2 (a-1)\n"));
    }

    #[test]
    fn shows_each_layer_and_the_sums() {
        let closure = Closure::new(vec![
            node("git-2", 5_000_000, &["a-1", "b-1", "c-1", "d-1", "glibc-2"]),
            node("bash-5", 1_234_567, &["glibc-2"]),
            node("glibc-2", 30_000_000, &[]),
            node("a-1", 1, &[]),
            node("b-1", 1, &[]),
            node("c-1", 1, &[]),
            node("d-1", 1, &[]),
        ])
        .unwrap();
        let roots = [path("git-2"), path("bash-5")];
        let layers = group(&closure, &roots, &Popularity::empty(), 94).unwrap();
        assert_eq!(
            report(&layers, &closure),
            "layer         MB  paths  roots (and what only they need)\n    \
             1     30.000      1  glibc-2\n    \
             2      5.000      5  git-2 (a-1, b-1, c-1, 1 more)\n    \
             3      1.234      1  bash-5\n\
             total     36.234      7\n"
        );
        assert!(report(&layers[1..], &closure).contains("graph     36.234      7\n"));
    }
}
