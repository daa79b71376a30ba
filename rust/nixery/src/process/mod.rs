//! Running a program of which nothing is left when it has ended.

mod adopted;
mod children;
mod environment;
mod lines;
mod supervisor;

use std::ffi::OsStr;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid,
};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub use adopted::end_orphans;
#[cfg(test)]
pub(crate) use environment::is_passed_on;
use lines::Lines;
pub(crate) use lines::turns_text;
pub use supervisor::{Limits, run_if_asked};

/// Most that a program may print on standard output. The reply for a closure of
/// 10,000 paths has about 5 MB.
const MAX_OUTPUT: u64 = 32 << 20;

/// How long programs have to end by themselves when told to.
const GRACE: Duration = Duration::from_secs(5);

/// How long output is waited for after the program ended: children that it
/// left behind may hold it open.
const AFTER_END: Duration = Duration::from_secs(1);

/// A program to run, with the environment that is good for it.
#[derive(Debug)]
pub(crate) struct Program {
    name: String,
    command: Command,
    is_supervised: bool,
}

impl Program {
    /// A program that stays in its process group.
    pub(crate) fn new(name: &str) -> Self {
        let mut command = Command::new(name);
        command.env_clear().envs(environment::passed_on(std::env::vars_os(), &[]));
        Self { name: name.to_owned(), command, is_supervised: false }
    }

    /// A program of which nothing is left whatever it does, and that takes no more than
    /// `limits`. Besides the usual environment variables it gets `variables`.
    pub(crate) fn supervised(name: &str, limits: Limits, variables: &[String]) -> Self {
        // This program, also where its file has been replaced by another version.
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("nixery-supervisor")
            .arg(supervisor::ARGUMENT)
            .arg(std::process::id().to_string())
            .args(limits.arguments())
            .arg(name)
            .env_clear()
            .envs(environment::passed_on(std::env::vars_os(), variables));
        Self { name: name.to_owned(), command, is_supervised: true }
    }

    pub(crate) fn arg(&mut self, argument: impl AsRef<OsStr>) -> &mut Self {
        self.command.arg(argument);
        self
    }

    pub(crate) fn args(
        &mut self,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> &mut Self {
        self.command.args(arguments);
        self
    }

    pub(crate) fn env(&mut self, name: &str, value: &str) -> &mut Self {
        self.command.env(name, value);
        self
    }
}

/// How a program ended.
#[derive(Debug)]
pub(crate) enum Output {
    /// By itself.
    Ended { status: ExitStatus, stdout: Vec<u8> },
    /// It took too long, and was ended.
    TimedOut,
    /// The server shuts down, and it was ended.
    ShutDown,
}

/// Why a program's output is not known.
#[derive(Debug, Error)]
pub enum ProcessError {
    /// It could not be started.
    #[error("can't run {program}: is it on PATH?")]
    Start {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It printed too much.
    #[error("{program} printed over {MAX_OUTPUT} bytes")]
    TooMuchOutput {
        /// The program.
        program: String,
    },
    /// A pipe to it failed.
    #[error("can't communicate with {program}")]
    Pipe {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
}

/// Runs a program with `stdin` for at most `limit`, and hands each line of its
/// standard error to `log` as it appears.
///
/// All three streams are served at the same time, so that none of them fills up
/// and blocks the program. It runs in a process group of its own. What is left of
/// that is killed when the program has ended; all of it is ended on time-out, on
/// shutdown, when it prints too much, and when the future is dropped. So is what has
/// left the group, if the program is supervised.
pub(crate) async fn run(
    program: Program,
    stdin: &[u8],
    limit: Duration,
    shutdown: &CancellationToken,
    log: impl FnMut(&str),
) -> Result<Output, ProcessError> {
    let Program { name: program, mut command, is_supervised } = program;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = adopted::spawn(&mut command)
        .map_err(|source| ProcessError::Start { program: program.clone(), source })?;
    let mut group = Group::of(&child, is_supervised);
    let stdout = tokio::select! {
        result = converse(&mut child, stdin, log) => result,
        () = tokio::time::sleep(limit) => {
            group.end(&mut child).await;
            return Ok(Output::TimedOut);
        }
        () = shutdown.cancelled() => {
            group.end(&mut child).await;
            return Ok(Output::ShutDown);
        }
    };
    if stdout.as_ref().is_ok_and(|stdout| stdout.len() as u64 > MAX_OUTPUT) {
        group.end(&mut child).await;
        return Err(ProcessError::TooMuchOutput { program });
    }
    // It has ended, but isn't waited for: until it is, its number is nobody else's.
    group.kill();
    let status = child.wait().await;
    let (status, stdout) = status
        .and_then(|status| Ok((status, stdout?)))
        .map_err(|source| ProcessError::Pipe { program, source })?;
    Ok(Output::Ended { status, stdout })
}

/// Writes and reads until the program has ended, or has printed too much.
async fn converse(child: &mut Child, input: &[u8], log: impl FnMut(&str)) -> io::Result<Vec<u8>> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            // A program that doesn't read its input shows that in its reply.
            let _ = stdin.write_all(input).await;
        }
        Ok(())
    };
    let mut output = Vec::new();
    let read = async {
        if let Some(stdout) = stdout {
            // One byte over the limit shows that it was passed; more isn't kept.
            stdout.take(MAX_OUTPUT + 1).read_to_end(&mut output).await?;
        }
        if output.len() as u64 > MAX_OUTPUT { Err(None) } else { Ok(()) }
    };
    let pass_on = async {
        pass_on(stderr, log).await;
        Ok::<_, Option<io::Error>>(())
    };
    let streams = async { tokio::try_join!(write, read, pass_on).map(|_| ()) };
    let result = {
        tokio::pin!(streams);
        let ended = ended(child);
        tokio::pin!(ended);
        tokio::select! {
            result = &mut streams => {
                if result.is_ok() {
                    ended.await?;
                }
                result
            }
            result = &mut ended => {
                result?;
                timeout(AFTER_END, streams).await.unwrap_or(Ok(()))
            }
        }
    };
    match result {
        Err(Some(error)) => Err(error),
        Err(None) | Ok(()) => Ok(output),
    }
}

