//! What is left of a builder whose supervisor is gone.
//!
//! Builds may be of the server's own user, and kill the supervisor. The server is a
//! subreaper too (`PR_SET_CHILD_SUBREAPER`, prctl(2)), so that what the supervisor left
//! becomes its child; and it ends all children that it didn't start itself.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Signal, WaitOptions, getpid, kill_process, set_child_subreaper, waitpid};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};

use super::children::{Process, children};
use super::group::pid;
use super::supervisor;

/// How often it is looked for them where no signal says that a child has ended.
const INTERVAL: Duration = Duration::from_secs(1);

/// How often while some are ending.
const WHILE_ENDING: Duration = Duration::from_millis(20);

/// The children that are the server's own; `None` while nobody is ended.
static OWN: Mutex<Option<Vec<Process>>> = Mutex::new(None);

fn own() -> MutexGuard<'static, Option<Vec<Process>>> {
    OWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a program that is not taken for an orphan.
pub(super) fn spawn(command: &mut Command) -> io::Result<Child> {
    // Held, so that nobody looks between the start and the note of it.
    let mut own = own();
    let child = command.spawn()?;
    if let Some(own) = &mut *own {
        own.extend(pid(&child).and_then(Process::of));
    }
    Ok(child)
}

/// From now on, ends what becomes a child of this process without having been started by
/// [`run`](super::run). Whoever started this program may have left it children, as a
/// shell that `exec`s does: they stay.
///
/// # Errors
///
/// The process can't adopt orphans, or hear when its children end.
pub fn end_orphans() -> io::Result<()> {
    let mut ended = signal(SignalKind::child())?;
    *own() = Some(children());
    set_child_subreaper(Some(getpid()))?;
    tokio::spawn(async move {
        loop {
            let _ = timeout(INTERVAL, ended.recv()).await;
            end_all().await;
        }
    });
    Ok(())
}

/// Ends the orphans that there are, and those that they leave, for a few seconds at most:
/// what can't be killed is of another user.
async fn end_all() {
    let _ = timeout(supervisor::AFTER_KILL, async {
        while sweep() > 0 {
            sleep(WHILE_ENDING).await;
        }
    })
    .await;
}

/// Kills orphans and waits for those that have ended. Returns how many are left.
fn sweep() -> usize {
    let mut own = own();
    let Some(own) = &mut *own else { return 0 };
    let all = children();
    // What has been waited for is nobody's child any more.
    own.retain(|process| all.contains(process));
    let orphans = all.into_iter().filter(|process| !own.contains(process));
    let is_left = |process: &Process| {
        let _ = kill_process(process.pid, Signal::KILL);
        // Nobody else waits for it, so its number is still its own.
        !matches!(waitpid(Some(process.pid), WaitOptions::NOHANG), Ok(Some(_)))
    };
    let left = orphans.filter(is_left).count();
    if left > 0 {
        tracing::debug!(left, "ending processes of a builder whose supervisor is gone");
    }
    left
}
