//! Package sets: the offline one of real programs, and a small quick one.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

use super::run;

/// Where a server under test takes packages from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// A directory, or a path in the Nix store.
    Path(PathBuf),
    /// A git repository.
    Repository(String),
    /// A branch, or commit, of nixpkgs.
    Channel(String),
}

/// What the tests use of the offline set. Built once, so that no test measures
/// that.
const USED: [&str; 7] = ["bashInteractive", "coreutils", "moreutils", "nano", "git", "jq", "htop"];

/// The top of the repository.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Settings for Nix without a network, and without users to build as. Those of
/// the caller win, so that a machine that is set up otherwise can be used.
pub(crate) fn nix_config() -> String {
    env::var("NIX_CONFIG")
        .unwrap_or_else(|_| "sandbox = false\nsubstituters =\nbuild-users-group =\n".to_owned())
}

/// The offline package set, as a path in the Nix store: prepared where
/// `NIXERY_TEST_PACKAGES` doesn't name one that is.
pub(crate) fn debian() -> Source {
    static SET: OnceLock<PathBuf> = OnceLock::new();
    let set = SET.get_or_init(|| {
        let directory = env::var_os("NIXERY_TEST_PACKAGES").map_or_else(
            || {
                let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian-packages");
                run(Command::new(repository().join("checks/debian-packages/prepare.sh"))
                    .arg(&directory));
                directory
            },
            PathBuf::from,
        );
        let mut build = nix("nix-build");
        build.arg("--no-out-link").args(["--max-jobs", "2"]).arg(&directory);
        run(build.args(USED.iter().flat_map(|name| ["-A", name])));
        directory
    });
    Source::Path(set.clone())
}

/// A small package set without dependencies, as a path in the Nix store: what
/// was made from it is kept for ever.
pub(crate) fn fixtures() -> Source {
    static SET: OnceLock<PathBuf> = OnceLock::new();
    let set = SET.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/packages");
        let output = run(nix("nix-store").arg("--add").arg(source));
        PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
    });
    Source::Path(set.clone())
}

/// A git repository that is a package set, gone when dropped.
pub(crate) struct Repository {
    directory: TempDir,
}

impl Repository {
    /// One whose branch `trunk` has the small package set.
    pub(crate) fn of_fixtures() -> Self {
        let set = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/packages/default.nix");
        let repository = Self { directory: TempDir::new().unwrap() };
        repository.git(&["init", "-q", "-b", "trunk"]);
        repository.commit(&fs::read_to_string(set).unwrap());
        repository
    }

    /// Commits `content` as the package set to the branch that is checked out, and says
    /// which commit that is.
    pub(crate) fn commit(&self, content: &str) -> String {
        fs::write(self.path().join("default.nix"), content).unwrap();
        self.git(&["add", "."]);
        self.git(&["commit", "-q", "--allow-empty", "-m", "next"]);
        self.git(&["rev-parse", "HEAD"])
    }

    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        git(self.path(), arguments)
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn url(&self) -> String {
        format!("file://{}", self.path().display())
    }

    pub(crate) fn source(&self) -> Source {
        Source::Repository(self.url())
    }
}

fn nix(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("NIX_CONFIG", nix_config()).env("NIX_PATH", "");
    command
}

/// Runs git, in `directory`, untouched by how the machine's user set it up.
pub(crate) fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = run(Command::new("git")
        .current_dir(directory)
        .args(["-c", "user.name=Test", "-c", "user.email=test@example.org"])
        .args(arguments)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null"));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
