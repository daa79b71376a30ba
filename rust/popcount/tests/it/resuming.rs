//! Runs that end early, and those that go on.

use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::program::{Place, Run, kill};
use crate::server::{Reply, Server};
use crate::store::{expected, narinfo, store};

/// So many answers are let through.
const LET_THROUGH: usize = 12;

/// A server that never answers for most of the closure, until the flag is set.
fn stuck() -> (Server, Arc<AtomicBool>) {
    let answered: HashSet<_> =
        store().closure[..LET_THROUGH].iter().map(|path| narinfo(path)).collect();
    let released = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&released);
    let server = Server::start(&store().cache, move |path, _| {
        let free = flag.load(Ordering::Relaxed) || answered.contains(path);
        if free { Reply::File } else { Reply::Hold }
    });
    (server, released)
}

/// What a run that is ended by `signal` leaves behind is used by the next, and nothing is
/// fetched twice.
fn goes_on_after(signal: &str, torn: &[u8]) -> Run {
    let place = Place::new();
    let (server, released) = stuck();
    let child = place.start_until(LET_THROUGH, &server.url(), &[]);
    kill(&child, signal);
    let run = Run::from(child.wait_with_output().unwrap());
    assert_eq!(place.counts(), None, "there is no table before it is whole");
    let kept: HashSet<_> = place.records().iter().map(|line| record(line)).collect();
    assert_eq!(kept.len(), LET_THROUGH);
    let records = place.records_file().unwrap();
    OpenOptions::new().append(true).open(records).unwrap().write_all(torn).unwrap();

    released.store(true, Ordering::Relaxed);
    server.forget();
    let rest = store().closure.len() - LET_THROUGH;
    let said = format!("{rest} fetched now, {LET_THROUGH} before");
    place.run(&server.url(), &[]).ends(0, &[&said]);
    let asked = server.asked();
    assert_eq!(asked.len(), rest);
    assert!(asked.keys().all(|path| !kept.contains(path)), "{asked:?}");
    assert_eq!(place.counts().unwrap(), expected(&store().closure));
    // The line that was torn is not in the way of those after it.
    place.run(&server.url(), &[]).ends(0, &["0 fetched now"]);
    run
}

/// What the cache calls the store path of a record.
fn record(line: &str) -> String {
    narinfo(line.split(' ').next().unwrap())
}

#[test]
fn a_run_that_was_killed_is_gone_on_with() {
    assert_eq!(goes_on_after("-KILL", b"").status, None);
    // As if it had been killed within a record.
    let path = store().closure.last().unwrap().rsplit('/').next().unwrap();
    for torn in [path, &path[..20], &format!("{path} {}", &path[..40])] {
        goes_on_after("-KILL", torn.as_bytes());
    }
}

#[test]
fn a_run_that_was_interrupted_says_so() {
    for signal in ["-INT", "-TERM"] {
        goes_on_after(signal, b"").ends(1, &["interrupted; the same command goes on"]);
    }
}

#[test]
fn only_what_is_listed_counts_and_only_once() {
    let place = Place::new();
    let server = Server::start(&store().cache, |_, _| Reply::File);
    place.run(&server.url(), &[]).ends(0, &[]);
    // All records twice, and now for a list of which half is gone.
    let records = place.records_file().unwrap();
    fs::write(&records, fs::read_to_string(&records).unwrap().repeat(2)).unwrap();
    let part = &store().closure[..store().closure.len() / 2];
    fs::write(place.list(), part.join("\n")).unwrap();
    place.run(&server.url(), &[]).ends(0, &["0 fetched now"]);
    assert_eq!(place.counts().unwrap(), expected(part));
}

#[test]
fn two_runs_do_not_share_a_state() {
    let place = Place::new();
    let (server, _) = stuck();
    let mut child = place.start_until(LET_THROUGH, &server.url(), &[]);
    place.run(&server.url(), &[]).ends(1, &["another run uses", "--state"]);
    assert_eq!(place.records().len(), LET_THROUGH);
    // Those of another cache are no matter.
    let other = Server::start(&store().cache, |_, _| Reply::File);
    Place::new().run(&other.url(), &[]).ends(0, &[]);
    child.kill().unwrap();
    child.wait().unwrap();
}
