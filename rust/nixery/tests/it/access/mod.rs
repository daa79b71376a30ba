//! Who may pull, and who may have images made.

mod names;
mod pages;
mod users;

use std::fs;
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use crate::harness::{
    BROKEN, COUNTING, Repository, Response, Server, Setup, calls, fixtures, request, wait_until,
};

/// By Apache's `htpasswd -nbB -C 4`, with the passwords `secret` and `other`.
const ANN: &str = "ann:$2y$04$DHRNPAmxKk/F0y5E56evvOar7/QB3T.9dwwzjlJBju8rtQb2K2fZm";
const BOB: &str = "bob:$2y$04$8W4ygaEKm8pSvVLU1Qn4tuc4MktPIg1ejv4nuH4v84z90lMrUBCYq";

/// SHA-256 of `ci-token`.
const CI: &str = "ci:948b8c2427cd29047839b8e4a27a08763f8befbafa86be5cce8e46217d75e58a";

/// Files with users, gone when dropped.
struct Users(TempDir);

impl Users {
    fn new() -> Self {
        let users = Self(TempDir::new().unwrap());
        users.write("htpasswd", &format!("{ANN}\n{BOB}\n"));
        users.write("tokens", &format!("# of machines\n{CI}\n"));
        users
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.0.path().join(name), content).unwrap();
    }

    /// A server that knows them.
    fn known_to(&self, setup: Setup) -> Setup {
        let path = |name: &str| self.0.path().join(name).to_str().unwrap().to_owned();
        setup
            .variable("NIXERY_ACCESS_HTPASSWD", &path("htpasswd"))
            .variable("NIXERY_ACCESS_TOKENS", &path("tokens"))
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

fn ask(server: &Server, method: &str, path: &str, authorization: &str) -> Response {
    let header = [("Authorization", authorization)];
    let headers = if authorization.is_empty() { &[][..] } else { &header };
    request(&server.address, method, path, headers)
}

fn get(server: &Server, path: &str, authorization: &str) -> Response {
    ask(server, "GET", path, authorization)
}

fn manifest(server: &Server, image: &str, authorization: &str) -> Response {
    get(server, &format!("/v2/{image}/manifests/latest"), authorization)
}

/// A port that nobody listens on.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// What lets everybody pull what was made before, and only Ann and CI have images made.
fn mixed(users: &Users, setup: Setup) -> Setup {
    let port = free_port().to_string();
    users
        .known_to(setup)
        .variable("PORT", &port)
        .variable("NIXERY_ACCESS_URL", &format!("http://127.0.0.1:{port}"))
        .variable("NIXERY_ACCESS_RULES", "anonymous may pull; ann, ci may build; bob may build one")
}

#[test]
fn with_users_nobody_else_may_anything() {
    let users = Users::new();
    let server = users.known_to(Setup::new(fixtures())).start();
    let challenge = "Basic realm=\"nixery\", charset=\"UTF-8\"";
    let (ann, ci) = (basic("ann", "secret"), basic("ci", "ci-token"));
    let (wrong, nobody) = (basic("ann", "Secret"), basic("eve", "secret"));
    let (empty, other) = (basic("", ""), basic("bob", "secret"));
    let others_token = basic("ann", "ci-token");
    for (path, authorization, status) in [
        ("/v2/", "", 401),
        ("/v2/", &empty, 401),
        ("/v2/", &wrong, 401),
        ("/v2/", &nobody, 401),
        ("/v2/", &other, 401),
        ("/v2/", &others_token, 401),
        ("/v2/", "Bearer ci", 401),
        ("/v2/", "Digest x", 401),
        ("/v2/", "Basic %", 401),
        ("/v2/", &ann, 200),
        ("/v2/", &ci, 200),
        ("/v2/", "Bearer ci-token", 200),
        ("/v2/one/manifests/latest", "", 401),
        ("/v2/one/manifests/latest", &wrong, 401),
        ("/v2/one/manifests/latest", "Bearer ci-token", 200),
        ("/v2/one/tags/list", "", 401),
        ("/v2/one/tags/list", &ann, 200),
        ("/builds", "", 401),
        ("/builds", &ann, 200),
        ("/builds/one/latest", "", 401),
        ("/builds/one/latest", &ann, 200),
        ("/api/v1/builds", "", 401),
        ("/api/v1/builds", "Bearer ci-token", 200),
        ("/api/v1/builds/one/latest", &wrong, 401),
        ("/api/v1/images/one/latest", "", 401),
        ("/api/v1/images/one/latest", &ann, 200),
        ("/", &wrong, 200),
        ("/healthz", "", 200),
        ("/readyz", "", 200),
        ("/metrics", "", 200),
    ] {
        let answer = get(&server, path, authorization);
        assert_eq!(answer.status, status, "{path} {authorization}: {}", answer.text());
        if status == 401 {
            assert_eq!(answer.header("www-authenticate"), challenge, "{path} {authorization}");
        }
        if status == 401 && path.starts_with("/v2/") {
            assert_eq!(answer.error().0, "UNAUTHORIZED");
            assert_eq!(answer.header("docker-distribution-api-version"), "registry/2.0");
        }
    }
    let answer = ask(&server, "POST", "/api/v1/builds/two/latest", "");
    assert_eq!((answer.status, answer.error().0.as_str()), (401, "UNAUTHORIZED"));

    // What somebody may have is not for whoever uses the same proxy.
    let digest = manifest(&server, "one", &ann).header("docker-content-digest").to_owned();
    let answer = get(&server, &format!("/v2/one/manifests/{digest}"), &ann);
    assert_eq!(answer.header("cache-control"), "private, max-age=31536000, immutable");
}

#[test]
fn anonymous_may_pull_what_exists() {
    let users = Users::new();
    let setup = mixed(&users, Setup::new(fixtures()).builder(COUNTING));
    let server = setup.start();
    let bearer = format!("Bearer realm=\"http://{0}/v2/token\",service=\"{0}\"", server.address);

    // docker and podman ask this first, and log in by what is said here or not at all.
    let answer = get(&server, "/v2/", "");
    assert_eq!((answer.status, answer.header("www-authenticate")), (401, bearer.as_str()));
    let token = |authorization: &str| {
        let answer = get(&server, "/v2/token?service=x&scope=repository:one:pull", authorization);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("cache-control"), "no-store");
        format!("Bearer {}", answer.json()["token"].as_str().unwrap())
    };
    let (anonymous, ann) = (token(""), token(&basic("ann", "secret")));
    let (bob, ci) = (token(&basic("bob", "other")), token("Bearer ci-token"));
    for token in [&anonymous, &ann, &bob, &ci] {
        assert_eq!(get(&server, "/v2/", token).status, 200, "{token}");
    }
    let wrong = get(&server, "/v2/token", &basic("ann", "wrong"));
    assert_eq!((wrong.status, wrong.error().0.as_str()), (401, "UNAUTHORIZED"));
    assert!(wrong.header("www-authenticate").starts_with("Basic "));
    // containerd tries this first, and then what the others do.
    assert_eq!(ask(&server, "POST", "/v2/token", "").status, 405);

    // containerd asks for the image first, and logs in when it is told to.
    let answer = manifest(&server, "one", "");
    let scope = format!("{bearer},scope=\"repository:one:pull\"");
    assert_eq!((answer.status, answer.header("www-authenticate")), (401, scope.as_str()));
    let answer = manifest(&server, "one", &anonymous);
    assert_eq!((answer.status, answer.error().0.as_str()), (403, "DENIED"));
    assert!(answer.error().1.contains("has not been made yet, and anonymous may only pull"));
    for (authorization, status) in [("", 401), (anonymous.as_str(), 403)] {
        let answer = ask(&server, "POST", "/api/v1/builds/one/latest", authorization);
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    // Bob may have only one package built, in whatever order it is asked for.
    for image in ["one/two", "two/one"] {
        assert_eq!(manifest(&server, image, &bob).status, 403, "{image}");
    }
    assert_eq!(calls(&server), 0);

    let made = manifest(&server, "one", &bob);
    assert_eq!(made.status, 200, "{}", made.text());
    assert_eq!(manifest(&server, "two", &ann).status, 200);
    assert_eq!(calls(&server), 2);
    // Both packages are known, but putting them together is work all the same.
    assert_eq!(manifest(&server, "one/two", &anonymous).status, 403);
    let digest = made.header("docker-content-digest");
    let layer = made.json()["layers"][0]["digest"].as_str().unwrap().to_owned();
    let paths = ["manifests/latest", &format!("manifests/{digest}"), &format!("blobs/{layer}")];
    for authorization in ["", &anonymous, &bob, &ci] {
        for path in paths {
            let answer = get(&server, &format!("/v2/one/{path}"), authorization);
            assert_eq!(answer.status, 200, "{path} {authorization}");
        }
    }
    assert_eq!(manifest(&server, "one", &basic("ann", "wrong")).status, 401);

    // Another server of the same storage knows it too, without any builder.
    let state = server.kill();
    let server = setup.builder(BROKEN).start_in(&state);
    assert_eq!(manifest(&server, "one", &anonymous).status, 200);
    assert_eq!(manifest(&server, "one/two", &anonymous).status, 403);
}

#[test]
fn everybody_sees_what_they_may_pull() {
    let users = Users::new();
    let port = free_port().to_string();
    let server = users
        .known_to(Setup::new(fixtures()))
        .variable("PORT", &port)
        .variable("NIXERY_ACCESS_URL", &format!("http://127.0.0.1:{port}"))
        .variable("NIXERY_ACCESS_RULES", "anonymous may pull one; bob may pull two; ann may build")
        .start();
    let (ann, bob) = (basic("ann", "secret"), basic("bob", "other"));
    for image in ["one", "two", "three"] {
        assert_eq!(manifest(&server, image, &ann).status, 200, "{image}");
    }
    let images = |authorization: &str| {
        let answer = get(&server, "/api/v1/builds", authorization).json();
        let builds = answer["builds"].as_array().unwrap().iter();
        builds.map(|build| build["image"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(images(""), ["one"]);
    assert_eq!(images(&bob), ["two", "one"]);
    assert_eq!(images(&ann), ["three", "two", "one"]);
    let page = get(&server, "/builds", "");
    assert!(page.text().contains("one:latest") && !page.text().contains("two:latest"));
    for (path, authorization, status) in [
        ("/builds/one/latest", "", 200),
        ("/builds/two/latest", "", 401),
        ("/builds/three/latest", &bob, 403),
        ("/api/v1/builds/two/latest", &bob, 200),
        ("/api/v1/builds/three/latest", &bob, 403),
        ("/api/v1/images/two/latest", "", 401),
    ] {
        assert_eq!(get(&server, path, authorization).status, status, "{path} {authorization}");
    }
    // A password is asked for where a browser understands it.
    let page = get(&server, "/builds/two/latest", "");
    assert!(page.header("www-authenticate").starts_with("Basic "), "{page:?}");

    // All images share a layer, but what others there are is not for everybody.
    let shared = |authorization: &str| {
        let image = get(&server, "/api/v1/images/one/latest", authorization).json();
        let layers = image["layers"].as_array().unwrap().clone();
        layers.iter().map(|layer| layer["shared_with"].to_string()).collect::<String>()
    };
    assert!(shared(&ann).contains("three") && shared(&bob).contains("two"));
    assert!(!shared(&bob).contains("three") && !shared("").contains("two"));

    // Pages of others can have a browser send what it knows, but not have anything built.
    let foreign = [("Authorization", ann.as_str()), ("Sec-Fetch-Site", "cross-site")];
    let answer = request(&server.address, "POST", "/api/v1/builds/one/latest", &foreign);
    assert_eq!((answer.status, answer.error().0.as_str()), (403, "DENIED"));
    let manifest = "/v2/two/three/manifests/latest";
    // Without TLS, beyond this machine, browsers tell of it in another way.
    for origin in ["null", "http://example.org", "http://nixery.example.org:1"] {
        let headers = [("Authorization", ann.as_str()), ("Origin", origin)];
        let answer = request(&server.address, "POST", "/api/v1/builds/one/latest", &headers);
        assert_eq!(answer.status, 403, "{origin}");
    }
    let origin = format!("http://{}", server.address);
    let headers = [("Authorization", ann.as_str()), ("Origin", origin.as_str())];
    assert_eq!(request(&server.address, "POST", "/api/v1/builds/one/latest", &headers).status, 200);
    let answer = request(&server.address, "GET", manifest, &foreign);
    assert_eq!((answer.status, answer.error().0.as_str()), (403, "DENIED"));
    let own = [("Authorization", ann.as_str()), ("Sec-Fetch-Site", "same-origin")];
    assert_eq!(request(&server.address, "POST", "/api/v1/builds/one/latest", &own).status, 200);
}

#[test]
fn when_a_branch_moves_there_is_still_the_image_of_before() {
    let (users, repository) = (Users::new(), Repository::of_fixtures());
    let setup = Setup::new(repository.source()).variable("NIXERY_SOURCE_REFRESH", "5");
    let server = mixed(&users, setup).start();
    let before = manifest(&server, "one", &basic("ann", "secret"));
    assert_eq!(before.status, 200, "{}", before.text());
    let set = fs::read_to_string(repository.path().join("default.nix")).unwrap();
    repository.commit(&format!("{set}# moved\n"));
    let mut answer = manifest(&server, "one", "");
    wait_until("the branch's move", || {
        thread::sleep(Duration::from_millis(500));
        answer = manifest(&server, "one", "");
        !answer.header("warning").is_empty()
    });
    assert_eq!(answer.status, 200);
    assert!(answer.header("warning").contains("has not been made yet"), "{answer:?}");
    assert_eq!(answer.body, before.body);
    assert_eq!(manifest(&server, "one", &basic("ann", "secret")).header("warning"), "");
    assert_eq!(manifest(&server, "one", "").header("warning"), "");
}
