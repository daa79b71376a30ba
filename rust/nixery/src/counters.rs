//! What is counted, for operators: every metric, its name and its meaning.
//!
//! Metrics go to whatever recorder the process has installed, and nowhere without
//! one. `book/src/reference/metrics.md` lists them.

mod labels;

use std::sync::LazyLock;
use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};

pub use labels::{CacheLayer, Full, Refusal, Refused, Slow};

const CACHE_REQUESTS: &str = "nixery_cache_requests_total";
const NIX_RUNS: &str = "nixery_nix_runs_total";
const NIX_SECONDS: &str = "nixery_nix_seconds";
const SOURCE_REQUESTS: &str = "nixery_source_requests_total";
const BUILDS_RUNNING: &str = "nixery_builds_running";
const BUILDS_WAITING: &str = "nixery_builds_waiting";
const BUILD_SECONDS: &str = "nixery_build_seconds";
const LAYER_BYTES: &str = "nixery_layer_bytes_total";
const SERVED_BYTES: &str = "nixery_served_bytes_total";
const REQUEST_SECONDS: &str = "nixery_request_seconds";
const GC_BYTES: &str = "nixery_gc_removed_bytes_total";
const GC_RUNS: &str = "nixery_gc_runs_total";
const REFUSED: &str = "nixery_builds_refused_total";
const DISK_FREE: &str = "nixery_disk_free_bytes";
const CONNECTIONS: &str = "nixery_connections";
const CONNECTIONS_REFUSED: &str = "nixery_connections_refused_total";
const CONNECTIONS_TIMED_OUT: &str = "nixery_connections_timed_out_total";
const DOWNLOADS: &str = "nixery_downloads";
const WATCHERS: &str = "nixery_watchers";
const REQUESTS_REFUSED: &str = "nixery_requests_refused_total";
const TASKS: &str = "nixery_tasks";

/// Names of all metrics.
pub const NAMES: [&str; 21] = [
    CACHE_REQUESTS,
    NIX_RUNS,
    NIX_SECONDS,
    SOURCE_REQUESTS,
    BUILDS_RUNNING,
    BUILDS_WAITING,
    BUILD_SECONDS,
    LAYER_BYTES,
    SERVED_BYTES,
    REQUEST_SECONDS,
    GC_BYTES,
    GC_RUNS,
    REFUSED,
    DISK_FREE,
    CONNECTIONS,
    CONNECTIONS_REFUSED,
    CONNECTIONS_TIMED_OUT,
    DOWNLOADS,
    WATCHERS,
    REQUESTS_REFUSED,
    TASKS,
];

/// Bounds of the buckets of durations, in seconds: from a cached manifest to a
/// package that is compiled.
pub const SECONDS_BUCKETS: [f64; 14] =
    [0.000_1, 0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1800.0];

/// Says what each metric means. To be called once, after a recorder is installed.
pub fn describe() {
    describe_counter!(CACHE_REQUESTS, "Lookups in a cache, by cache and result.");
    describe_counter!(NIX_RUNS, "Runs of the builder, by what for and result.");
    describe_histogram!(NIX_SECONDS, Unit::Seconds, "How long the builder ran.");
    describe_counter!(SOURCE_REQUESTS, "How often a package source was asked, by result.");
    describe_gauge!(BUILDS_RUNNING, "Images that are being made.");
    describe_gauge!(BUILDS_WAITING, "Images that wait until Nix may run for them.");
    describe_histogram!(BUILD_SECONDS, Unit::Seconds, "How long it took to make an image.");
    describe_counter!(LAYER_BYTES, Unit::Bytes, "Archive bytes of new layers, by origin.");
    describe_counter!(SERVED_BYTES, Unit::Bytes, "Bytes of blobs and manifests that were sent.");
    describe_histogram!(REQUEST_SECONDS, Unit::Seconds, "Time until an answer began, by route.");
    describe_counter!(GC_BYTES, Unit::Bytes, "Bytes that garbage collection removed.");
    describe_counter!(GC_RUNS, "Garbage collections, by result.");
    describe_counter!(REFUSED, "Images that were not made, by the limit.");
    describe_gauge!(DISK_FREE, Unit::Bytes, "Free bytes of a disk, by what is on it.");
    describe_gauge!(CONNECTIONS, "Connections of clients.");
    describe_counter!(CONNECTIONS_REFUSED, "Connections over a limit, by limit.");
    describe_counter!(CONNECTIONS_TIMED_OUT, "Connections that were too slow, by what at.");
    describe_gauge!(DOWNLOADS, "Blobs that are sent.");
    describe_gauge!(WATCHERS, "Clients that watch builds.");
    describe_counter!(REQUESTS_REFUSED, "Requests over a limit, by limit.");
    describe_gauge!(TASKS, "Tasks of the server that have not ended.");
    // Zero counts too: an alert sees the first step only of what was there before.
    for name in [SERVED_BYTES, GC_BYTES] {
        counter!(name).absolute(0);
    }
    for result in ["ok", "error"] {
        counter!(SOURCE_REQUESTS, "result" => result).absolute(0);
        counter!(GC_RUNS, "result" => result).absolute(0);
        for purpose in ["packages", "paths", "names"] {
            counter!(NIX_RUNS, "purpose" => purpose, "result" => result).absolute(0);
        }
    }
    for reason in Refusal::ALL {
        counter!(REFUSED, "reason" => reason.name()).absolute(0);
    }
    for number in [CONNECTIONS, DOWNLOADS, WATCHERS] {
        gauge!(number).set(0);
    }
    for limit in [Full::Total, Full::Address] {
        counter!(CONNECTIONS_REFUSED, "limit" => limit.name()).absolute(0);
    }
    for wait in [Slow::Head, Slow::Idle, Slow::Write] {
        counter!(CONNECTIONS_TIMED_OUT, "wait" => wait.name()).absolute(0);
    }
    for limit in Refused::ALL {
        counter!(REQUESTS_REFUSED, "limit" => limit.name()).absolute(0);
    }
    gauge!(BUILDS_RUNNING).set(0);
    gauge!(BUILDS_WAITING).set(0);
}

