//! The process between the server and the builder: the server's own program once more.
//!
//! A process group is left by whoever calls setsid(2), as Nix does for each build, and a
//! process whose parent has ended is nobody's. The supervisor is the *subreaper* of what
//! it runs (`PR_SET_CHILD_SUBREAPER`, prctl(2)): orphans become its own children, so it
//! can end all of them, and only them. It also lowers what they may take from the server,
//! and ends them when the server is gone, however that ended. Should the supervisor be
//! killed, they become the server's, which ends them ([`super::end_orphans`]).

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{
    DumpableBehavior, Pid, Resource, Rlimit, Signal, WaitOptions, getpid, getppid, getrlimit,
    kill_process, kill_process_group, nice, set_child_subreaper, set_dumpable_behavior, setrlimit,
    wait,
};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, timeout};

use super::GRACE;
use super::children::children;

/// What the server's program is called with to be a supervisor. What follows: the
/// server's process, [`Limits`], the program, and its arguments.
pub(super) const ARGUMENT: &str = "--supervise";

/// How long processes may take to end after they were killed.
pub(super) const AFTER_KILL: Duration = Duration::from_secs(5);

/// How often it is looked whether they have.
const INTERVAL: Duration = Duration::from_millis(5);

/// How often it is looked whether the server is there.
const PARENT_INTERVAL: Duration = Duration::from_millis(200);

/// What is added to `oom_score_adj`, of at most 1000 (proc(5)): where memory is short, the
/// kernel ends the builder and not the server.
const OOM_SCORE: i32 = 500;

/// The status for faults of the supervisor's own, as sysexits(3) has it.
const OS_ERROR: u8 = 71;

/// What a program may take from others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// By how much nicer it is than the server (nice(2)), 0 to 19.
    pub nice: u8,
    /// Bytes of memory for each of its processes; `None`: any number.
    pub memory: Option<u64>,
}

impl Limits {
    pub(super) fn arguments(self) -> [String; 2] {
        [self.nice.to_string(), self.memory.unwrap_or_default().to_string()]
    }

    fn parse(nice: &str, memory: &str) -> Option<Self> {
        let memory: u64 = memory.parse().ok()?;
        Some(Self { nice: nice.parse().ok()?, memory: (memory > 0).then_some(memory) })
    }

    fn apply(self) -> io::Result<()> {
        if self.nice > 0 {
            nice(self.nice.into())?;
        }
        if let Some(memory) = self.memory {
            // Of writable memory that is the process's own (getrlimit(2), RLIMIT_DATA):
            // address space that is only reserved doesn't count.
            let limit = getrlimit(Resource::Data);
            let memory = limit.maximum.map_or(memory, |most| most.min(memory));
            setrlimit(Resource::Data, Rlimit { current: Some(memory), maximum: Some(memory) })?;
        }
        Ok(())
    }
}

/// Starts the builder as what the kernel ends first where memory is short; this process,
/// without which nobody would end the rest, is as the server is.
fn spawn(command: &mut Command) -> io::Result<Child> {
    const FILE: &str = "/proc/self/oom_score_adj";
    let score = || fs::read_to_string(FILE).ok()?.trim().parse::<i32>().ok();
    // Only advice: where it is refused, the kernel chooses by itself. Children have what
    // their parent has when they are started.
    let before = score();
    if let Some(score) = before {
        let _ = fs::write(FILE, (score + OOM_SCORE).min(1000).to_string());
    }
    let child = command.spawn();
    if let Some(score) = before {
        let _ = fs::write(FILE, score.to_string());
    }
    child
}

/// Is a supervisor, if `arguments`, with the program's name in front, say so: what the
/// process is to end with.
pub fn run_if_asked(arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let mut arguments = arguments.skip(1);
    if arguments.next()? != ARGUMENT {
        return None;
    }
    let code = supervise(arguments).unwrap_or_else(|error| {
        say(&format!("can't supervise the builder: {error}"));
        OS_ERROR
    });
    Some(code.into())
}

/// Says something to the server, on standard error.
fn say(what: &str) {
    // That may be closed; there is nothing left to do then.
    let _ = writeln!(io::stderr(), "nixery: {what}");
}

fn supervise(mut arguments: impl Iterator<Item = OsString>) -> io::Result<u8> {
    let mut text = || arguments.next().and_then(|argument| argument.into_string().ok());
    let (server, nice, memory) = (text(), text(), text());
    let limits = Limits::parse(&nice.unwrap_or_default(), &memory.unwrap_or_default());
    let (Some(server), Some(limits), Some(program)) = (server, limits, arguments.next()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let parent = getppid().filter(|parent| parent.to_string() == server);
    let Some(parent) = parent else { return Ok(OS_ERROR) };
    set_child_subreaper(Some(getpid()))?;
    limits.apply()?;
    let mut command = Command::new(&program);
    command.args(arguments).process_group(0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let status = runtime.block_on(watch(command, parent))?;
    let program = program.display();
    Ok(match status {
        Err(error) => {
            say(&format!("can't run {program}, is it on PATH? {error}"));
            OS_ERROR
        }
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => u8::try_from(code).unwrap_or(OS_ERROR),
            // As shells say it.
            (None, Some(signal)) => {
                say(&format!("{program} was ended by signal {signal}"));
                u8::try_from(128 + signal).unwrap_or(OS_ERROR)
            }
            (None, None) => OS_ERROR,
        },
    })
}

/// Runs `command` until it ends, or has to; and ends all that it leaves. The inner result
/// is an error if it can't be run.
async fn watch(mut command: Command, parent: Pid) -> io::Result<io::Result<ExitStatus>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut child = match spawn(&mut command) {
        Ok(child) => child,
        Err(error) => return Ok(Err(error)),
    };
    // A build of the same user shall not have this process do something else (ptrace(2)).
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let ended = tokio::select! {
        status = child.wait() => Some(status?),
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        _ = hangup.recv() => None,
        () = end_of(parent) => None,
    };
    let status = if let Some(status) = ended {
        status
    } else {
        // Nix ends its builds when asked to, but can't when killed.
        if let Some(group) = group {
            let _ = kill_process_group(group, Signal::TERM);
        }
        match timeout(GRACE, child.wait()).await {
            Ok(status) => status?,
            Err(_) => ExitStatus::from_raw(Signal::KILL.as_raw()),
        }
    };
    if !kill_children().await {
        say("some of the builder's processes don't end");
    }
    Ok(Ok(status))
}

/// Waits until this process has another parent than it had, as that has ended.
///
/// Not told by a signal (`PR_SET_PDEATHSIG`): that comes when the thread ends which
/// started this process.
async fn end_of(parent: Pid) {
    while getppid() == Some(parent) {
        sleep(PARENT_INTERVAL).await;
    }
}

/// Kills all children, which orphans become, until there are none; whether there are.
///
/// What isn't waited for keeps its number, so that no other process can be hit; that is
/// why only children are killed, and not their children before they are orphans.
async fn kill_children() -> bool {
    let begin = Instant::now();
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => continue,
            Ok(None) => {}
            // There are no children.
            Err(_) => return true,
        }
        if begin.elapsed() > AFTER_KILL {
            return false;
        }
        for child in children() {
            let _ = kill_process(child.pid, Signal::KILL);
        }
        sleep(INTERVAL).await;
    }
}
