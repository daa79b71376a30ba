//! Names of packages, as they are completed for who composes an image.

use std::fs;
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{BROKEN, LISTING, Repository, Server, Setup, calls, debian, get, wait_until};

/// The answer for `query`, once it isn't being looked for any more.
fn names(server: &Server, query: &str) -> Value {
    let path = format!("/api/v1/packages?{query}");
    let mut answer = Value::Null;
    wait_until("the index", || {
        let response = get(&server.address, &path);
        assert_eq!(response.status, 200, "{}", response.text());
        answer = response.json();
        answer["state"] != "indexing"
    });
    answer
}

#[test]
fn names_are_completed_as_they_are_written_in_images() {
    let server = Setup::new(debian()).builder(LISTING).start();
    let found = names(&server, "prefix=g&limit=3");
    assert_eq!(
        (&found["state"], &found["packages"], &found["more"]),
        (&json!("ready"), &json!(["gawk", "geoip", "git"]), &json!(true))
    );
    assert_eq!(found["revision"], Value::Null);
    // Those that have it elsewhere in them come after.
    assert_eq!(names(&server, "prefix=EP")["packages"], json!(["gnugrep", "ripgrep"]));
    assert_eq!(names(&server, "prefix=1")["packages"], json!(["1hello"]), "_1hello");
    assert_eq!(calls(&server), 1, "the set was listed once");

    let found = names(&server, "prefix=python3packages.");
    assert_eq!(found["packages"], json!(["python3packages.pyyaml", "python3packages.requests"]));
    for query in ["prefix=nowhere.a", "prefix=python3packages.nowhere.a", "prefix=git.a"] {
        assert_eq!(names(&server, query)["packages"], json!([]), "{query}");
    }
    // A set may have itself in it, without end.
    for query in ["prefix=python3packages.pyyaml.a.b", "prefix=git.git.git.git."] {
        let deep = get(&server.address, &format!("/api/v1/packages?{query}")).json();
        assert_eq!(
            (&deep["state"], &deep["packages"]),
            (&json!("unavailable"), &json!([])),
            "{query}"
        );
    }
    assert_eq!(calls(&server), 3, "Nix looks into python3Packages and git, and into no more");

    for (query, code) in [
        ("prefix=a%20b", "NAME_INVALID"),
        ("prefix=../x", "NAME_INVALID"),
        ("limit=many", "NAME_INVALID"),
        ("prefix=a&prefix=b", "NAME_INVALID"),
        ("tag=nope", "MANIFEST_UNKNOWN"),
    ] {
        let refused = get(&server.address, &format!("/api/v1/packages?{query}"));
        assert!([400, 404].contains(&refused.status), "{query}: {}", refused.status);
        assert_eq!(refused.error().0, code, "{query}");
    }
    // In words of our own, and not in those of a library.
    let refused = get(&server.address, "/api/v1/packages?limit=many").error();
    let expected = "the query can't be read: expected at most one each of prefix=TEXT, \
                    limit=NUMBER and tag=TAG";
    assert_eq!(refused.1, expected);
}

/// Once, a set was suggested as if it were a package, and then refused.
#[test]
fn sets_have_a_dot_after_them_and_what_is_no_package_is_left_out() {
    let server = Setup::new(debian()).builder(LISTING).start();
    for (query, packages) in [
        ("prefix=python3p", json!(["python3packages."])),
        ("prefix=plain-set", json!(["plain-set."])),
        ("prefix=some-string", json!([])),
        ("prefix=htop&limit=1", json!(["htop"])),
    ] {
        let found = names(&server, query);
        assert_eq!((&found["state"], &found["packages"]), (&json!("ready"), &packages), "{query}");
    }
}

