//! An emulator of Cloud Storage of its own for each test (`checks/gcs-emulator`).

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// The bucket that there is.
pub(crate) const BUCKET: &str = "test-bucket";

/// The account that it knows, if it knows one.
pub(crate) const ACCOUNT: &str = "nixery@test-project.iam.gserviceaccount.com";

/// A running emulator; it ends when dropped, and when this process ends.
pub(crate) struct Emulator {
    child: Child,
    url: String,
    directory: TempDir,
}

impl Emulator {
    /// One that lets everybody do everything.
    pub(crate) fn open_to_all() -> Self {
        Self::start(&["--public"], &[])
    }

    /// One that knows an account, and refuses whoever isn't that.
    pub(crate) fn with_account(arguments: &[&str]) -> Self {
        Self::start(&["--write-account"], arguments)
    }

    fn start(first: &[&str], more: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../checks/gcs-emulator/run");
        let mut command = Command::new(script);
        command.args(["--bucket", BUCKET, "--end-with-stdin"]).args(first);
        if first.contains(&"--write-account") {
            command.arg(directory.path().join("account.json"));
        }
        let mut child = command
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        assert!(url.starts_with("http://"), "{command:?} didn't start: {url:?}");
        Self { child, url: url.trim().to_owned(), directory }
    }

    /// Its URL, without a slash at the end.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.url["http://".len()..].parse().unwrap()
    }

    /// The account's credentials file.
    pub(crate) fn account_file(&self) -> PathBuf {
        self.directory.path().join("account.json")
    }

    /// The account's private key.
    pub(crate) fn key_file(&self) -> PathBuf {
        self.directory.path().join("account.json.pem")
    }

    /// Writes a file beside these.
    pub(crate) fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
