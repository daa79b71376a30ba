//! What the server holds at a moment.

use std::fmt;
use std::fs;

use super::server::Server;
use crate::Result;

/// Memory, and what could leak.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resources {
    memory: u64,
    files: usize,
    threads: u64,
}

impl Resources {
    pub(crate) fn of(server: &Server) -> Result<Self> {
        let files = fs::read_dir(format!("/proc/{}/fd", server.process.id()))?.count();
        let (memory, threads) = (server.status("VmRSS:")?, server.status("Threads:")?);
        Ok(Self { memory, files, threads })
    }
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { memory, files, threads } = self;
        write!(f, "{} MiB, {files} open files, {threads} threads", memory >> 10)
    }
}
