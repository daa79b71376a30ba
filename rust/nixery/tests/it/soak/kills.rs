//! Servers that are killed at random moments of mixed use, as the kernel and power
//! supplies do it.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::clients::Clients;
use super::source::Moving;
use super::stored::{Stored, age};
use super::{Random, processes, setting};
use crate::harness::{BUCKET, Emulator, Server, Setup, get, wait_until};

/// Most of the time from the start of the clients to the kill.
const LONGEST: Duration = Duration::from_millis(2500);

/// As long as nothing that was used stays.
const LONG: Duration = Duration::from_hours(2);

/// `nixery --gc`, which may be killed too.
#[derive(Default)]
struct Collector(Mutex<Option<Child>>);

impl Collector {
    /// Collects again and again, until the clients are told to end.
    fn run(&self, setup: &Setup, state: &Path, clients: &Clients<'_>) {
        while !clients.is_ending() {
            let mut command = Command::new(env!("CARGO_BIN_EXE_nixery"));
            command.arg("--gc").env("NIXERY_CONFIG", "/dev/null").env("NIXERY_PKGS_PATH", "/none");
            command.env("STATE_DIRECTORY", state).env("NIXERY_LOG", "warn");
            let of_it =
                |name: &str| ["GC", "GCS", "STORAGE"].iter().any(|part| name.contains(part));
            let variables = setup.variables.iter().filter(|(name, _)| of_it(name));
            command.envs(variables.map(|(name, value)| (name, value)));
            command.stdout(Stdio::null());
            *self.0.lock().unwrap() = Some(command.spawn().unwrap());
            let status = loop {
                let status = self.0.lock().unwrap().as_mut().unwrap().try_wait().unwrap();
                if let Some(status) = status {
                    break status;
                }
                thread::sleep(Duration::from_millis(5));
            };
            let killed = std::os::unix::process::ExitStatusExt::signal(&status).is_some();
            let expected = killed && clients.is_ending();
            if !(status.success() || expected) {
                clients.complain(format!("a collection ended with {status}"));
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn is_running(&self) -> bool {
        let mut child = self.0.lock().unwrap();
        child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    fn kill(&self) {
        if let Some(child) = self.0.lock().unwrap().as_mut() {
            child.kill().unwrap();
        }
    }
}

/// In which moments servers were killed; one may be several.
#[derive(Debug, Default)]
struct Hits {
    nix: usize,
    writing: usize,
    collecting: usize,
    /// None of these.
    quiet: usize,
}

/// Uses a server, and kills it; what it left.
fn use_and_kill(
    setup: &Setup,
    state: &Arc<TempDir>,
    clients: &Clients<'_>,
    moving: &Moving,
    random: &mut Random,
    hits: &mut Hits,
    unfinished: impl Fn() -> usize,
) {
    let server = setup.start_in(state);
    let collector = Collector::default();
    clients.begin();
    let seeds: Vec<u64> = (0..4).map(|_| random.next()).collect();
    let longest = u64::try_from(LONGEST.as_millis()).unwrap();
    let (moment, both) = (Duration::from_millis(random.below(longest)), random.below(2) == 0);
    let left_before = unfinished();
    let mut moments = (false, false);
    thread::scope(|scope| {
        for seed in seeds {
            let address = server.address.clone();
            scope.spawn(move || clients.run(&address, seed));
        }
        scope.spawn(|| collector.run(setup, state.path(), clients));
        scope.spawn(|| {
            while !clients.is_ending() {
                thread::sleep(Duration::from_millis(700));
                moving.commit();
            }
        });
        thread::sleep(moment);
        clients.end();
        moments = (processes::children(server.process_id()) > 0, collector.is_running());
        if both {
            collector.kill();
        }
        server.kill();
    });
    let writing = unfinished() > left_before;
    let (nix, collecting) = moments;
    hits.nix += usize::from(nix);
    hits.writing += usize::from(writing);
    hits.collecting += usize::from(collecting);
    hits.quiet += usize::from(!(nix || writing || collecting));
    clients.check();
}

fn wait_for_the_end_of(mark: &str) {
    wait_until("the end of what the server started", || {
        let left = processes::marked(mark);
        left.is_empty()
    });
}

/// The names in a directory that begin like this.
fn left(directory: &Path, prefix: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(prefix)).collect()
}

/// Asks a server to end, and checks that it leaves nothing.
fn end(mut server: Server, mark: &str) {
    assert!(server.terminate().success());
    assert_eq!(processes::marked(mark), [""; 0]);
    let roots = left(&server.state.path().join("roots"), "process-");
    assert_eq!(roots, [""; 0], "roots");
}

fn setup(moving: &Moving, scratch: &Path) -> Setup {
    Setup::new(moving.source())
        .variable("NIXERY_GC_INTERVAL", "1")
        .variable("NIXERY_GC_KEEP", "0")
        .variable("NIXERY_GC_MAX_BYTES", "40000000")
        .variable("NIXERY_SOURCE_REFRESH", "5")
        .variable("XDG_CACHE_HOME", scratch.join("xdg").to_str().unwrap())
        .variable("TMPDIR", scratch.to_str().unwrap())
}

#[test]
fn a_server_that_is_killed_at_any_moment_loses_nothing_and_serves_nothing_wrong() {
    let begin = Instant::now();
    let (kills, seed) = (setting("NIXERY_TEST_KILLS", 5), setting("NIXERY_TEST_SEED", 1));
    let (moving, scratch) = (Moving::new(), TempDir::new().unwrap());
    let (state, setup) = (Arc::new(TempDir::new().unwrap()), setup(&moving, scratch.path()));
    let storage = state.path().join("storage");
    let clients = Clients::new(&moving);
    let (mut random, mut hits) = (Random::new(seed), Hits::default());
    let (mut blobs, mut images, mut unfinished, mut roots) = (0, 0, 0, 0);
    for round in 0..kills {
        let mark = format!("{}-{round}", std::process::id());
        let marked = setup.clone().variable(processes::MARK, &mark);
        let count = || count_unfinished(&storage);
        use_and_kill(&marked, &state, &clients, &moving, &mut random, &mut hits, count);

        // All that is there is whole, before anybody had a chance to repair it.
        let stored = Stored::in_directory(&storage);
        stored.check();
        unfinished += stored.unfinished;
        roots += left(&state.path().join("roots"), "process-").len();

        // Another server has it all.
        let mark = format!("{mark}-next");
        let server = setup.clone().variable(processes::MARK, &mark).start_in(&state);
        clients.check_blobs(&server.address, &stored.blobs());
        blobs += stored.blobs().len();
        images += clients.check_acknowledged(&server.address, &mut random, 3);
        clients.check();
        wait_for_the_end_of(&format!("{}-{round}", std::process::id()));
        end_but_for_what_was_killed(server, &mark);

        // Some time later, nothing is left of what was killed.
        age(state.path(), if random.below(2) == 0 { LONG } else { Duration::from_mins(2) });
        clients.forget_fresh();
    }
    let mark = format!("{}-last", std::process::id());
    let server = setup.clone().variable(processes::MARK, &mark).start_in(&state);
    assert_eq!(count_unfinished(&storage), 0, "unfinished files");
    images += clients.check_acknowledged(&server.address, &mut random, clients.images().min(100));
    end(server, &mark);
    Stored::in_directory(&storage).check();
    let pulled = clients.seen();
    println!(
        "{kills} kills, of which {} while Nix ran, {} while a file was written, {} during a \
         collection, {} otherwise; {unfinished} files and {roots} directories of roots were left \
         and cleaned up; {blobs} blobs and {images} images were checked; before that, {} images \
         and {} blobs were pulled, of {} commits; refused: {:?}; {} s",
        hits.nix,
        hits.writing,
        hits.collecting,
        hits.quiet,
        pulled.pulls,
        pulled.blobs,
        moving.commits(),
        pulled.refused,
        begin.elapsed().as_secs(),
    );
    assert!(kills < 20 || (hits.nix > 0 && hits.writing > 0 && hits.collecting > 0), "{hits:?}");
}

/// The same, while what was killed is too young to be removed.
fn end_but_for_what_was_killed(mut server: Server, mark: &str) {
    assert!(server.terminate().success());
    assert_eq!(processes::marked(mark), [""; 0]);
}

fn count_unfinished(storage: &Path) -> usize {
    let directories = fs::read_dir(storage).into_iter().flatten().flatten();
    directories.map(|directory| left(&directory.path(), ".tmp-").len()).sum()
}

#[test]
fn nor_does_one_with_a_bucket() {
    let begin = Instant::now();
    let (kills, seed) = (setting("NIXERY_TEST_BUCKET_KILLS", 2), setting("NIXERY_TEST_SEED", 1));
    let (moving, scratch) = (Moving::new(), TempDir::new().unwrap());
    let emulator = Emulator::open_to_all();
    let setup = setup(&moving, scratch.path())
        .variable("NIXERY_STORAGE_BACKEND", "gcs")
        .variable("GCS_BUCKET", BUCKET)
        .variable("NIXERY_GCS_ENDPOINT", emulator.url())
        .variable("NIXERY_GCS_ANONYMOUS", "true");
    let state = Arc::new(TempDir::new().unwrap());
    let clients = Clients::new(&moving);
    let (mut random, mut hits) = (Random::new(seed), Hits::default());
    let (mut blobs, mut images) = (0, 0);
    for round in 0..kills {
        let mark = format!("{}-bucket-{round}", std::process::id());
        let marked = setup.clone().variable(processes::MARK, &mark);
        let count = || Stored::in_bucket(&emulator).unfinished;
        use_and_kill(&marked, &state, &clients, &moving, &mut random, &mut hits, count);
        let stored = Stored::in_bucket(&emulator);
        stored.check();
        let server = setup.start_in(&state);
        clients.check_blobs(&server.address, &stored.blobs());
        blobs += stored.blobs().len();
        images += clients.check_acknowledged(&server.address, &mut random, 3);
        wait_for_the_end_of(&mark);
        clients.forget_fresh();
    }
    assert_eq!(get(&emulator.address().to_string(), "/_/requests").status, 200);
    println!(
        "{kills} kills with a bucket, of which {} while Nix ran, {} while a large blob was sent, {} \
         during a collection, {} otherwise; {blobs} blobs and {images} images were checked; {} s",
        hits.nix,
        hits.writing,
        hits.collecting,
        hits.quiet,
        begin.elapsed().as_secs(),
    );
}
