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
