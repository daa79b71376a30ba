//! Who is shown which names of packages.

use std::sync::Arc;

use tempfile::TempDir;

use super::{Users, basic, get};
use crate::harness::{BROKEN, LISTING, Repository, Server, Setup, calls, fixtures, wait_until};

/// Names that are shown to somebody, with their state, once they aren't looked for any more.
fn names(server: &Server, query: &str, authorization: &str) -> (String, Vec<String>) {
    let mut found = (String::new(), Vec::new());
    wait_until("the names", || {
        let answer = get(server, &format!("/api/v1/packages?{query}"), authorization);
        assert_eq!(answer.status, 200, "{query} {authorization}: {}", answer.text());
        let answer = answer.json();
        let names = answer["packages"].as_array().unwrap().iter();
        let names = names.map(|name| name.as_str().unwrap().to_owned()).collect();
        found = (answer["state"].as_str().unwrap().to_owned(), names);
        found.0 != "indexing"
    });
    found
}

#[test]
fn names_of_packages_are_for_who_has_a_right_to_some() {
    let users = Users::new();
    let server = users.known_to(Setup::new(fixtures()).builder(LISTING)).start();
    // Once, whoever said to be anonymous had Nix list all of them.
    for authorization in ["", "Bearer anonymous"] {
        let answer = get(&server, "/api/v1/packages", authorization);
        assert_eq!((answer.status, answer.error().0.as_str()), (401, "UNAUTHORIZED"));
        assert!(answer.header("www-authenticate").starts_with("Basic "), "{answer:?}");
    }
    assert_eq!(calls(&server), 0);

    let users = Users::new();
    let setup = users
        .known_to(Setup::new(fixtures()).builder(LISTING))
        .variable("NIXERY_ACCESS_RULES", "bob may pull one, t*; ci may build three");
    let state = Arc::new(TempDir::new().unwrap());
    let server = setup.start_in(&state);
    let ann = basic("ann", "secret");
    let answer = get(&server, "/api/v1/packages", &ann);
    assert_eq!((answer.status, answer.error().0.as_str()), (403, "DENIED"));
    let (bob, ci) = (basic("bob", "other"), "Bearer ci-token");
    assert_eq!(names(&server, "", &bob), ("unavailable".to_owned(), Vec::new()));
    assert_eq!(calls(&server), 0, "who may only pull has Nix do nothing");
    let of = |names: &[&str]| ("ready".to_owned(), names.iter().map(|&n| n.to_owned()).collect());
    assert_eq!(names(&server, "prefix=th", ci), of(&["three"]));
    assert_eq!(names(&server, "prefix=o", ci).1, Vec::<String>::new());
    assert_eq!(calls(&server), 1);
    assert_eq!(names(&server, "prefix=one", &bob), of(&["one"]));
    assert_eq!(names(&server, "prefix=three", &bob), of(&["three"]));
    assert_eq!(calls(&server), 1);
}

#[test]
fn names_of_other_branches_are_looked_up_for_who_may_build() {
    let (users, repository) = (Users::new(), Repository::of_fixtures());
    let first = repository.git(&["rev-parse", "HEAD"]);
    repository.git(&["branch", "other"]);
    let setup = users
        .known_to(Setup::new(repository.source()).builder(LISTING))
        .variable("NIXERY_ACCESS_RULES", "bob may pull; ci may build");
    let state = Arc::new(TempDir::new().unwrap());
    let server = setup.start_in(&state);
    let (bob, ci) = (basic("bob", "other"), "Bearer ci-token");
    let queries = ["tag=other&prefix=on".to_owned(), format!("tag={first}&prefix=on")];
    for query in &queries {
        assert_eq!(names(&server, query, &bob), ("unavailable".to_owned(), Vec::new()), "{query}");
    }
    // Nobody has asked where such a branch is: there need not even be one.
    assert_eq!(names(&server, "tag=nowhere", &bob).0, "unavailable");
    assert_eq!(calls(&server), 0);
    let one = ("ready".to_owned(), vec!["one".to_owned()]);
    for query in &queries {
        assert_eq!(names(&server, query, ci), one, "{query}");
        assert_eq!(names(&server, query, &bob), one, "{query}");
    }
    let before = calls(&server);
    server.kill();

    // What was saved is known after a restart.
    let server = setup.builder(BROKEN).start_in(&state);
    for query in &queries {
        assert_eq!(names(&server, query, &bob), one, "{query}");
    }
    assert!(before > 0 && calls(&server) == before);
}
