//! What the builder gets of the server, and that nothing is left of it.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Server, Setup, fixtures, get, is_running, wait_until};

/// Runs the real builder, after something else.
fn before(script: &str) -> String {
    format!("[ \"$1\" = --check ] && exit\n{script}\nexec \"$REAL_BUILDER\" \"$@\"")
}

fn ask(server: &Server, image: &str) -> thread::JoinHandle<u16> {
    let (address, path) = (server.address.clone(), format!("/v2/{image}/manifests/latest"));
    thread::spawn(move || get(&address, &path).status)
}

fn read(server: &Server, name: &str) -> String {
    fs::read_to_string(server.state.path().join(name)).unwrap()
}

#[test]
fn the_builder_gets_neither_secrets_nor_files_of_the_server() {
    let spy = before(
        r#"tr '\0' '\n' < /proc/$$/environ > "$STATE_DIRECTORY/environment"
        (exec find /proc/$$/fd -type l -printf '%l\n' > "$STATE_DIRECTORY/files")
        nice > "$STATE_DIRECTORY/nice"
        cat /proc/$$/oom_score_adj > "$STATE_DIRECTORY/oom"
        ulimit -d > "$STATE_DIRECTORY/memory""#,
    );
    let secret = "as secret as can be";
    let server = Setup::new(fixtures())
        .builder(&spy)
        .variable("GOOGLE_APPLICATION_CREDENTIALS", secret)
        .variable("CREDENTIALS_DIRECTORY", secret)
        .variable("DATABASE_PASSWORD", secret)
        .variable("NIX_POPULARITY_URL", "")
        .variable("GIT_SSH_COMMAND", "ssh -i key")
        .variable("https_proxy", "http://proxy:3128")
        .variable("AWS_PROFILE", "builds")
        .variable("NIXERY_NIX_ENVIRONMENT", "AWS_PROFILE")
        .variable("NIXERY_NIX_MAX_MEMORY_MB", "3000")
        .start();
    // Connections are no affair of the builder's.
    let connections = [(); 3].map(|()| TcpStream::connect(&server.address).unwrap());
    server.manifest("one");
    drop(connections);

    let environment = read(&server, "environment");
    let variables: BTreeMap<&str, &str> =
        environment.lines().filter_map(|line| line.split_once('=')).collect();
    assert!(!environment.contains(secret), "{environment}");
    for name in variables.keys() {
        assert!(!name.starts_with("NIXERY_") && *name != "STATE_DIRECTORY", "{environment}");
    }
    for (name, value) in [
        ("GIT_SSH_COMMAND", "ssh -i key"),
        ("https_proxy", "http://proxy:3128"),
        ("AWS_PROFILE", "builds"),
    ] {
        assert_eq!(variables.get(name), Some(&value), "{environment}");
    }
    assert!(variables.contains_key("NIX_CONFIG") && variables.contains_key("PATH"));

    // What is open is the three pipes and the script that the shell reads; and what whoever
    // runs the tests has left open.
    let files = read(&server, "files");
    let inherited: Vec<PathBuf> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|file| fs::read_link(file.unwrap().path()).ok())
        .collect();
    let is_new = |file: &&str| {
        !file.ends_with("/bin/nixery-prepare-image") && !inherited.contains(&PathBuf::from(file))
    };
    let new: Vec<&str> = files.lines().filter(is_new).collect();
    assert!(new.len() == 3 && new.iter().all(|file| file.starts_with("pipe:")), "{files}");

    let number = |name: &str| read(&server, name).trim().parse::<i64>().unwrap();
    let of_server = fs::read_to_string(format!("/proc/{}/oom_score_adj", server.process_id()));
    assert_eq!(number("oom"), (of_server.unwrap().trim().parse::<i64>().unwrap() + 500).min(1000));
    assert_eq!(number("memory"), 3_000_000_000 / 1024);
    assert!(number("nice") >= 10);
}

/// What the server knows is in its memory, and its environment.
#[test]
fn other_processes_of_the_same_user_cannot_look_into_the_server() {
    let server = Setup::new(fixtures()).start();
    let owner = |file: &str| {
        use std::os::unix::fs::MetadataExt;
        let path = format!("/proc/{}/{file}", server.process_id());
        fs::metadata(Path::new(&path)).unwrap().uid()
    };
    // The kernel gives the files of a process that is not dumpable to root (proc(5)).
    assert_eq!(owner("environ"), 0);
    if rustix::process::geteuid().is_root() {
        let status = std::process::Command::new("setpriv")
            .args(["--reuid", "65534", "--clear-groups", "cat"])
            .arg(format!("/proc/{}/environ", server.process_id()))
            .output()
            .unwrap();
        assert!(!status.status.success());
    }
}