/// Counts a lookup, and whether it found something.
pub fn looked_up(cache: CacheLayer, found: bool) {
    let result = if found { "hit" } else { "miss" };
    if cache == CacheLayer::Memory {
        // So frequent that finding the counter would show.
        static HIT: LazyLock<[Counter; 2]> = LazyLock::new(|| {
            ["miss", "hit"]
                .map(|result| counter!(CACHE_REQUESTS, "cache" => "memory", "result" => result))
        });
        HIT[usize::from(found)].increment(1);
        return;
    }
    counter!(CACHE_REQUESTS, "cache" => cache.name(), "result" => result).increment(1);
}

/// Counts a run of the builder: for packages or for store paths.
pub fn nix_ran(purpose: &'static str, succeeded: bool, took: Duration) {
    counter!(NIX_RUNS, "purpose" => purpose, "result" => result(succeeded)).increment(1);
    histogram!(NIX_SECONDS).record(took);
}

/// Counts that a package source was asked what it is at.
pub fn source_asked(succeeded: bool) {
    counter!(SOURCE_REQUESTS, "result" => result(succeeded)).increment(1);
}

/// An image that is being made, until this is dropped.
pub fn build_running() -> Counted {
    Counted::new(gauge!(BUILDS_RUNNING))
}

/// An image that waits until Nix may run for it, until this is dropped.
pub fn build_waiting() -> Counted {
    Counted::new(gauge!(BUILDS_WAITING))
}

/// Counts an image that was made, or was not.
pub fn build_ended(succeeded: bool, took: Duration) {
    histogram!(BUILD_SECONDS, "result" => result(succeeded)).record(took);
}

/// Counts an image that was not made.
pub fn build_refused(reason: Refusal) {
    counter!(REFUSED, "reason" => reason.name()).increment(1);
}

/// Says how much is free where something is.
pub fn disk_free(what: &'static str, bytes: u64) {
    #[expect(clippy::cast_precision_loss, reason = "disks have less than 2^53 bytes, and round")]
    gauge!(DISK_FREE, "disk" => what).set(bytes as f64);
}

/// Counts a new layer: how many bytes of its archive were compressed, and how many
/// copied from other layers.
pub fn layer_made(packed: u64, copied: u64) {
    counter!(LAYER_BYTES, "origin" => "packed").increment(packed);
    counter!(LAYER_BYTES, "origin" => "copied").increment(copied);
}

/// Counts bytes of a body.
pub fn served(bytes: u64) {
    static SERVED: LazyLock<Counter> = LazyLock::new(|| counter!(SERVED_BYTES));
    SERVED.increment(bytes);
}

/// Where to record how long requests of a route take.
pub fn request_seconds(route: &'static str) -> Histogram {
    histogram!(REQUEST_SECONDS, "route" => route)
}

/// Counts a garbage collection and what it removed.
pub fn collected(succeeded: bool, bytes: u64) {
    counter!(GC_RUNS, "result" => result(succeeded)).increment(1);
    counter!(GC_BYTES).increment(bytes);
}

/// A connection, until this is dropped.
pub fn connection() -> Counted {
    static CONNECTED: LazyLock<Gauge> = LazyLock::new(|| gauge!(CONNECTIONS));
    Counted::new(CONNECTED.clone())
}

/// A blob that is sent, until this is dropped.
pub fn download() -> Counted {
    static DOWNLOADING: LazyLock<Gauge> = LazyLock::new(|| gauge!(DOWNLOADS));
    Counted::new(DOWNLOADING.clone())
}

/// A client that watches a build, until this is dropped.
pub fn watcher() -> Counted {
    Counted::new(gauge!(WATCHERS))
}

/// Counts a connection that is not let in.
pub fn connection_refused(limit: Full) {
    counter!(CONNECTIONS_REFUSED, "limit" => limit.name()).increment(1);
}

/// Counts a connection, or a stream of one, that is ended as its client takes too long.
pub fn timed_out(wait: Slow) {
    counter!(CONNECTIONS_TIMED_OUT, "wait" => wait.name()).increment(1);
}

/// Counts a request that is not let in.
pub fn request_refused(limit: Refused) {
    counter!(REQUESTS_REFUSED, "limit" => limit.name()).increment(1);
}

/// Says how many tasks there are.
pub fn tasks(number: usize) {
    gauge!(TASKS).set(u32::try_from(number).unwrap_or(u32::MAX));
}

fn result(succeeded: bool) -> &'static str {
    if succeeded { "ok" } else { "error" }
}

/// One more of something, until this is dropped.
#[derive(Debug)]
pub struct Counted(Gauge);

impl Counted {
    fn new(gauge: Gauge) -> Self {
        gauge.increment(1);
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}
