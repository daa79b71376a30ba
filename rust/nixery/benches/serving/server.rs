//! The real server in a process of its own.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread;
use std::time::Duration;

use nixery::config::settings::SETTINGS;
use serde_json::Value;

use crate::Result;

/// A server that runs until this is dropped.
pub(crate) struct Server {
    pub(crate) process: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts the server with everything it writes below `scratch`, and `settings`, in
    /// lines of TOML, the package source among them. Everything that it logs once it
    /// listens is given to `heard`.
    pub(crate) fn start(
        scratch: &Path,
        settings: &str,
        heard: impl Fn(Value) + Send + 'static,
    ) -> Result<Self> {
        let configuration = scratch.join("nixery.toml");
        let directory = scratch.display();
        let text = format!(
            "server = {{ address = \"127.0.0.1\", port = 0 }}\n\
             storage.path = \"{directory}/storage\"\n\
             cache.path = \"{directory}/cache\"\n\
             nix.roots = \"{directory}/roots\"\n\
             log.format = \"json\"\n\
             {settings}\n"
        );
        fs::write(&configuration, text)?;
        let program = std::env::var_os("NIXERY_BENCH_SERVER");
        let program = program.unwrap_or_else(|| env!("CARGO_BIN_EXE_nixery").into());
        let mut command = Command::new(program);
        // What the caller has set for another server.
        for setting in SETTINGS {
            command.env_remove(setting.variable);
        }
        let mut path = OsString::from(builder());
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        command.env("PATH", path).arg("--config").arg(configuration);
        // The packages are in store paths of their own. A variable, as older servers have no
        // such setting.
        command.env("NIXERY_NIX_RESTRICT_EVAL", "false");
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn()?;
        let log = process.stderr.take().ok_or("the server has no log")?;
        let mut lines = BufReader::new(log).lines();
        let address = address(&mut lines)?;
        thread::spawn(move || {
            for line in lines.map_while(std::io::Result::ok) {
                show(&line);
                heard(serde_json::from_str(&line).unwrap_or_default());
            }
        });
        Ok(Self { process, address })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The CPU time that it has used.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        // The program's name, in parentheses, may have anything in it.
        let (_, fields) = stat.rsplit_once(')').ok_or("/proc has no CPU times")?;
        let mut ticks = 0;
        for field in fields.split_whitespace().skip(11).take(2) {
            ticks += field.parse::<u64>()?;
        }
        Ok(Duration::from_secs(ticks) / u32::try_from(rustix::param::clock_ticks_per_second())?)
    }

    /// The most memory that it had, in KiB.
    pub(crate) fn peak_memory(&self) -> Result<u64> {
        self.status("VmHWM:")
    }

    /// A number of its status (proc(5)).
    pub(crate) fn status(&self, field: &str) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let number = line.and_then(|line| line.split_whitespace().next());
        Ok(number.ok_or_else(|| format!("/proc has no {field}"))?.parse()?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The directory of the builder.
pub(crate) fn builder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../nix/prepare-image")
}

/// Reads the log up to where it says where the server listens.
fn address(log: &mut Lines<BufReader<ChildStderr>>) -> Result<SocketAddr> {
    for line in log {
        let line = line?;
        let event: Value = serde_json::from_str(&line).unwrap_or_default();
        match event["address"].as_str() {
            Some(address) => return Ok(address.parse()?),
            None => show(&line),
        }
    }
    Err("the server ended before it listened".into())
}

/// Shows what matters of the server's log.
fn show(line: &str) {
    if !line.contains("\"level\":\"INFO\"") {
        eprintln!("{line}");
    }
}
