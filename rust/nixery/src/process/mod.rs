//! Running a program of which nothing is left when it has ended.

mod adopted;
mod children;
mod environment;
mod group;
mod lines;
mod supervisor;

use std::ffi::OsStr;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub use adopted::end_orphans;
#[cfg(test)]
pub(crate) use environment::is_passed_on;
use group::{Group, ended};
use lines::Lines;
pub(crate) use lines::{turns_text, without_escapes};
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

async fn pass_on(stream: Option<impl AsyncRead + Unpin>, mut log: impl FnMut(&str)) {
    let Some(mut stream) = stream else { return };
    let mut lines = Lines::default();
    let mut buffer = vec![0; 8192];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        lines.push(&buffer[..read], &mut log);
    }
    lines.finish(log);
}

#[cfg(test)]
mod tests;
