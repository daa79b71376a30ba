//! How fast images that exist already are served: manifests, blobs and parts of
//! blobs, by the real server, to 64 connections that ask again and again.
//!
//! ```sh
//! cargo bench -p nixery --bench serving              # everything
//! cargo bench -p nixery --bench serving -- blob      # what has "blob" in its name
//! ```
//!
//! Needs Nix, and the builder's programs (git, jq) on PATH. A store path of 40 MB
//! and some small ones are added to the Nix store and deleted at the end.
//!
//! The server runs on one core and the load on another. Both say how busy their
//! core was, so that one can see which of them was the limit; a core that neither
//! had to itself makes both slower, so `NIXERY_BENCH_ROUNDS` (3) rounds of
//! `NIXERY_BENCH_SECONDS` (2) are run and the median is printed, and the best. The
//! server's CPU time hardly depends on what else runs. `NIXERY_BENCH_SERVER` is
//! another server's program, to compare. Where `wrk` is installed,
//! it measures once more as a check on the load made here.

#![expect(clippy::cast_precision_loss, reason = "figures for people have few digits")]

mod serving {
    pub(crate) mod cores;
    pub(crate) mod image;
    pub(crate) mod load;
    pub(crate) mod server;
    pub(crate) mod workload;
    pub(crate) mod wrk;
}

use std::error::Error;
use std::num::NonZeroU32;
use std::time::Duration;

use serving::cores::Cores;
use serving::image::PackageSet;
use serving::load::{CONNECTIONS, Outcome};
use serving::server::Server;
use serving::workload::{self, Workload};
use serving::{load, wrk};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let rounds = setting("NIXERY_BENCH_ROUNDS", 3)?;
    let seconds = Duration::from_secs(setting("NIXERY_BENCH_SECONDS", 2)?.into());
    // Cargo passes `--bench` on.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();

    let scratch = tempfile::tempdir()?;
    let packages = PackageSet::add_to_store(scratch.path(), "")?;
    let cores = Cores::choose()?;
    // What is started now stays on the core that this is on now.
    cores.move_to_server_core()?;
    let source = format!("source.path = \"{}\"", packages.path());
    let server = Server::start(scratch.path(), &source, |_| ())?;
    cores.move_to_load_core()?;

    let image = load::pull(server.address(), packages.image())?;
    let workloads: Vec<Workload> = workload::all(&image)
        .into_iter()
        .filter(|load| wanted.is_empty() || wanted.iter().any(|name| load.name.contains(name)))
        .collect();
    println!("{CONNECTIONS} connections, {seconds:?} of each, {rounds} times; {cores}");
    println!("the manifest has {} bytes", image.manifest.size);
    let mut outcomes: Vec<Vec<Outcome>> = workloads.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (workload, outcomes) in workloads.iter().zip(&mut outcomes) {
            outcomes.push(load::run(&server, workload, seconds)?);
        }
    }
    report(&workloads, &mut outcomes);
    println!("peak memory of the server: {} MiB", server.peak_memory()? >> 10);
    wrk::cross_check(&server, &workloads, seconds)
}

fn report(workloads: &[Workload], outcomes: &mut [Vec<Outcome>]) {
    println!(
        "{:26} {:>9} {:>9} {:>7} {:>6} {:>8} {:>8} {:>13} {:>8} {:>7} {:>6}",
        "",
        "req/s",
        "best",
        "GB/s",
        "best",
        "p50",
        "p99",
        "CPU s/1000",
        "CPU s/GB",
        "server",
        "load"
    );
    for (workload, outcomes) in workloads.iter().zip(outcomes) {
        // By bytes where there are any, as a large answer takes long.
        outcomes.sort_by_key(|outcome| (outcome.bytes, outcome.requests));
        let Some((median, best)) = outcomes.get(outcomes.len() / 2).zip(outcomes.last()) else {
            continue;
        };
        let rates = |outcome: &Outcome| {
            let seconds = outcome.elapsed.as_secs_f64();
            (outcome.requests as f64 / seconds, outcome.bytes as f64 / 1e9 / seconds)
        };
        let ((requests, gigabytes), (best_requests, best_gigabytes)) = (rates(median), rates(best));
        let busy = |cpu: Duration| cpu.as_secs_f64() / median.elapsed.as_secs_f64();
        let server = busy(median.server_cpu);
        println!(
            "{:26} {requests:9.0} {best_requests:9.0} {gigabytes:7.2} {best_gigabytes:6.2} \
             {:8.1?} {:8.1?} {:13.4} {:8.3} {:5.0} % {:4.0} %",
            workload.name,
            median.latency(0.5),
            median.latency(0.99),
            1e3 * server / requests,
            server / gigabytes,
            100.0 * server,
            100.0 * busy(median.own_cpu),
        );
    }
}

/// The number in an environment variable, or what is usual.
fn setting(variable: &str, usual: u32) -> Result<u32> {
    match std::env::var(variable) {
        Ok(value) => Ok(value.parse::<NonZeroU32>()?.get()),
        Err(_) => Ok(usual),
    }
}
