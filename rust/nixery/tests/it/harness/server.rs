//! A server of its own for each test.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::packages::repository;
use super::{Response, Source, digest_of, get, nix_config};

/// How long a server may take to start.
const START: Duration = Duration::from_secs(30);

/// How a server is started.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) source: Source,
    /// Further environment variables.
    pub(crate) variables: Vec<(String, String)>,
    /// Instead of the real builder: a shell script, for which `$REAL_BUILDER` is
    /// that and `$STATE_DIRECTORY` the server's.
    pub(crate) builder: Option<String>,
    /// What runs the server: a program with arguments before its own.
    pub(crate) runner: Vec<String>,
}

impl Setup {
    pub(crate) fn new(source: Source) -> Self {
        Self { source, variables: Vec::new(), builder: None, runner: Vec::new() }
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn builder(mut self, script: &str) -> Self {
        self.builder = Some(script.to_owned());
        self
    }

    /// Has the server be given a socket as systemd does it: what these lines of Python
    /// make, as `listener`.
    pub(crate) fn socket(mut self, make: &str) -> Self {
        let script = format!(
            "import os, socket, sys
{make}
if listener.fileno() != 3:
    os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[1], sys.argv[1:])"
        );
        self.runner = ["python3", "-c", &script].map(str::to_owned).to_vec();
        self
    }

    /// Starts a server with a state directory of its own.
    pub(crate) fn start(&self) -> Server {
        let state = Arc::new(TempDir::new().unwrap());
        self.start_in(&state)
    }

    /// Starts a server, with another one's state directory perhaps.
    pub(crate) fn start_in(&self, state: &Arc<TempDir>) -> Server {
        let started = self.try_start_in(state);
        started.unwrap_or_else(|(status, log)| panic!("it ended with {status}: {log}"))
    }

    /// Starts a server; how it ended and what it said if it does not run.
    pub(crate) fn try_start_in(
        &self,
        state: &Arc<TempDir>,
    ) -> Result<Server, (ExitStatus, String)> {
        let mut command = self.command(state.path());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (announce, announced) = channel();
        let reader = {
            let log = Arc::clone(&log);
            thread::spawn(move || {
                for line in lines.map_while(Result::ok) {
                    if let Some(address) = address(&line) {
                        let _ = announce.send(address);
                    }
                    log.lock().unwrap().push(line);
                }
            })
        };
        match announced.recv_timeout(START) {
            Ok(address) => Ok(Server { child, address, log, state: Arc::clone(state) }),
            Err(RecvTimeoutError::Disconnected) => {
                reader.join().unwrap();
                Err((child.wait().unwrap(), log.lock().unwrap().join("\n")))
            }
            Err(RecvTimeoutError::Timeout) => {
                child.kill().unwrap();
                panic!("not started in {START:?}: {:?}", log.lock().unwrap());
            }
        }
    }

    fn command(&self, state: &Path) -> Command {
        let binary = env!("CARGO_BIN_EXE_nixery").to_owned();
        let mut words = self.runner.iter().chain([&binary]);
        let mut command = Command::new(words.next().unwrap());
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("NIXERY_") {
                command.env_remove(name);
            }
        }
        command
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // Neither a file of this machine nor its variables play a part.
            .env("NIXERY_CONFIG", "/dev/null")
            .env("PATH", self.path(state))
            .env("NIX_CONFIG", nix_config())
            .env("STATE_DIRECTORY", state)
            .env("NIXERY_ADDRESS", "127.0.0.1")
            .env("PORT", "0")
            .env("NIX_TIMEOUT", "300")
            .env("NIXERY_LOG_FORMAT", "json");
        match &self.source {
            Source::Path(path) => command.env("NIXERY_PKGS_PATH", path),
            Source::Repository(url) => command.env("NIXERY_PKGS_REPO", url),
            Source::Channel(channel) => command.env("NIXERY_CHANNEL", channel),
        };
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// PATH with the builder in front.
    fn path(&self, state: &Path) -> OsString {
        let real = repository().join("nix/prepare-image");
        let directory = match &self.builder {
            None => real,
            Some(script) => {
                let directory = state.join("bin");
                fs::create_dir_all(&directory).unwrap();
                let file = directory.join("nixery-prepare-image");
                let real = real.join("nixery-prepare-image");
                // The builder doesn't get the server's variables.
                let script = format!(
                    "#!/bin/sh\nREAL_BUILDER={}\nSTATE_DIRECTORY={}\n{script}\n",
                    real.display(),
                    state.display()
                );
                fs::write(&file, script).unwrap();
                fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
                directory
            }
        };
        let inherited = env::var_os("PATH").unwrap_or_default();
        env::join_paths([directory].into_iter().chain(env::split_paths(&inherited))).unwrap()
    }
}

/// The address in the message that says it serves.
fn address(line: &str) -> Option<String> {
    let entry: Value = serde_json::from_str(line).ok()?;
    (entry["message"] == "serving").then(|| entry["address"].as_str().unwrap().to_owned())
}

/// A running server, killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
    log: Arc<Mutex<Vec<String>>>,
    pub(crate) state: Arc<TempDir>,
}

impl Server {
    pub(crate) fn get(&self, path: &str) -> Response {
        get(&self.address, path)
    }

    /// The manifest of an image, which must be had.
    pub(crate) fn manifest(&self, image: &str) -> Response {
        let response = self.get(&format!("/v2/{image}/manifests/latest"));
        assert_eq!(response.status, 200, "{image}: {}", response.text());
        response
    }

    /// Fetches the layers and the configuration that a manifest of an image names, and
    /// checks that they are what their digests say.
    pub(crate) fn fetch_parts(&self, image: &str, manifest: &Value) {
        let layers = manifest["layers"].as_array().unwrap();
        for blob in layers.iter().chain([&manifest["config"]]) {
            let digest = blob["digest"].as_str().unwrap();
            let content = self.get(&format!("/v2/{image}/blobs/{digest}"));
            assert_eq!((content.status, &digest_of(&content.body)[..]), (200, digest), "{image}");
        }
    }

    /// The files with blobs.
    pub(crate) fn blobs(&self) -> PathBuf {
        self.state.path().join("storage/layers")
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// The most memory that it has had, in bytes (`VmHWM`, proc(5)).
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// The states of its child processes, such as `S (sleep)`.
    pub(crate) fn children(&self) -> Vec<String> {
        let parent = format!("PPid:\t{}", self.child.id());
        let state = |status: String| {
            let lines: Vec<&str> = status.lines().collect();
            let state = lines.iter().find_map(|line| line.strip_prefix("State:\t"));
            lines.contains(&&*parent).then(|| state.unwrap().to_owned())
        };
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let statuses = processes.map(|entry| fs::read_to_string(entry.path().join("status")));
        statuses.flatten().filter_map(state).collect()
    }

    /// Whether it has logged something with this in it.
    pub(crate) fn has_logged(&self, text: &str) -> bool {
        self.log().iter().any(|entry| entry.to_string().contains(text))
    }

    /// What it has logged, entry by entry.
    pub(crate) fn log(&self) -> Vec<Value> {
        let log = self.log.lock().unwrap();
        log.iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Kills it at once, as a crash or the kernel would.
    pub(crate) fn kill(mut self) -> Arc<TempDir> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        Arc::clone(&self.state)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < Duration::from_mins(1), "it doesn't end");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