/// … whatever it does: children in sessions of their own, and orphans, that have its
/// standard output open.
#[test]
fn nothing_is_left_of_a_builder_that_has_ended() {
    let leaver = before(
        "setsid sleep 86401 &
        setsid sh -c 'trap \"\" TERM HUP; setsid sleep 86402 & wait' &
        (setsid sh -c '(sleep 86403 &)' &)
        while ! pgrep -f 'sleep 8640[3]' > /dev/null; do sleep 0.1; done",
    );
    let server = Setup::new(fixtures()).builder(&leaver).start();
    let begin = Instant::now();
    server.manifest("one");
    assert!(begin.elapsed() < Duration::from_secs(40), "{:?}", begin.elapsed());
    for left in ["sleep 86401", "sleep 86402", "sleep 86403"] {
        assert!(!is_running(left), "{left}");
    }
    assert_eq!(server.children(), [""; 0], "nor are there zombies");
}

#[test]
fn nothing_is_left_of_a_builder_that_takes_too_long() {
    let hanging = before(
        "setsid sleep 86404 &
        trap '' TERM
        sleep 86405",
    );
    let server = Setup::new(fixtures()).builder(&hanging).variable("NIX_TIMEOUT", "2").start();
    let begin = Instant::now();
    let response = server.get("/v2/one/manifests/latest");
    assert_eq!((response.status, response.error().0.as_str()), (403, "DENIED"));
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
    assert!(!is_running("sleep 86404") && !is_running("sleep 86405"));
    assert_eq!(server.children(), [""; 0]);
}

#[test]
fn nothing_is_left_of_a_builder_whose_server_was_killed() {
    let hanging = before("setsid sleep 86406 &\nsleep 86407");
    let server = Setup::new(fixtures()).builder(&hanging).start();
    let address = server.address.clone();
    let client = thread::spawn(move || {
        // The connection breaks.
        let _ = std::panic::catch_unwind(|| get(&address, "/v2/one/manifests/latest"));
    });
    wait_until("the build", || is_running("sleep 86406") && is_running("sleep 86407"));
    server.kill();
    client.join().unwrap();
    wait_until("the end of it", || !is_running("sleep 86406") && !is_running("sleep 86407"));
}

/// What it ran once went on for ever, and the lock that it had with it.
#[test]
fn nothing_is_left_of_a_builder_that_kills_its_supervisor() {
    let killer = before(
        "setsid sleep 86408 &
        setsid sh -c '(trap \"\" TERM HUP; setsid sleep 86409 & wait) &' &
        while ! pgrep -f 'sleep 8640[8]' > /dev/null; do sleep 0.1; done
        while ! pgrep -f 'sleep 8640[9]' > /dev/null; do sleep 0.1; done
        cat /proc/$PPID/oom_score_adj > \"$STATE_DIRECTORY/oom-of-supervisor\"
        kill -KILL $PPID
        sleep 86410",
    );
    let server = Setup::new(fixtures()).builder(&killer).start();
    let response = server.get("/v2/one/manifests/latest");
    assert_eq!(response.status, 500, "{}", response.text());
    for left in ["sleep 86408", "sleep 86409", "sleep 86410"] {
        wait_until("the end of the builder's processes", || !is_running(left));
    }
    wait_until("no zombies", || server.children().is_empty());
    let own = fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    assert_eq!(read(&server, "oom-of-supervisor"), own, "the builder goes before it");
}

#[test]
fn a_gigabyte_on_standard_output_is_refused_in_little_memory() {
    let loud = "[ \"$1\" = --check ] && exit\nhead -c 1000000000 /dev/zero";
    let server = Setup::new(fixtures()).builder(loud).start();
    let before = server.peak_memory();
    let response = server.get("/v2/one/manifests/latest");
    assert_eq!((response.status, response.error().0.as_str()), (500, "UNKNOWN"));
    let grown = server.peak_memory() - before;
    println!("{} MB", grown / 1_000_000);
    assert!(grown < 100_000_000, "{grown} bytes");
    wait_until("the error", || server.has_logged("nixery-prepare-image printed over"));
}

#[test]
fn a_gigabyte_on_standard_error_is_cut_short_in_little_memory() {
    let loud = before(
        "head -c 900000000 /dev/zero >&2
        yes 'a line of the log, as long as one usually is, more or less' | head -c 100000000 >&2",
    );
    let server = Setup::new(fixtures()).builder(&loud).start();
    let before = server.peak_memory();
    server.manifest("one");
    let grown = server.peak_memory() - before;
    wait_until("the end", || server.has_logged("total_ms"));
    let lines = server.log().len();
    println!("{} MB, {lines} lines", grown / 1_000_000);
    assert!(grown < 100_000_000, "{grown} bytes");
    assert!((10_000..10_100).contains(&lines), "{lines} lines");
    assert!(server.has_logged("more is printed than is logged"));
}

/// The server looks for it at its start; it may be gone later.
#[test]
fn a_builder_that_is_gone_is_the_operators_affair() {
    let server = Setup::new(fixtures()).builder(&before("")).start();
    fs::write(server.state.path().join("bin/nixery-prepare-image"), "no script").unwrap();
    let response = server.get("/v2/one/manifests/latest");
    assert_eq!((response.status, response.error().0.as_str()), (500, "UNKNOWN"));
    assert_eq!(ask(&server, "two").join().unwrap(), 500);
    let error = "can't run nixery-prepare-image, is it on PATH?";
    wait_until("the error", || server.has_logged(error));
    assert_eq!(server.children(), [""; 0]);
}
