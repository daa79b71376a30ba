//! Ending a program, and all that it has started.

use std::io;

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid,
};
use tokio::process::Child;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use super::{GRACE, supervisor};

/// A process group, which is ended when this is dropped.
pub(super) struct Group {
    leader: Option<Pid>,
    /// Whether the leader is a supervisor, which ends all that it runs and then itself.
    is_supervised: bool,
}

impl Group {
    pub(super) fn of(child: &Child, is_supervised: bool) -> Self {
        Self { leader: pid(child), is_supervised }
    }

    /// Asks all of the group to end, and waits for its leader. What hasn't
    /// ended after [`GRACE`] is killed. Nix ends its builds when asked to, but
    /// can't when killed, as they are in groups of their own.
    pub(super) async fn end(&mut self, child: &mut Child) {
        self.signal(Signal::TERM);
        let patience = if self.is_supervised { GRACE + 2 * supervisor::AFTER_KILL } else { GRACE };
        let _ = timeout(patience, ended(child)).await;
        self.kill();
        let _ = child.wait().await;
    }

    /// Kills what is left of it. Nothing may have waited for the leader yet.
    pub(super) fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.leader = None;
    }

    fn signal(&self, signal: Signal) {
        let Some(leader) = self.leader else { return };
        // Fails where nothing of the group is left, as it should be.
        let _ = kill_process_group(leader, signal);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Tokio waits for children that nobody waits for.
        match (self.leader, self.is_supervised) {
            (Some(leader), true) => drop(kill_process(leader, Signal::TERM)),
            (Some(_), false) => self.kill(),
            (None, _) => {}
        }
    }
}

/// Waits until a child has ended, and leaves it to be waited for.
pub(super) async fn ended(child: &Child) -> io::Result<()> {
    let mut children = signal(SignalKind::child())?;
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    while let Some(pid) = pid(child) {
        if waitid(WaitId::Pid(pid), options)?.is_some() {
            break;
        }
        children.recv().await;
    }
    Ok(())
}

/// The number of a child that isn't waited for yet.
pub(super) fn pid(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?))
}
