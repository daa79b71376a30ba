//! What runs, and what it holds.

use std::fs;
use std::path::PathBuf;

/// The variable by which a server and all that it starts are known.
pub(super) const MARK: &str = "SOAK_SERVER";

/// The command lines of all processes that have the mark in their environment.
pub(super) fn marked(mark: &str) -> Vec<String> {
    let wanted = format!("{MARK}={mark}");
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
        if read("environ").split(|&byte| byte == 0).any(|one| one == wanted.as_bytes()) {
            found.push(String::from_utf8_lossy(&read("cmdline")).replace('\0', " "));
        }
    }
    found
}

/// Children of a process, of all of its threads.
pub(super) fn children(process: u32) -> usize {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let of = |task: PathBuf| fs::read_to_string(task.join("children")).unwrap_or_default();
    tasks.map(|task| of(task.path()).split_whitespace().count()).sum()
}

/// What a process takes of the system.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    pub(super) files: usize,
    pub(super) threads: u64,
    pub(super) resident_kib: u64,
    pub(super) children: usize,
}

impl Usage {
    pub(super) fn of(process: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().next().unwrap().parse().unwrap()
        };
        Self {
            files: fs::read_dir(format!("/proc/{process}/fd")).unwrap().count(),
            threads: field("Threads:"),
            resident_kib: field("VmRSS:"),
            children: children(process),
        }
    }
}
