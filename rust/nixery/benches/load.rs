//! Whether those who pull what is there notice what is being built: 500 connections ask
//! for manifests and blobs, each with a pause between two requests, while 20 images are
//! made that nobody has seen.
//!
//! ```sh
//! cargo bench -p nixery --bench load
//! ```
//!
//! Needs Nix, and the builder's programs (git, jq) on PATH. What is added to the Nix
//! store is deleted at the end. `NIXERY_BENCH_SECONDS` (120) is how long it takes, and
//! `NIXERY_BENCH_BUILDS` (20) how many images are made, evenly over that time; each keeps
//! a core busy for some seconds. Server, builds and load share all cores.
//!
//! Every answer is checked: its status, its length, and its digest. Ends with status 1
//! if one was wrong.

#![expect(clippy::cast_precision_loss, reason = "figures for people have few digits")]

mod load {
    #[path = "../serving/load.rs"]
    #[expect(dead_code, reason = "the bench `serving` uses the rest")]
    pub(crate) mod asking;
    pub(crate) mod clients;
    pub(crate) mod cold;
    #[path = "../serving/image.rs"]
    pub(crate) mod image;
    pub(crate) mod resources;
    #[path = "../serving/server.rs"]
    pub(crate) mod server;
    #[path = "../serving/workload.rs"]
    pub(crate) mod workload;
}

use std::error::Error;
use std::num::NonZeroU32;
use std::time::Duration;

use load::asking::pull;
use load::clients::{self, Seen};
use load::cold::ColdImages;
use load::image::PackageSet;
use load::resources::Resources;
use load::server::Server;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Clients at the same time.
const CONNECTIONS: usize = 500;

fn main() -> Result<()> {
    let duration = Duration::from_secs(setting("NIXERY_BENCH_SECONDS", 120)?.into());
    let builds = setting("NIXERY_BENCH_BUILDS", 20)?;
    let scratch = tempfile::tempdir()?;
    let cold = ColdImages::new(builds);
    let packages = PackageSet::add_to_store(scratch.path(), &cold.packages())?;
    let source = format!("source.path = \"{}\"", packages.path());
    let server = Server::start(scratch.path(), &source, |_| ())?;
    let image = pull(server.address(), packages.image())?;
    println!(
        "{CONNECTIONS} connections for {duration:?}, each pausing {:?} between requests; \
         {builds} cold builds",
        clients::PAUSE
    );
    let before = Resources::of(&server)?;
    let seen = clients::run(&server, &image, &cold, duration)?;
    let after = Resources::of(&server)?;
    report(&seen, duration);
    println!("the server before: {before}");
    println!("the server after:  {after}; at most {} MiB", server.peak_memory()? >> 10);
    if seen.errors.is_empty() {
        return Ok(());
    }
    Err(format!("{} wrong answers; the first: {}", seen.errors.len(), seen.errors[0]).into())
}

fn report(seen: &Seen, duration: Duration) {
    println!(
        "{:24} {:>9} {:>8} {:>9} {:>9} {:>9} {:>9}",
        "", "answers", "per s", "p50", "p99", "p99.9", "longest"
    );
    for (name, latencies) in &seen.latencies {
        let at = |part: f64| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1")]
            let index = (latencies.len() as f64 * part) as usize;
            latencies.get(index).or(latencies.last()).copied().unwrap_or_default()
        };
        println!(
            "{name:24} {:>9} {:>8.0} {:>9.1?} {:>9.1?} {:>9.1?} {:>9.1?}",
            latencies.len(),
            latencies.len() as f64 / duration.as_secs_f64(),
            at(0.5),
            at(0.99),
            at(0.999),
            at(1.0),
        );
    }
    println!("refused with 429: {}; wrong: {}", seen.refused, seen.errors.len());
}

/// The number in an environment variable, or what is usual.
fn setting(variable: &str, usual: u32) -> Result<u32> {
    match std::env::var(variable) {
        Ok(value) => Ok(value.parse::<NonZeroU32>()?.get()),
        Err(_) => Ok(usual),
    }
}
