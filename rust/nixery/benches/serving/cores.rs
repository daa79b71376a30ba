//! One core for the server and one for the load.

use std::fmt;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::Result;

/// The first two cores that this process may use.
pub(crate) struct Cores {
    server: usize,
    load: usize,
}

impl Cores {
    pub(crate) fn choose() -> Result<Self> {
        let allowed = sched_getaffinity(None)?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core));
        let server = cores.next().ok_or("this process may use no core")?;
        Ok(Self { server, load: cores.next().unwrap_or(server) })
    }

    /// Moves this thread, and what it starts from now on.
    pub(crate) fn move_to_server_core(&self) -> Result<()> {
        move_to(self.server)
    }

    /// Moves this thread, and what it starts from now on.
    pub(crate) fn move_to_load_core(&self) -> Result<()> {
        move_to(self.load)
    }
}

fn move_to(core: usize) -> Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core);
    Ok(sched_setaffinity(None, &cores)?)
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.server == self.load {
            return write!(f, "there is only core {}, for the server and the load", self.load);
        }
        write!(f, "server on core {}, load on core {}", self.server, self.load)
    }
}