/// One name that Nix fails at takes nothing from the others.
#[test]
fn what_cannot_be_evaluated_may_be_a_package() {
    let repository = Repository::of_fixtures();
    let set = fs::read_to_string(repository.path().join("default.nix")).unwrap();
    let more =
        "  x1 = abort \"no\";\n  x2 = { };\n  x3 = 3;\n  x4 = one;\n  x5 = throw \"no\";\n  one =";
    repository.commit(&set.replacen("  one =", more, 1));
    let server = Setup::new(repository.source()).start();
    assert_eq!(names(&server, "prefix=x")["packages"], json!(["x1", "x2.", "x4", "x5"]));
}

#[test]
fn names_move_with_the_package_set_and_are_kept_for_its_commit() {
    let repository = Repository::of_fixtures();
    let first = repository.git(&["rev-parse", "HEAD"]);
    let state = Arc::new(TempDir::new().unwrap());
    let setup =
        Setup::new(repository.source()).variable("NIXERY_SOURCE_REFRESH", "5").builder(LISTING);
    let server = setup.start_in(&state);
    let found = names(&server, "prefix=on");
    assert_eq!((&found["packages"], &found["revision"]), (&json!(["one"]), &json!(first)));
    let page = get(&server.address, "/");
    assert!(page.text().contains(&format!("at commit <code>{first}</code>")), "{}", page.text());
    assert!(page.text().contains("data-tags=\"yes\""), "the composer keeps tags");
    server.kill();

    let server = setup.start_in(&state);
    let before = calls(&server);
    assert_eq!(names(&server, "prefix=on")["packages"], json!(["one"]));
    assert_eq!(calls(&server), before, "known since before the restart");

    let set = fs::read_to_string(repository.path().join("default.nix")).unwrap();
    let second = repository.commit(&set.replacen("  one =", "  only = one;\n  one =", 1));
    // Without anybody who asks, as somebody has of late.
    wait_until("the new names are listed", || calls(&server) > before);
    wait_until("the new names", || {
        let found = names(&server, "prefix=on");
        found["revision"] == second && found["packages"] == json!(["one", "only"])
    });
    assert_eq!(calls(&server), before + 1);
}

#[test]
fn the_front_page_has_names_listed_before_they_are_typed() {
    let server = Setup::new(debian()).builder(LISTING).start();
    let page = get(&server.address, "/");
    assert!(page.text().contains("data-tags=\"no\""), "a directory has none: {}", page.text());
    wait_until("the names are listed", || calls(&server) == 1);
}

/// It would be as long as the slowest of the sets that strangers have asked for.
#[test]
fn slow_sets_do_not_keep_up_the_package_set_itself() {
    let slow = r#"
if [ "$1" != --check ]; then
  request=$(cat)
  case $request in *'"names_in":"slow"'*) sleep 1000 ;; esac
  printf %s "$request" | "$REAL_BUILDER"
else
  exec "$REAL_BUILDER" "$@"
fi"#;
    let repository = Repository::of_fixtures();
    let set = fs::read_to_string(repository.path().join("default.nix")).unwrap();
    repository.commit(&set.replacen("  one =", "  slow = { };\n  one =", 1));
    let server = Setup::new(repository.source()).builder(slow).start();
    assert_eq!(names(&server, "prefix=on")["packages"], json!(["one"]));
    let path = "/api/v1/packages?prefix=slow.";
    assert_eq!(get(&server.address, path).json()["state"], "indexing");
    repository.commit(&set.replacen("  one =", "  only = one;\n  one =", 1));
    repository.git(&["branch", "next"]);
    assert_eq!(names(&server, "prefix=on&tag=next")["packages"], json!(["one", "only"]));
    assert_eq!(get(&server.address, path).json()["state"], "indexing");
}

#[test]
fn names_that_cannot_be_had_are_no_error() {
    let server = Setup::new(debian()).builder(BROKEN).start();
    let found = names(&server, "prefix=g");
    assert_eq!((&found["state"], &found["packages"]), (&json!("unavailable"), &json!([])));
    assert_eq!(get(&server.address, "/").status, 200);
}