/// Waits until a child has ended, and leaves it to be waited for.
async fn ended(child: &Child) -> io::Result<()> {
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
fn pid(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?))
}

async fn pass_on(stream: Option<impl AsyncRead + Unpin>, mut log: impl FnMut(&str)) {
    let Some(mut stream) = stream else { return };
    let mut lines = Lines::default();
    let mut buffer = vec![0; 8192];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        lines.push(&buffer[..read], &mut log);
    }
    lines.finish(log);
}

/// A process group, which is ended when this is dropped.
struct Group {
    leader: Option<Pid>,
    /// Whether the leader is a supervisor, which ends all that it runs and then itself.
    is_supervised: bool,
}

impl Group {
    fn of(child: &Child, is_supervised: bool) -> Self {
        Self { leader: pid(child), is_supervised }
    }

    /// Asks all of the group to end, and waits for its leader. What hasn't
    /// ended after [`GRACE`] is killed. Nix ends its builds when asked to, but
    /// can't when killed, as they are in groups of their own.
    async fn end(&mut self, child: &mut Child) {
        self.signal(Signal::TERM);
        let patience = if self.is_supervised { GRACE + 2 * supervisor::AFTER_KILL } else { GRACE };
        let _ = timeout(patience, ended(child)).await;
        self.kill();
        let _ = child.wait().await;
    }

    /// Kills what is left of it. Nothing may have waited for the leader yet.
    fn kill(&mut self) {
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Instant;

    use super::*;

    fn shell(script: &str) -> Program {
        let mut program = Program::new("/bin/sh");
        program.args(["-c", script]);
        program
    }

    async fn run_shell(script: &str, limit: Duration) -> Result<Output, ProcessError> {
        run(shell(script), b"input", limit, &CancellationToken::new(), |_| ()).await
    }

    /// Whether the process is there and not a zombie.
    fn is_alive(pid: &str) -> bool {
        fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    }

    #[tokio::test]
    async fn hands_input_in_and_output_out() {
        let mut lines = Vec::new();
        let command = shell("cat; echo one >&2; printf two >&2; exit 3");
        let log = |line: &str| lines.push(line.to_owned());
        let output =
            run(command, b"input", Duration::from_secs(10), &CancellationToken::new(), log).await;
        let Ok(Output::Ended { status, stdout }) = output else { panic!("{output:?}") };
        assert_eq!((status.code(), &stdout[..]), (Some(3), &b"input"[..]));
        assert_eq!(lines, ["one", "two"]);
    }

    /// The Go program read one pipe after the other and hung for ever.
    #[tokio::test]
    async fn much_on_both_streams_does_not_block() {
        let script = "head -c 3000000 /dev/zero | tr '\\0' e >&2; head -c 3000000 /dev/zero";
        let output = run_shell(script, Duration::from_secs(30)).await;
        let Ok(Output::Ended { stdout, .. }) = output else { panic!("{output:?}") };
        assert_eq!(stdout.len(), 3_000_000);
    }

    #[tokio::test]
    async fn a_program_that_never_ends_is_ended_with_its_children() {
        let directory = tempfile::TempDir::new().unwrap();
        let pids = directory.path().join("pids");
        let script = format!("trap '' TERM; sleep 1000 & echo $! $$ > {}; wait", pids.display());
        let start = Instant::now();
        let output = run_shell(&script, Duration::from_millis(500)).await;
        assert!(matches!(output, Ok(Output::TimedOut)), "{output:?}");
        assert!(start.elapsed() < GRACE + Duration::from_secs(5));
        for pid in fs::read_to_string(pids).unwrap().split_whitespace() {
            while is_alive(pid) {
                // A signal takes effect when the process is next scheduled.
                assert!(start.elapsed() < GRACE + Duration::from_secs(10), "{pid} lives");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    #[tokio::test]
    async fn shutdown_ends_it() {
        let shutdown = CancellationToken::new();
        let command = shell("sleep 1000");
        let run = run(command, b"", Duration::from_secs(100), &shutdown, |_| ());
        let (output, ()) = tokio::join!(run, async { shutdown.cancel() });
        assert!(matches!(output, Ok(Output::ShutDown)), "{output:?}");
    }

    #[tokio::test]
    async fn children_that_keep_the_output_open_are_not_waited_for() {
        let start = Instant::now();
        let output = run_shell("sleep 1000 & echo done", Duration::from_secs(100)).await;
        let Ok(Output::Ended { stdout, .. }) = output else { panic!("{output:?}") };
        assert_eq!(stdout, b"done\n");
        assert!(start.elapsed() < Duration::from_secs(20));
    }

    #[tokio::test]
    async fn a_missing_program_is_named() {
        let command = Program::new("nixery-no-such-program");
        let limit = Duration::from_secs(1);
        let error = run(command, b"", limit, &CancellationToken::new(), |_| ()).await.unwrap_err();
        assert!(error.to_string().contains("nixery-no-such-program"));
    }
}
