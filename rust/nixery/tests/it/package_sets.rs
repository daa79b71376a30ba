//! What a package set may do, which may be somebody else's: the tag of an image chooses it.

use crate::harness::{Repository, Response, Server, Setup};

/// A package that has `expression` in it, which is evaluated when the package is.
fn set(expression: &str) -> String {
    let package = |name: &str, text: &str| {
        format!(
            "derivation {{ name = \"{name}\"; system = builtins.currentSystem; \
             builder = \"/bin/sh\"; PATH = \"/usr/bin:/bin\"; inherit text; \
             args = [ \"-c\" \"mkdir $out; echo $text > $out/text\" ]; \
             }} // {{ name = \"{name}\"; type = \"derivation\"; }}; # {text}"
        )
    };
    format!(
        "{{ ... }}: let text = {expression}; in {{ evil = {} cacert = let text = \"\"; in {} \
         iana-etc = let text = \"\"; in {} }}",
        package("evil-1", "\n"),
        package("cacert-1", "\n"),
        package("iana-etc-1", "\n"),
    )
}

fn pull(server: &Server, tag: &str) -> Response {
    server.get(&format!("/v2/evil/manifests/{tag}"))
}

#[test]
fn a_package_set_reads_and_fetches_nothing_but_itself() {
    let repository = Repository::of_fixtures();
    let other = Repository::of_fixtures();
    let secret = other.path().join("secret");
    std::fs::write(&secret, "the server's key").unwrap();
    let (secret, git) = (secret.display(), other.url());
    std::os::unix::fs::symlink(other.path(), repository.path().join("link")).unwrap();
    repository.commit("{ }");
    let attempts = [
        ("file", format!("builtins.readFile {secret}")),
        ("copy", format!("\"${{{secret}}}\"")),
        ("list", format!("toString (builtins.attrNames (builtins.readDir {}))", "/etc")),
        ("import", "toString (import /etc/hostname)".to_owned()),
        ("link", "builtins.readFile ./link/secret".to_owned()),
        ("environ", "builtins.readFile /proc/self/environ".to_owned()),
        ("url", "builtins.readFile (builtins.fetchurl \"http://127.0.0.1:9/\")".to_owned()),
        ("file-url", format!("builtins.readFile (builtins.fetchurl \"file://{secret}\")")),
        ("git", format!("(builtins.fetchGit \"{git}\").outPath")),
        ("tarball", "builtins.fetchTarball \"http://127.0.0.1:9/a.tar.gz\"".to_owned()),
        ("built", format!("builtins.readFile ({} + \"/text\")", built())),
    ];
    for (tag, expression) in &attempts {
        repository.git(&["checkout", "-q", "-B", tag, "trunk"]);
        repository.commit(&set(expression));
    }
    repository.git(&["checkout", "-q", "trunk"]);
    let server = Setup::new(repository.source()).start();
    for (tag, expression) in &attempts {
        let response = pull(&server, tag);
        let (code, message) = response.error();
        assert_eq!((response.status, code.as_str()), (403, "DENIED"), "{expression}: {message}");
        let expected = if *tag == "built" { "import" } else { "restricted mode" };
        assert!(message.contains(expected), "{expression}: {message}");
    }

    // It is the settings that forbid it.
    let allowed = Setup::new(repository.source())
        .variable("NIXERY_NIX_ALLOWED_URIS", &format!("{secret},{git}"))
        .start();
    for tag in ["file", "file-url", "git"] {
        let response = pull(&allowed, tag);
        assert_eq!(response.status, 200, "{tag}: {}", response.text());
    }
    assert_eq!(pull(&allowed, "list").status, 403);
    let all = Setup::new(repository.source())
        .variable("NIXERY_NIX_RESTRICT_EVAL", "false")
        .variable("NIXERY_NIX_ALLOW_IMPORT_FROM_DERIVATION", "true")
        .start();
    for tag in ["file", "list", "built"] {
        let response = pull(&all, tag);
        assert_eq!(response.status, 200, "{tag}: {}", response.text());
    }
}

/// Something to build before the evaluation can go on.
fn built() -> &'static str {
    "derivation { name = \"first-1\"; system = builtins.currentSystem; builder = \"/bin/sh\"; \
     PATH = \"/usr/bin:/bin\"; args = [ \"-c\" \"mkdir $out; echo first > $out/text\" ]; }"
}

#[test]
fn a_package_set_sees_no_environment_and_no_home() {
    let repository = Repository::of_fixtures();
    let seen = "toString [ (builtins.getEnv \"HOME\") (builtins.getEnv \"NIX_CONFIG\") \
                (builtins.pathExists ~/.) (builtins.pathExists /etc/passwd) ]";
    repository.commit(&set(&format!("assert {seen} == \"   \"; \"\"")));
    let server = Setup::new(repository.source()).start();
    let response = pull(&server, "trunk");
    assert_eq!(response.status, 200, "{}", response.text());
    let open =
        Setup::new(repository.source()).variable("NIXERY_NIX_RESTRICT_EVAL", "false").start();
    assert_eq!(pull(&open, "trunk").status, 403, "it is the setting that hides them");
}

#[test]
fn an_evaluation_takes_only_as_much_memory_as_it_may() {
    let repository = Repository::of_fixtures();
    // A list of 200 million elements.
    let much = "toString (builtins.length (builtins.foldl' (a: _: a ++ a) [ 1 2 3 ] \
                (builtins.genList (x: x) 26)))";
    repository.commit(&set(much));
    let server =
        Setup::new(repository.source()).variable("NIXERY_NIX_MAX_MEMORY_MB", "300").start();
    let response = pull(&server, "trunk");
    let (code, message) = response.error();
    assert_eq!((response.status, code.as_str()), (403, "DENIED"), "{message}");
    assert!(message.contains("out of memory"), "{message}");
}
