//! The children of this process, by `/proc` (proc(5)).

use std::ffi::OsString;
use std::fs;

use rustix::process::{Pid, getpid};

/// A process, told from later ones with its number by when it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: Pid,
    /// Clock ticks from the start of the machine.
    began: u64,
}

impl Process {
    /// The process with a number, and its parent's number.
    fn read(pid: Pid) -> Option<(Self, String)> {
        let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
        // The name of the program is in parentheses, and may be anything.
        let end = stat.iter().rposition(|&byte| byte == b')')?;
        let fields = String::from_utf8_lossy(&stat[end + 1..]).into_owned();
        let mut fields = fields.split_whitespace();
        // Fields 4 and 22 of all.
        let parent = fields.nth(1)?.to_owned();
        let began = fields.nth(17)?.parse().ok()?;
        Some((Self { pid, began }, parent))
    }

    /// The process with a number.
    pub(super) fn of(pid: Pid) -> Option<Self> {
        Self::read(pid).map(|(process, _)| process)
    }
}

/// The processes whose parent this is; those too that have ended and nobody waited for.
pub(super) fn children() -> Vec<Process> {
    let this = getpid().to_string();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let child = |name: OsString| {
        let (process, parent) = Process::read(Pid::from_raw(name.to_str()?.parse().ok()?)?)?;
        (parent == this).then_some(process)
    };
    entries.flatten().filter_map(|entry| child(entry.file_name())).collect()
}
