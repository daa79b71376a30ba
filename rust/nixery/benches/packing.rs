//! How fast layers are packed, compared with `tar | gzip -6` and with what the
//! work itself costs.
//!
//! ```sh
//! cargo bench -p nixery --bench packing                  # generated files
//! cargo bench -p nixery --bench packing -- /nix/store    # every path in a store
//! NIXERY_BENCH_PATHS=FILE cargo bench -p nixery --bench packing    # one path a line
//! ```
//!
//! `NIXERY_BENCH_LAYERS` (80) and `NIXERY_BENCH_ROUNDS` (3) are the number of
//! layers and how often each contender packs them all; the contenders take
//! turns, and the medians are printed. The *bound* is the CPU time of all stages,
//! each measured alone on one thread, shared out over all cores: no arrangement
//! of the same stages can be faster. Where others use the machine meanwhile, only
//! the CPU times can be compared.

#![expect(clippy::cast_precision_loss, reason = "figures for people have few digits")]

mod packing {
    pub(crate) mod contenders;
    pub(crate) mod input;
    pub(crate) mod stages;
}

use std::error::Error;
use std::num::NonZeroUsize;
use std::thread;
use std::time::Duration;

use nixery::archive::{Level, Pool};
use nixery::store_path::StorePath;
use packing::{contenders, input, stages};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let paths = input::paths(scratch.path())?;
    let layers = setting("NIXERY_BENCH_LAYERS", 80)?;
    let rounds = setting("NIXERY_BENCH_ROUNDS", 3)?;
    let per_layer = paths.len().div_ceil(layers).max(1);
    let layers: Vec<&[StorePath]> = paths.chunks(per_layer).collect();
    let cores = thread::available_parallelism()?;
    let level = Level::default();

    println!("{} store paths, {} layers, {cores} cores", paths.len(), layers.len());
    // Reads everything once, so that no contender has the disk's part.
    stages::measure(&layers, level, scratch.path())?;

    let (mut packed, mut piped, mut bound) = (Vec::new(), Vec::new(), Vec::new());
    let mut peak = 0;
    for _ in 0..rounds {
        contenders::reset_peak_memory()?;
        let pool = Pool::new(cores, level)?;
        packed.push(contenders::pack(&pool, &layers, scratch.path())?);
        drop(pool);
        peak = peak.max(contenders::peak_memory()?);
        piped.push(contenders::tar_gzip(&layers)?);
        bound.push(stages::measure(&layers, level, scratch.path())?);
    }
    report(&mut packed, &mut piped, &mut bound, cores);
    println!("peak memory of this process while packing: {} MiB", peak >> 10);
    Ok(())
}

fn report(
    packed: &mut [contenders::Outcome],
    piped: &mut [contenders::Outcome],
    bound: &mut [stages::Stages],
    cores: NonZeroUsize,
) {
    packed.sort_by_key(|outcome| outcome.wall);
    piped.sort_by_key(|outcome| outcome.wall);
    bound.sort_by_key(stages::Stages::total);
    let (packed, piped) = (&packed[packed.len() / 2], &piped[piped.len() / 2]);
    let stages = &bound[bound.len() / 2];
    let input = stages.input;
    let limit = stages.total().div_f64(cores.get() as f64);
    let rate = |wall: Duration| input as f64 / 1e6 / wall.as_secs_f64();
    let line = |name: &str, wall, output: u64| {
        println!(
            "{name:14} {wall:8.2?} {:7.1} MB/s  ratio {:.4}",
            rate(wall),
            output as f64 / input as f64
        );
    };
    println!("{:.0} MB of archives", input as f64 / 1e6);
    line("nixery", packed.wall, packed.output);
    line("bound", limit, stages.output);
    line("tar | gzip -6", piped.wall, piped.output);
    println!(
        "CPU of the stages: read+tar+sha256 {:.2?}, gzip {:.2?}, sha256+md5+write {:.2?}",
        stages.read, stages.compress, stages.write
    );
    println!(
        "nixery reaches {:.1} % of the bound and uses {:.1} % of its CPU time; it is {:.1} times \
         as fast as tar | gzip -6, with {:.1} % of its bytes",
        100.0 * limit.as_secs_f64() / packed.wall.as_secs_f64(),
        100.0 * packed.cpu.as_secs_f64() / stages.total().as_secs_f64(),
        piped.wall.as_secs_f64() / packed.wall.as_secs_f64(),
        100.0 * packed.output as f64 / piped.output as f64
    );
}

/// The number in an environment variable, or what is usual.
fn setting(variable: &str, usual: usize) -> Result<usize> {
    match std::env::var(variable) {
        Ok(value) => Ok(value.parse::<NonZeroUsize>()?.get()),
        Err(_) => Ok(usual),
    }
}
