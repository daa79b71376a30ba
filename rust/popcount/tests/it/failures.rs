//! Caches that don't work, for a while or for good.

use std::fmt::Write;
use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::program::{Place, Run, program};
use crate::server::{Reply, Server};
use crate::store::{expected, narinfo, store};

/// A server where the narinfo of one path of the closure is answered by `reply`.
fn one_is_wrong(reply: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Server {
    let wrong = narinfo(&store().closure[0]);
    Server::start(
        &store().cache,
        move |path, before| {
            if path == wrong { reply(before) } else { Reply::File }
        },
    )
}

/// What is answered, what is said of it, and how often it is asked for with one retry.
type Wrong = (fn() -> Reply, &'static str, usize);

/// The narinfo of another path of the closure.
fn another() -> Reply {
    let path = &narinfo(&store().closure[1])[1..];
    Reply::Content(fs::read(store().cache.join(path)).unwrap())
}

/// A list of store paths that nobody has.
fn made_up(number: usize) -> String {
    (0..number).fold(String::new(), |mut list, number| {
        let _ = writeln!(list, "/nix/store/{number:032}-none-1.0");
        list
    })
}

#[test]
fn what_fails_for_a_while_is_asked_for_again() {
    let replies: [fn(usize) -> Reply; 5] = [
        |_| Reply::Status(500, None),
        |before| if before == 0 { Reply::Status(503, None) } else { Reply::Status(408, None) },
        |_| Reply::Half,
        |_| Reply::Nothing,
        |_| Reply::Late(Duration::from_secs(3)),
    ];
    for reply in replies {
        let server =
            Server::start(
                &store().cache,
                move |_, before| {
                    if before < 2 { reply(before) } else { Reply::File }
                },
            );
        let place = Place::new();
        place.run(&server.url(), &["--timeout", "1"]).ends(0, &[]);
        assert_eq!(place.counts().unwrap(), expected(&store().closure));
        assert!(server.asked().values().all(|times| *times == 3), "{:?}", server.asked());
    }
}

#[test]
fn a_cache_that_wants_to_be_left_alone_is() {
    let server =
        one_is_wrong(|before| if before == 0 { Reply::Status(429, Some(2)) } else { Reply::File });
    let place = Place::new();
    let begin = Instant::now();
    place.run(&server.url(), &[]).ends(0, &[]);
    assert!(begin.elapsed() >= Duration::from_secs(2), "{:?}", begin.elapsed());
    assert_eq!(place.counts().unwrap(), expected(&store().closure));
}

#[test]
fn what_fails_for_good_is_counted_and_asked_for_by_the_next_run() {
    let wrong: [Wrong; 6] = [
        (|| Reply::Status(500, None), "answers 500 Internal Server Error", 2),
        (|| Reply::Status(401, None), "answers 401 Unauthorized", 1),
        (
            || Reply::Content(b"<html>\n".to_vec()),
            ".narinfo is not a narinfo: line 1 is not of the form",
            1,
        ),
        (another, "is about another store path", 1),
        (|| Reply::Content(vec![b'x'; 2 << 20]), "has over 1048576 bytes", 1),
        (|| Reply::Hold, "no answer from http://", 2),
    ];
    for (reply, said, tries) in wrong {
        // Three runs: the second one is told the same, and the third one the truth.
        let server =
            one_is_wrong(move |before| if before < 2 * tries { reply() } else { Reply::File });
        let (place, total) = (Place::new(), store().closure.len());
        let failure = format!("1 of {total} narinfos can't be had; run it again");
        let options = ["--retries", "1", "--timeout", "1"];
        for _ in 0..2 {
            place.run(&server.url(), &options).ends(1, &[said, &failure]);
            assert_eq!((place.counts(), place.records().len()), (None, total - 1));
        }
        place.run(&server.url(), &options).ends(0, &["1 fetched now"]);
        assert_eq!(server.asked().values().filter(|times| **times == 1).count(), total - 1);
        assert_eq!(place.counts().unwrap(), expected(&store().closure));
    }
}

#[test]
fn what_is_missing_is_left_out() {
    for status in [404, 403, 410] {
        let server = one_is_wrong(move |_| Reply::Status(status, None));
        let place = Place::new();
        place.run(&server.url(), &[]).ends(0, &["1 not in the cache"]);
        assert_eq!(place.counts().unwrap(), expected(&store().closure[1..]));
    }
}

#[test]
fn a_cache_that_has_nothing_is_the_wrong_one() {
    let server = Server::start("/does/not/exist", |_, _| Reply::File);
    let place = Place::new();
    place.run(&server.url(), &[]).ends(1, &["has none of", "--cache names another cache"]);
    assert_eq!(place.counts(), None);
    // Nor is it asked for a hundred thousand more then.
    let place = Place::with_list(&made_up(1200));
    place.run(&server.url(), &["--concurrency", "4"]).ends(1, &["has none of 1000 store paths"]);
}

#[test]
fn a_cache_that_is_down_is_given_up() {
    let server = Server::start("/", |_, _| Reply::Status(500, None));
    let place = Place::with_list(&made_up(400));
    let run = place.run(&server.url(), &["--retries", "0", "--concurrency", "8"]);
    run.ends(1, &["gave up on http://127.0.0.1", "400 narinfos left", "further failures"]);
    assert!(run.errors.lines().count() < 15, "{}", run.errors);
    assert!(server.asked().len() < 120);

    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let run = place.run(&format!("http://me:secret@{port}"), &["--retries", "0"]);
    run.ends(1, &["Connection refused"]);
    assert!(!run.errors.contains("secret"), "{}", run.errors);
}

#[test]
fn a_list_that_is_none_is_refused() {
    let lists = Server::start("/", |path, _| match path {
        "/html" => Reply::Content(b"<html>\n".to_vec()),
        "/down" => Reply::Status(500, None),
        _ => Reply::Status(404, None),
    });
    for (channel, said) in [
        ("html", "/html is not a list of store paths: line 1 is not a store path"),
        ("down", "/down answers 500"),
        ("none", "there is no list of store paths at http://"),
    ] {
        let url = format!("{}/{channel}", lists.url());
        let state = tempfile::tempdir().unwrap();
        let mut command = program();
        command.args([&url, "--retries", "0", "--state"]).arg(state.path());
        Run::of(&mut command).ends(1, &[said]);
    }
    let run = Run::of(program().args(["nixos-none", "--channels", &lists.url()]).env("HOME", "/x"));
    run.ends(1, &["there is no list of store paths at", "/nixos-none/store-paths.xz"]);
    Run::of(program().args(["./none"])).ends(1, &["can't read ./none"]);
}

#[test]
fn a_file_that_is_taken_for_a_channel_is_named_as_it_has_to_be() {
    let lists = Server::start("/", |_, _| Reply::Status(404, None));
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("store-paths"), "").unwrap();
    let run = Run::of(
        program()
            .args(["store-paths", "--retries", "0", "--channels", &lists.url()])
            .env("HOME", directory.path())
            .current_dir(directory.path()),
    );
    run.ends(1, &["the file of that name is ./store-paths", "/store-paths/store-paths.xz"]);
}

#[test]
fn a_wrong_command_line_is_another_status() {
    for arguments in [&[][..], &["x", "--concurrency", "0"], &["x", "--cache", "s3://bucket"]] {
        Run::of(program().args(arguments)).ends(2, &[]);
    }
    Run::of(program().args(["./x", "--output", "/dev/null"])).ends(1, &["not a regular file"]);
    Run::of(program().arg("./x").env_remove("HOME")).ends(1, &["--state names the directory"]);
    Run::of(program().arg("--help")).ends(0, &[]);
}
