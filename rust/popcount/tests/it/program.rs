//! Running the program.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::store::{self, store};

/// A directory with a list of store paths, and the state and the table of runs.
pub(crate) struct Place {
    directory: TempDir,
}

impl Place {
    /// With the list of the packages' closure.
    pub(crate) fn new() -> Self {
        Self::with_list(&(store().closure.join("\n") + "\n"))
    }

    pub(crate) fn with_list(list: &str) -> Self {
        let place = Self { directory: TempDir::new().unwrap() };
        fs::write(place.list(), list).unwrap();
        place
    }

    pub(crate) fn list(&self) -> PathBuf {
        self.directory.path().join("store-paths")
    }

    pub(crate) fn table(&self) -> PathBuf {
        self.directory.path().join("popularity.json")
    }

    /// The file of records, of the only cache that there is one of.
    pub(crate) fn records_file(&self) -> Option<PathBuf> {
        let mut caches = fs::read_dir(self.directory.path().join("state")).ok()?;
        let cache = caches.next()?.unwrap();
        assert!(caches.next().is_none());
        Some(cache.path().join("references-1"))
    }

    pub(crate) fn records(&self) -> Vec<String> {
        let content = self.records_file().and_then(|file| fs::read_to_string(file).ok());
        content.unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// Counts the list by the cache at `url`, with `options` more.
    pub(crate) fn command(&self, url: &str, options: &[&str]) -> Command {
        let mut command = program();
        command.arg(self.list()).args(["--cache", url]).arg("--output").arg(self.table());
        command.arg("--state").arg(self.directory.path().join("state")).args(options);
        command
    }

    pub(crate) fn run(&self, url: &str, options: &[&str]) -> Run {
        Run::of(&mut self.command(url, options))
    }

    /// The table, if there is one.
    pub(crate) fn counts(&self) -> Option<BTreeMap<String, u64>> {
        Some(serde_json::from_slice(&fs::read(self.table()).ok()?).unwrap())
    }

    /// Runs until there are so many records.
    pub(crate) fn start_until(&self, records: usize, url: &str, options: &[&str]) -> Child {
        let child = self.command(url, options).stderr(Stdio::piped()).spawn().unwrap();
        let begin = Instant::now();
        while self.records().len() < records {
            assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", self.records());
            thread::sleep(Duration::from_millis(10));
        }
        child
    }
}

/// The program, with nothing of the caller's that it could find by itself.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nixery-popcount"));
    command.env("HOME", "/homeless").env_remove("XDG_CACHE_HOME");
    command.env("NIX_CONFIG", store::nix_config()).env("no_proxy", "127.0.0.1");
    command
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) status: Option<i32>,
    pub(crate) output: String,
    pub(crate) errors: String,
}

impl Run {
    pub(crate) fn of(command: &mut Command) -> Self {
        command.output().unwrap().into()
    }

    /// Asserts the exit status, and that all of `texts` were said.
    #[track_caller]
    pub(crate) fn ends(&self, status: i32, texts: &[&str]) {
        assert_eq!(self.status, Some(status), "{}", self.errors);
        for text in texts {
            assert!(self.errors.contains(text), "{text:?} is not in {}", self.errors);
        }
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (output, errors, status) =
            (text(output.stdout), text(output.stderr), output.status.code());
        Self { status, output, errors }
    }
}

/// Sends a signal as `kill` does.
pub(crate) fn kill(child: &Child, signal: &str) {
    let script = format!("kill {signal} {}", child.id());
    assert!(Command::new("sh").arg("-c").arg(script).status().unwrap().success());
}

/// The names of all that is in the directory of `path`.
pub(crate) fn beside(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path.parent().unwrap()).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
