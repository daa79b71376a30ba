//! Time to group closures of growing size into the layers of an image.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use nixery::layers::{Closure, ClosureNode, Popularity, group};
use nixery::store_path::{InvalidStorePath, StorePath};

#[path = "../src/layers/generated.rs"]
mod generated;

use generated::{Package, Random, closure_of, package_set, popularity_of};

/// As many layers as an image of the server has.
const BUDGET: usize = 94;

struct Image {
    closure: Closure,
    roots: Vec<StorePath>,
    popularity: Popularity,
}

/// An image with about `paths` store paths, of packages of a set four times as
/// large.
fn image(paths: usize) -> Result<Image, Box<dyn std::error::Error>> {
    let packages = package_set(paths * 4, 1);
    let mut random = Random(2);
    let mut roots = Vec::new();
    while closure_of(&packages, &roots).len() < paths {
        for _ in 0..=roots.len() / 8 {
            roots.push(packages.len() / 2 + random.below(packages.len() / 2));
        }
    }
    let nodes = closure_of(&packages, &roots)
        .into_iter()
        .map(|index| {
            let references: Result<_, _> =
                packages[index].needs.iter().map(|&need| store_path(&packages[need])).collect();
            Ok(ClosureNode {
                path: store_path(&packages[index])?,
                nar_size: packages[index].size,
                references: references?,
            })
        })
        .collect::<Result<_, InvalidStorePath>>()?;
    Ok(Image {
        closure: Closure::new(nodes)?,
        roots: roots.iter().map(|&root| store_path(&packages[root])).collect::<Result<_, _>>()?,
        popularity: Popularity::from_json(popularity_of(&packages).as_bytes())?,
    })
}

fn store_path(package: &Package) -> Result<StorePath, InvalidStorePath> {
    StorePath::new(format!("/nix/store/{}-{}", "0".repeat(32), package.name))
}

fn grouping(criterion: &mut Criterion) {
    let mut benches = criterion.benchmark_group("grouping");
    for paths in [100, 1_000, 10_000] {
        let image = match image(paths) {
            Ok(image) => image,
            Err(error) => {
                eprintln!("no image of {paths} paths: {error}");
                continue;
            }
        };
        benches.bench_with_input(BenchmarkId::from_parameter(paths), &image, |bencher, image| {
            bencher
                .iter(|| group(black_box(&image.closure), &image.roots, &image.popularity, BUDGET));
        });
    }
    benches.finish();
}

criterion_group!(benches, grouping);
criterion_main!(benches);
