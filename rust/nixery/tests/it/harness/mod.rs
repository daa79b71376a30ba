//! What the tests share: packages, a server, a client.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

mod client;
#[path = "../../support/emulator.rs"]
mod emulator;
#[path = "../../support/fault_proxy.rs"]
#[expect(dead_code, reason = "the tests of the storage use the rest")]
mod fault_proxy;
mod packages;
mod server;

pub(crate) use client::{Response, digest_of, get, head, pipe, request, run, try_request};
pub(crate) use emulator::{ACCOUNT, BUCKET, Emulator};
pub(crate) use fault_proxy::{Fault, FaultProxy, Rule};
pub(crate) use packages::{Repository, Source, debian, fixtures, git, nix_config, repository};
pub(crate) use server::{Server, Setup};

/// Waits until something has happened.
pub(crate) fn wait_until(what: &str, mut happened: impl FnMut() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < Duration::from_mins(1), "{what} doesn't happen");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A builder that counts its calls.
pub(crate) const COUNTING: &str = r#"
[ "$1" = --check ] || echo call >> "$STATE_DIRECTORY/calls"
exec "$REAL_BUILDER" "$@"
"#;

/// A builder that counts how often it lists names, which `calls` tells.
pub(crate) const LISTING: &str = r#"
if [ "$1" != --check ]; then
  request=$(cat)
  case $request in *'"names_in":'*) echo call >> "$STATE_DIRECTORY/calls" ;; esac
  printf %s "$request" | "$REAL_BUILDER"
else
  exec "$REAL_BUILDER" "$@"
fi"#;

/// A builder that only says that it could be called.
pub(crate) const BROKEN: &str = "[ \"$1\" = --check ] || exit 70";

/// How often the counting builder was called.
pub(crate) fn calls(server: &Server) -> usize {
    fs::read_to_string(server.state.path().join("calls")).map_or(0, |text| text.lines().count())
}

/// The digests of an image's layers, as file names.
pub(crate) fn layers(server: &Server, image: &str) -> Vec<String> {
    let manifest = server.manifest(image).json();
    let layers = manifest["layers"].as_array().unwrap();
    layers.iter().map(|layer| layer["digest"].as_str().unwrap()[7..].to_owned()).collect()
}

/// Whether a process with this command line is running.
pub(crate) fn is_running(command: &str) -> bool {
    fs::read_dir("/proc").unwrap().any(|entry| {
        let line = fs::read(entry.unwrap().path().join("cmdline")).unwrap_or_default();
        line.split(|&byte| byte == 0)
            .collect::<Vec<_>>()
            .join(&b' ')
            .starts_with(command.as_bytes())
    })
}
