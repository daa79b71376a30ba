//! How long an image takes of which everything was seen before, beside the same image
//! on a server that has seen nothing.
//!
//! ```sh
//! cargo bench -p nixery --bench reuse
//! ```
//!
//! Needs Nix, the builder's programs (git, jq) on PATH, and what the offline package
//! set needs; `NIXERY_BENCH_SET` names another set with the packages below. Nix has all
//! packages built before anything is measured, so its part is to evaluate, and to ask
//! for the closure.
//!
//! `NIXERY_BENCH_ROUNDS` (5) rounds are run, each with new storages; the contenders
//! take turns, and medians are printed. That the images are the same, byte by byte,
//! is checked each time.

#![expect(clippy::cast_precision_loss, reason = "figures for people have few digits")]

mod reuse {
    pub(crate) mod client;
    pub(crate) mod packages;
    #[path = "../serving/server.rs"]
    pub(crate) mod server;
}

use std::collections::BTreeSet;
use std::error::Error;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use reuse::client::{Made, Watched, make};
use reuse::packages;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Two images, and one of the packages of both.
const PARTS: [&str; 2] = [
    "shell/git/perlpackages.json/openssh/ripgrep/sqlite/htop",
    "curl/jq/python3packages.requests/python3packages.pyyaml/geoip",
];
const BOTH: &str = "shell/git/perlpackages.json/openssh/ripgrep/sqlite/htop/curl/jq/\
                    python3packages.requests/python3packages.pyyaml/geoip";

/// An image with about half of these store paths.
const HALF: &str = "git/openssh/jq";

/// All packages of these.
const PACKAGES: [&str; 17] = [
    "bashInteractive",
    "cacert",
    "coreutils",
    "iana-etc",
    "moreutils",
    "nano",
    "git",
    "perlPackages.JSON",
    "openssh",
    "ripgrep",
    "sqlite",
    "htop",
    "curl",
    "jq",
    "python3Packages.requests",
    "python3Packages.PyYAML",
    "GeoIP",
];

fn main() -> Result<()> {
    let rounds = match std::env::var("NIXERY_BENCH_ROUNDS") {
        Ok(value) => value.parse::<NonZeroUsize>()?.get(),
        Err(_) => 5,
    };
    let scratch = tempfile::tempdir()?;
    let repository = packages::repository(scratch.path(), &PACKAGES)?;
    let source = format!("source.repo = \"file://{}\"", repository.display());
    // All store paths in one layer, which nobody has.
    let one = format!("{source}\nimage.max_layers = 1");

    let mut comparisons = [
        Comparison::new("packages seen in two images"),
        Comparison::new("half of the paths of one"),
        Comparison::new("the same paths in one layer, as the worst case"),
    ];
    let mut peak = 0;
    for round in 0..rounds {
        let seen = directory(scratch.path(), round, "seen")?;
        let server = Watched::start(&seen, &source)?;
        let parts = [make(&server, PARTS[0])?, make(&server, PARTS[1])?];
        let known: Vec<&Made> = parts.iter().collect();
        comparisons[0].add(&known, make(&server, BOTH)?, fresh(scratch.path(), &source, BOTH)?)?;
        drop(server);

        let seen = directory(scratch.path(), round, "whole")?;
        let server = Watched::start(&seen, &source)?;
        let whole = make(&server, BOTH)?;
        let half = make(&server, HALF)?;
        comparisons[1].add(&[&whole], half, fresh(scratch.path(), &source, HALF)?)?;
        drop(server);
        let server = Watched::start(&seen, &one)?;
        let other = make(&server, HALF)?;
        comparisons[2].add(&[&whole], other, fresh(scratch.path(), &one, HALF)?)?;
        peak = peak.max(server.peak_memory()?);
    }
    println!("medians of {rounds}; \"fresh\" is a server that has seen nothing");
    for comparison in &mut comparisons {
        comparison.report();
    }
    println!("peak memory of a server that put together one layer: {} MiB", peak >> 10);
    Ok(())
}

fn directory(scratch: &Path, round: usize, name: &str) -> Result<std::path::PathBuf> {
    let directory = scratch.join(format!("{name}-{round}"));
    std::fs::create_dir_all(&directory)?;
    Ok(directory)
}

/// The image on a server that has seen nothing.
fn fresh(scratch: &Path, settings: &str, image: &str) -> Result<Made> {
    let directory = tempfile::tempdir_in(scratch)?;
    make(&Watched::start(directory.path(), settings)?, image)
}

/// One image, made from what was seen and made afresh.
struct Comparison {
    name: &'static str,
    reused: Vec<Made>,
    fresh: Vec<Made>,
    /// Layers that were stored already, all layers, and bytes of those that were not.
    layers: (usize, usize, u64),
}

impl Comparison {
    fn new(name: &'static str) -> Self {
        Self { name, reused: Vec::new(), fresh: Vec::new(), layers: (0, 0, 0) }
    }

    fn add(&mut self, known: &[&Made], reused: Made, fresh: Made) -> Result<()> {
        if reused.manifest != fresh.manifest {
            return Err(format!("{}: the images differ", self.name).into());
        }
        let known: BTreeSet<_> = known.iter().flat_map(|made| &made.layers).collect();
        let new = reused.layers.iter().filter(|layer| !known.contains(layer));
        let bytes = new.clone().map(|(_, size)| size).sum();
        self.layers = (reused.layers.len() - new.count(), reused.layers.len(), bytes);
        self.reused.push(reused);
        self.fresh.push(fresh);
        Ok(())
    }

    fn report(&mut self) {
        let (known, all, new_bytes) = self.layers;
        let median = |made: &mut Vec<Made>, time: fn(&Made) -> Duration| {
            made.sort_by_key(time);
            time(&made[made.len() / 2])
        };
        let packing = |made: &Made| made.took.saturating_sub(made.preparing);
        let reused = median(&mut self.reused, |made| made.took);
        let reused_packing = median(&mut self.reused, packing);
        let fresh = median(&mut self.fresh, |made| made.took);
        let nix = median(&mut self.fresh, |made| made.preparing);
        let fresh_packing = median(&mut self.fresh, packing);
        let bytes: u64 = self.fresh[0].layers.iter().map(|(_, size)| size).sum();
        println!(
            "{}: {} store paths, {:.1} MB in {all} layers, {known} of them known, {:.1} MB in new ones",
            self.name,
            self.fresh[0].store_paths,
            bytes as f64 / 1e6,
            new_bytes as f64 / 1e6
        );
        let cpu = |made: &mut Vec<Made>| median(made, |made| made.cpu);
        println!("  reused {reused:9.1?}, {:.2?} of CPU", cpu(&mut self.reused));
        println!(
            "  fresh  {fresh:9.1?}, {:.2?} of CPU: {nix:.1?} for Nix, {fresh_packing:.1?} to pack; {:.1} and {:.1} \
             times as long",
            cpu(&mut self.fresh),
            fresh.as_secs_f64() / reused.as_secs_f64(),
            fresh_packing.as_secs_f64() / reused_packing.as_secs_f64()
        );
    }
}
