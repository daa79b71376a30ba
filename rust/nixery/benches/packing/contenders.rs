//! The programs that race: this one, and `tar | gzip -6`.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nixery::archive::{Pool, pack_layer};
use nixery::store_path::StorePath;

use rustix::time::ClockId;

use crate::Result;
use crate::packing::stages::cpu_time;

/// How many layers are packed at a time, as in the server.
const LAYERS_AT_A_TIME: usize = 3;

/// What one run over all layers took and gave.
pub(crate) struct Outcome {
    pub(crate) wall: Duration,
    /// Of this process only.
    pub(crate) cpu: Duration,
    /// Compressed bytes.
    pub(crate) output: u64,
}

/// Packs every layer into a file below `scratch`.
pub(crate) fn pack(pool: &Pool, layers: &[&[StorePath]], scratch: &Path) -> Result<Outcome> {
    let (next, output) = (AtomicUsize::new(0), AtomicU64::new(0));
    let work = |worker: usize| {
        let file = scratch.join(format!("layer-{worker}"));
        while let Some(paths) = layers.get(next.fetch_add(1, Ordering::Relaxed)) {
            let packed =
                pack_layer(pool, paths, &mut File::create(&file)?, &AtomicBool::new(false))
                    .map_err(io::Error::other)?;
            output.fetch_add(packed.size, Ordering::Relaxed);
        }
        io::Result::Ok(())
    };
    let (start, start_cpu) = (Instant::now(), cpu_time(ClockId::ProcessCPUTime));
    thread::scope(|scope| {
        let workers: Vec<_> =
            (0..LAYERS_AT_A_TIME).map(|worker| scope.spawn(move || work(worker))).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    let cpu = cpu_time(ClockId::ProcessCPUTime).saturating_sub(start_cpu);
    Ok(Outcome { wall: start.elapsed(), cpu, output: output.into_inner() })
}

/// Has the usual tools pack every layer, one after the other.
pub(crate) fn tar_gzip(layers: &[&[StorePath]]) -> Result<Outcome> {
    let start = Instant::now();
    let mut output = 0;
    for paths in layers {
        let mut tar = Command::new("tar")
            .args(["--sort=name", "--mtime=@1", "--owner=0", "--group=0", "--numeric-owner"])
            .args(["--hard-dereference", "--format=gnu", "-P", "-cf", "-"])
            .args(paths.iter().map(StorePath::as_str))
            .stdout(Stdio::piped())
            .spawn()?;
        let archive = tar.stdout.take().ok_or("tar has no standard output")?;
        let mut gzip = Command::new("gzip")
            .args(["-6", "-n"])
            .stdin(archive)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut compressed = gzip.stdout.take().ok_or("gzip has no standard output")?;
        output += io::copy(&mut compressed, &mut io::sink())?;
        if !tar.wait()?.success() || !gzip.wait()?.success() {
            return Err("tar | gzip failed".into());
        }
    }
    Ok(Outcome { wall: start.elapsed(), cpu: Duration::ZERO, output })
}

/// Forgets how much memory this process had at most (proc(5), `clear_refs`).
pub(crate) fn reset_peak_memory() -> Result<()> {
    Ok(fs::write("/proc/self/clear_refs", "5")?)
}

/// The most memory that this process had, in KiB.
pub(crate) fn peak_memory() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next()).ok_or("no VmHWM")?;
    Ok(number.parse()?)
}
