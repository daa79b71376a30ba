//! Running a program whose whole process group ends with it.

mod lines;

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use lines::Lines;

/// Most that a program may print on standard output. The reply for a closure of
/// 10,000 paths has about 5 MB.
const MAX_OUTPUT: u64 = 64 << 20;

/// How long programs have to end by themselves when told to.
const GRACE: Duration = Duration::from_secs(5);

/// How long output is waited for after the program ended: children that it
/// left behind may hold it open.
const AFTER_END: Duration = Duration::from_secs(1);

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

/// Runs `command` with `stdin` for at most `limit`, and hands each line of its
/// standard error to `log` as it appears.
///
/// All three streams are served at the same time, so that none of them fills up
/// and blocks the program. It runs in a process group of its own, all of which
/// is ended on time-out, on shutdown, and when the future is dropped.
pub(crate) async fn run(
    mut command: Command,
    stdin: &[u8],
    limit: Duration,
    shutdown: &CancellationToken,
    log: impl FnMut(&str),
) -> Result<Output, ProcessError> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|source| ProcessError::Start { program: program.clone(), source })?;
    let group = Group::of(&child);
    let ended = tokio::select! {
        result = converse(&mut child, stdin, log) => Some(result),
        () = tokio::time::sleep(limit) => None,
        () = shutdown.cancelled() => {
            group.end(&mut child).await;
            return Ok(Output::ShutDown);
        }
    };
    let Some(result) = ended else {
        group.end(&mut child).await;
        return Ok(Output::TimedOut);
    };
    let (status, stdout) =
        result.map_err(|source| ProcessError::Pipe { program: program.clone(), source })?;
    if stdout.len() as u64 > MAX_OUTPUT {
        return Err(ProcessError::TooMuchOutput { program });
    }
    Ok(Output::Ended { status, stdout })
}

/// Writes, reads and waits until the program has ended.
async fn converse(
    child: &mut Child,
    input: &[u8],
    log: impl FnMut(&str),
) -> io::Result<(ExitStatus, Vec<u8>)> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            // A program that doesn't read its input shows that in its reply.
            let _ = stdin.write_all(input).await;
        }
    };
    let mut output = Vec::new();
    let read = async {
        match stdout {
            // One byte over the limit shows that it was passed; more isn't kept.
            Some(stdout) => stdout.take(MAX_OUTPUT + 1).read_to_end(&mut output).await,
            None => Ok(0),
        }
    };
    let (status, read) = {
        let streams = async { tokio::join!(write, read, pass_on(stderr, log)) };
        tokio::pin!(streams);
        tokio::select! {
            ((), read, ()) = &mut streams => (child.wait().await?, Some(read)),
            status = child.wait() => {
                (status?, timeout(AFTER_END, &mut streams).await.ok().map(|((), read, ())| read))
            }
        }
    };
    read.transpose()?;
    Ok((status, output))
}

async fn pass_on(stream: Option<impl AsyncRead + Unpin>, mut log: impl FnMut(&str)) {
    let Some(mut stream) = stream else { return };
    let mut lines = Lines::default();
    let mut buffer = [0; 8192];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        lines.push(&buffer[..read], &mut log);
    }
    lines.finish(log);
}

/// A process group, which is killed when this is dropped.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)))
    }

    /// Asks all of the group to end, and waits for its leader. What hasn't
    /// ended after [`GRACE`] is killed. Nix ends its builds when asked to, but
    /// can't when killed, as they are in groups of their own.
    async fn end(self, child: &mut Child) {
        self.signal(Signal::TERM);
        // Whether it ended or not, what is left of the group is killed next.
        let _ = timeout(GRACE, child.wait()).await;
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // Fails where nothing of the group is left, as it should be.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Instant;

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
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
        let command = Command::new("nixery-no-such-program");
        let limit = Duration::from_secs(1);
        let error = run(command, b"", limit, &CancellationToken::new(), |_| ()).await.unwrap_err();
        assert!(error.to_string().contains("nixery-no-such-program"));
    }
}
