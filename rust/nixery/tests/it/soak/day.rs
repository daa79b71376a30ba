//! A day of use in minutes: the clock of the server jumps, and files get older, by an
//! hour at a time, while nobody pulls and nothing is made.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::clients::Clients;
use super::processes::{self, Usage};
use super::source::Moving;
use super::stored::{Stored, age, bytes, young};
use super::{Random, at_length, setting};
use crate::harness::{Server, Setup, run, wait_until};

const HOUR: Duration = Duration::from_hours(1);

/// What garbage collection leaves alone, as the book has it.
const IN_USE: Duration = Duration::from_mins(65);

/// More threads than all that clients and collections here can want at a time.
const THREADS: u64 = 150;

/// The bound of `cache.path`.
const CACHE: u64 = 1 << 20;

/// A monotonic clock of which hours can be let pass.
struct Clock {
    library: PathBuf,
    offset: PathBuf,
    hours: u64,
}

impl Clock {
    fn new(directory: &Path) -> Self {
        let library = directory.join("clock.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/clock.c");
        run(Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source));
        let offset = directory.join("offset");
        fs::write(&offset, [0; 8]).unwrap();
        Self { library, offset, hours: 0 }
    }

    fn setup(&self, setup: Setup) -> Setup {
        setup
            .variable("LD_PRELOAD", self.library.to_str().unwrap())
            .variable("CLOCK_OFFSET", self.offset.to_str().unwrap())
    }

    /// Lets an hour pass, for the server and for its files.
    fn pass(&mut self, state: &Path) {
        self.hours += 1;
        let seconds = i64::try_from(self.hours * HOUR.as_secs()).unwrap();
        age(state, HOUR);
        let file = File::options().write(true).open(&self.offset).unwrap();
        file.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    }
}

fn metric(server: &Server, name: &str) -> u64 {
    let text = server.get("/metrics");
    let line = text.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("there is no {name}")).parse().unwrap()
}

fn wait_for_quiet(server: &Server) {
    wait_until("the end of all builds", || metric(server, "nixery_builds_running") == 0);
    let process = server.process_id();
    wait_until("the end of all children", || processes::children(process) == 0);
}

fn collections(server: &Server) -> Vec<u64> {
    let log = server.log();
    let of_gc = log.iter().filter(|entry| entry["message"] == "garbage collected");
    of_gc.map(|entry| entry["left"].as_u64().unwrap()).collect()
}

/// What the server takes when nobody wants anything of it.
#[derive(Debug)]
struct Quiet {
    usage: Usage,
    tasks: u64,
}

impl Quiet {
    fn of(server: &Server) -> Self {
        let tasks = metric(server, "nixery_tasks");
        Self { usage: Usage::of(server.process_id()), tasks }
    }
}

#[test]
fn a_day_of_use_takes_no_more_than_it_may() {
    let begin = Instant::now();
    let hours: usize = setting("NIXERY_TEST_HOURS", 4);
    let length = Duration::from_millis(setting("NIXERY_TEST_HOUR_MS", 600));
    let bound: u64 = if at_length() { 60_000_000 } else { 2_000_000 };
    let (moving, scratch) = (Moving::new(), TempDir::new().unwrap());
    let (state, mut clock) = (Arc::new(TempDir::new().unwrap()), Clock::new(scratch.path()));
    let mark = format!("{}-day", std::process::id());
    let setup = Setup::new(moving.source())
        .variable("NIXERY_GC_INTERVAL", "1")
        .variable("NIXERY_GC_KEEP", "1")
        .variable("NIXERY_GC_MAX_BYTES", &bound.to_string())
        .variable("NIXERY_CACHE_MAX_MB", "1")
        .variable("NIXERY_SOURCE_REFRESH", "300")
        .variable("XDG_CACHE_HOME", scratch.path().join("xdg").to_str().unwrap())
        .variable("TMPDIR", scratch.path().to_str().unwrap())
        .variable(processes::MARK, &mark);
    let mut server = clock.setup(setup).start_in(&state);
    let (storage, cache) = (state.path().join("storage"), state.path().join("cache"));
    let clients = Clients::new(&moving);
    let mut random = Random::new(setting("NIXERY_TEST_SEED", 1));
    let (mut peak, mut over) = (0, 0);
    let mut quiet = Vec::new();
    for hour in 0..hours {
        clients.begin();
        thread::scope(|scope| {
            for seed in (0..4).map(|_| random.next()).collect::<Vec<_>>() {
                let (clients, address) = (&clients, server.address.clone());
                scope.spawn(move || clients.run(&address, seed));
            }
            let end = Instant::now() + length;
            while Instant::now() < end {
                peak = peak.max(bytes(&storage.join("layers")));
                assert!(bytes(&cache) <= CACHE, "{} bytes are in the cache", bytes(&cache));
                thread::sleep(Duration::from_millis(100));
            }
            // Each finishes what it has begun.
            clients.end();
        });
        clients.check();
        wait_for_quiet(&server);
        moving.commit();
        clock.pass(state.path());

        // One collection that began after that.
        let before = collections(&server).len();
        wait_until("a collection", || collections(&server).len() >= before + 2);
        let left = *collections(&server).last().unwrap();
        let in_use = young(&storage, IN_USE);
        assert!(left <= bound.max(in_use), "{left} bytes are left, {in_use} were used lately");
        over += usize::from(left > bound);
        let stored = Stored::in_directory(&storage);
        stored.check();
        quiet.push(Quiet::of(&server));
        let now = &quiet[hour];
        println!(
            "hour {hour}: {left} bytes of blobs, {} in the cache; {} files, {} threads, {} tasks, {} KiB",
            bytes(&cache),
            now.usage.files,
            now.usage.threads,
            now.tasks,
            now.usage.resident_kib
        );
        clients.forget_fresh();
    }

    // Everything that was ever handed out can be had, the same.
    let images =
        clients.check_acknowledged(&server.address, &mut random, clients.images().min(200));
    clients.check();
    // Nothing has grown since the first hours.
    let (first, last) = (&quiet[hours / 4], &quiet[hours - 1]);
    assert_eq!(last.usage.children, 0);
    assert!(last.usage.files <= first.usage.files + 3, "{quiet:?}");
    // As many as have had to wait for the disk at a time; they end when idle for long.
    assert!(quiet.iter().all(|one| one.usage.threads <= THREADS), "{quiet:?}");
    assert!(last.tasks <= first.tasks + 3, "{quiet:?}");
    assert!(last.usage.resident_kib < first.usage.resident_kib + (48 << 10), "{quiet:?}");
    let removed = metric(&server, "nixery_gc_removed_bytes_total");
    let wrong: Vec<_> =
        server.log().into_iter().filter(|entry| entry["level"] == "ERROR").collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(server.terminate().success());
    assert_eq!(processes::marked(&mark), [""; 0]);
    assert_eq!(fs::read_dir(state.path().join("roots")).unwrap().count(), 0, "roots");
    let seen = clients.seen();
    println!(
        "{hours} hours in {} s, {} commits; {} images and {} blobs were pulled, {} other requests; \
         {images} images were there or made again at the end; at most {peak} bytes of blobs, with \
         a bound of {bound} that was passed {over} times for what was in use; {removed} bytes \
         were removed; refused: {:?}",
        begin.elapsed().as_secs(),
        moving.commits(),
        seen.pulls,
        seen.blobs,
        seen.other,
        seen.refused,
    );
    if at_length() {
        assert!(removed > bound, "nothing had to be removed");
    }
}
