//! The same requests by another program, as a check.

use std::io::ErrorKind;
use std::process::Command;
use std::time::Duration;

use super::load::CONNECTIONS;
use super::server::Server;
use super::workload::Workload;
use crate::Result;

/// Prints what `wrk` measures on this thread's core, where it is installed.
pub(crate) fn cross_check(
    server: &Server,
    workloads: &[Workload],
    duration: Duration,
) -> Result<()> {
    println!();
    for workload in workloads.iter().filter(|workload| workload.method == "GET") {
        let mut wrk = Command::new("wrk");
        wrk.args(["--threads=1", &format!("--connections={CONNECTIONS}"), "--latency"]);
        wrk.arg(format!("--duration={}s", duration.as_secs()));
        if let Some((name, value)) = &workload.header {
            wrk.arg(format!("--header={name}: {value}"));
        }
        let output = match wrk.arg(format!("http://{}{}", server.address(), workload.path)).output()
        {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            output => output?,
        };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let figure = |name: &str| {
            text.lines().find_map(|line| line.trim().strip_prefix(name)).unwrap_or("?").trim()
        };
        println!(
            "wrk: {:25} {:>9} req/s {:>9}/s   p50 {}, p99 {}",
            workload.name,
            figure("Requests/sec:"),
            figure("Transfer/sec:"),
            figure("50%"),
            figure("99%")
        );
    }
    Ok(())
}
