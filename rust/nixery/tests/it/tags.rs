//! What tags choose, and how branches are followed.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use crate::harness::{
    COUNTING, Repository, Response, Server, Setup, Source, calls, digest_of, wait_until,
};

/// Percent-encodes all that is not a letter, a digit, `.` or `-`.
fn encode(tag: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    tag.bytes().map(encode).collect()
}

fn ask(server: &Server, tag: &str) -> Response {
    server.get(&format!("/v2/one/manifests/{}", encode(tag)))
}

/// The commit that an image says it is from.
fn revision(server: &Server, manifest: &Response) -> String {
    assert_eq!(manifest.status, 200, "{}", manifest.text());
    let config = manifest.json()["config"]["digest"].as_str().unwrap().to_owned();
    let config = server.get(&format!("/v2/one/blobs/{config}")).json();
    let labels = &config["config"]["Labels"];
    labels["org.opencontainers.image.revision"].as_str().unwrap().to_owned()
}

/// Branches that nixpkgs has, each at another commit, and tarballs of the commits.
struct Nixpkgs {
    repository: Repository,
    archive: TempDir,
    commits: Vec<(&'static str, String)>,
}

impl Nixpkgs {
    fn new() -> Self {
        let (repository, archive) = (Repository::of_fixtures(), TempDir::new().unwrap());
        let set = fs::read_to_string(repository.path().join("default.nix")).unwrap();
        let branches = ["nixpkgs-unstable", "nixos-unstable", "nixos-26.05", "nixos-25.11-small"];
        let commits = branches.iter().chain(&["nixos-evil", "master"]).map(|branch| {
            repository.git(&["checkout", "-q", "-b", branch]);
            let commit = repository.commit(&format!("{set}# {branch}\n"));
            let tarball = archive.path().join(format!("{commit}.tar.gz"));
            let (prefix, tarball) =
                (format!("--prefix=nixpkgs-{commit}/"), tarball.to_str().unwrap());
            repository.git(&["archive", "--format=tar.gz", &prefix, "-o", tarball, &commit]);
            (*branch, commit)
        });
        let commits = commits.collect();
        Self { repository, archive, commits }
    }

    fn commit(&self, branch: &str) -> &str {
        &self.commits.iter().find(|(name, _)| *name == branch).unwrap().1
    }

    fn setup(&self) -> Setup {
        Setup::new(Source::Channel("nixpkgs-unstable".to_owned()))
            .variable("NIXERY_NIXPKGS_REPOSITORY", &self.repository.url())
            .variable(
                "NIXERY_NIXPKGS_ARCHIVE",
                &format!("file://{}", self.archive.path().display()),
            )
    }
}

/// What a tag is answered with: a commit, or a status and a code.
type Expected<'a> = Result<&'a str, (u16, &'a str)>;

const UNKNOWN: (u16, &str) = (404, "MANIFEST_UNKNOWN");
const INVALID: (u16, &str) = (400, "TAG_INVALID");

fn check(server: &Server, table: &[(&str, Expected<'_>)]) {
    for (tag, expected) in table {
        let response = ask(server, tag);
        match expected {
            Ok(commit) => assert_eq!(revision(server, &response), *commit, "{tag}"),
            Err((status, code)) => {
                assert_eq!(response.status, *status, "{tag}: {}", response.text());
                let (found, message) = response.error();
                assert_eq!(found, *code, "{tag}");
                let shown: String = tag.chars().take(20).collect();
                assert!(message.contains(&shown), "{tag}: {message}");
            }
        }
    }
}

#[test]
fn tags_of_nixpkgs_are_channels_that_are_allowed() {
    let nixpkgs = Nixpkgs::new();
    let at = |branch: &str| Ok(nixpkgs.commit(branch));
    let long = "a".repeat(200);
    let commit = nixpkgs.commit("nixos-26.05");
    let server = nixpkgs.setup().start();
    check(
        &server,
        &[
            ("latest", at("nixpkgs-unstable")),
            ("nixpkgs-unstable", at("nixpkgs-unstable")),
            ("nixos-26.05", at("nixos-26.05")),
            ("26.05", at("nixos-26.05")),
            ("unstable", at("nixos-unstable")),
            ("25.11-small", at("nixos-25.11-small")),
            ("nixos-24.05", Err(UNKNOWN)), // allowed, but not there
            ("nixos-evil", Err(UNKNOWN)),
            ("master", Err(UNKNOWN)),
            (commit, Err(UNKNOWN)),
            (&commit[..12], Err(UNKNOWN)),
            ("26.05..", Err(UNKNOWN)),
            ("-x", Err(INVALID)),
            ("--upload-pack=x", Err(INVALID)),
            ("..", Err(INVALID)),
            ("a@{1}", Err(INVALID)),
            ("@{-1}", Err(INVALID)),
            ("26.05 x", Err(INVALID)),
            (&long, Err(INVALID)),
        ],
    );
    let message = ask(&server, "master").error().1;
    assert!(message.contains("nixos-[0-9][0-9].[0-9][0-9]"), "{message}");

    let server = nixpkgs
        .setup()
        .variable("NIXERY_SOURCE_ALLOW_COMMITS", "true")
        .variable("NIXERY_SOURCE_CHANNELS", "master, nixos-e*")
        .start();
    let nowhere = "0".repeat(40);
    check(
        &server,
        &[
            (commit, Ok(commit)),
            (&nowhere, Err(UNKNOWN)),
            ("master", at("master")),
            ("nixos-evil", at("nixos-evil")),
            ("nixos-26.05", Err(UNKNOWN)),
        ],
    );
}

#[test]
fn tags_of_a_repository_may_be_limited() {
    let repository = Repository::of_fixtures();
    let first = repository.git(&["rev-parse", "HEAD"]);
    repository.git(&["tag", "v1.0"]);
    repository.git(&["branch", "other"]);
    let set = fs::read_to_string(repository.path().join("default.nix")).unwrap();
    let second = repository.commit(&format!("{set}# next\n"));
    let limited = Setup::new(repository.source()).variable("NIXERY_SOURCE_REFERENCES", "v* trunk");
    check(
        &limited.start(),
        &[
            ("latest", Ok(&second)),
            ("trunk", Ok(&second)),
            ("v1.0", Ok(&first)),
            ("v2.0", Err(UNKNOWN)),
            ("other", Err(UNKNOWN)),
            (&first, Err(UNKNOWN)),
            ("v1.0.lock", Err(UNKNOWN)),
            ("-v1.0", Err(INVALID)),
            ("v1@{1}", Err(INVALID)),
        ],
    );
    let server = limited.variable("NIXERY_SOURCE_ALLOW_COMMITS", "true").start();
    check(&server, &[(&first, Ok(&first)), ("other", Err(UNKNOWN))]);
}

/// All three lead to one commit, and so to one image.
#[test]
fn a_branch_a_tag_and_a_commit_are_one_image() {
    let repository = Repository::of_fixtures();
    repository.git(&["tag", "-a", "v1.0", "-m", "the first"]);
    let commit = repository.git(&["rev-parse", "HEAD"]);
    let server = Setup::new(repository.source()).builder(COUNTING).start();
    let bodies = ["latest", "trunk", "v1.0", &commit].map(|tag| ask(&server, tag).body);
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    assert_eq!(calls(&server), 1);
}

#[test]
fn a_branch_is_followed_and_stays_where_it_was_while_nobody_answers() {
    const REFRESH: Duration = Duration::from_secs(5);
    let repository = Repository::of_fixtures();
    let first = repository.git(&["rev-parse", "HEAD"]);
    let refresh = REFRESH.as_secs().to_string();
    let setup = Setup::new(repository.source()).variable("NIXERY_SOURCE_REFRESH", &refresh);
    let server = setup.start();
    let old = ask(&server, "trunk");
    assert_eq!(revision(&server, &old), first);

    let set = fs::read_to_string(repository.path().join("default.nix")).unwrap();
    let second = repository.commit(&set.replace("one-1.0", "one-2.0"));
    let moved = std::time::Instant::now();
    wait_until("the new commit", || revision(&server, &ask(&server, "trunk")) == second);
    // The time that git and Nix take comes on top.
    assert!(moved.elapsed() < REFRESH + Duration::from_secs(10), "{:?}", moved.elapsed());
    let by_digest = server.get(&format!("/v2/one/manifests/{}", digest_of(&old.body)));
    assert_eq!(by_digest.body, old.body, "the image of the old commit is still there");

    let aside = repository.path().with_extension("aside");
    fs::rename(repository.path(), &aside).unwrap();
    wait_until("the warning", || !ask(&server, "trunk").header("warning").is_empty());
    let warned = ask(&server, "trunk");
    assert_eq!(revision(&server, &warned), second);
    let warning = warned.header("warning");
    assert!(warning.starts_with("299 - \"") && warning.contains(&second), "{warning}");
    assert!(server.has_logged("using the last known commit"));
    let state = server.kill();
    std::thread::sleep(REFRESH);
    let server = setup.start_in(&state);
    let after = ask(&server, "trunk");
    assert_eq!(revision(&server, &after), second, "also after a restart");
    assert!(after.header("warning").contains(&second));
    let unknown = ask(&server, "other");
    assert_eq!((unknown.status, unknown.error().0.as_str()), (503, "UNAVAILABLE"));
    fs::rename(&aside, repository.path()).unwrap();
    wait_until("the answer", || ask(&server, "trunk").header("warning").is_empty());
}

/// The mirror has not got the newest commit yet.
#[test]
fn while_a_commit_cannot_be_fetched_the_one_before_is_used() {
    let nixpkgs = Nixpkgs::new();
    let server = nixpkgs.setup().variable("NIXERY_SOURCE_REFRESH", "5").start();
    let before = nixpkgs.commit("nixpkgs-unstable").to_owned();
    assert_eq!(revision(&server, &ask(&server, "latest")), before);
    nixpkgs.repository.git(&["checkout", "-q", "nixpkgs-unstable"]);
    let set = fs::read_to_string(nixpkgs.repository.path().join("default.nix")).unwrap();
    let now = nixpkgs.repository.commit(&format!("{set}# next\n"));
    wait_until("the move", || server.has_logged("the package source has moved"));
    let answer = ask(&server, "latest");
    assert_eq!(revision(&server, &answer), before);
    let warning = answer.header("warning");
    assert!(warning.contains(&now) && warning.contains(&before), "{warning}");

    let tarball = nixpkgs.archive.path().join(format!("{now}.tar.gz"));
    let (prefix, tarball) = (format!("--prefix=nixpkgs-{now}/"), tarball.to_str().unwrap());
    nixpkgs.repository.git(&["archive", "--format=tar.gz", &prefix, "-o", tarball, &now]);
    // The failure is the answer for a moment.
    wait_until("the new commit", || revision(&server, &ask(&server, "latest")) == now);
    assert_eq!(ask(&server, "latest").header("warning"), "");
}

/// Clients that HEAD and then GET don't have git asked twice.
#[test]
fn a_known_branch_is_not_asked_for_again() {
    let repository = Repository::of_fixtures();
    let state = Arc::new(TempDir::new().unwrap());
    let server = Setup::new(repository.source()).start_in(&state);
    for _ in 0..20 {
        assert_eq!(ask(&server, "trunk").status, 200);
    }
    let metrics = server.get("/metrics");
    assert!(metrics.text().contains("nixery_source_requests_total{result=\"ok\"} 1\n"));
    assert!(Path::new(&state.path().join("cache")).read_dir().unwrap().count() >= 2);
}
