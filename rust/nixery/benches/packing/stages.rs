//! What each stage of packing costs, alone and on one thread.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use nixery::archive::tar::{Output, write_store_paths};
use nixery::archive::{BLOCK_SIZE, BlobHasher, Gzip, Level, PackError};
use nixery::store_path::StorePath;
use rustix::time::{ClockId, clock_gettime};
use sha2::{Digest as _, Sha256};

use crate::Result;

/// CPU time of each stage, and bytes.
#[derive(Default)]
pub(crate) struct Stages {
    pub(crate) read: Duration,
    pub(crate) compress: Duration,
    pub(crate) write: Duration,
    pub(crate) input: u64,
    pub(crate) output: u64,
}

impl Stages {
    pub(crate) fn total(&self) -> Duration {
        self.read + self.compress + self.write
    }
}

/// Packs `layers` stage by stage.
pub(crate) fn measure(layers: &[&[StorePath]], level: Level, scratch: &Path) -> Result<Stages> {
    let mut gzip = Gzip::new(level);
    let mut staged = Staged {
        block: vec![0; BLOCK_SIZE],
        length: 0,
        compressed: vec![0; gzip.output_size()],
        gzip,
        archive: Sha256::new(),
        blob: BlobHasher::default(),
        sink: File::create(scratch.join("stages"))?,
        last: cpu_time(ClockId::ThreadCPUTime),
        stages: Stages::default(),
    };
    for paths in layers {
        staged.sink.set_len(0)?;
        staged.archive = Sha256::new();
        staged.blob = BlobHasher::default();
        staged.last = cpu_time(ClockId::ThreadCPUTime);
        write_store_paths(&paths.iter().collect::<Vec<_>>(), &mut staged)?;
        staged.submit()?;
    }
    Ok(staged.stages)
}

struct Staged {
    block: Vec<u8>,
    length: usize,
    compressed: Vec<u8>,
    gzip: Gzip,
    archive: Sha256,
    blob: BlobHasher,
    sink: File,
    /// When the stage began, in this thread's CPU time.
    last: Duration,
    stages: Stages,
}

impl Staged {
    fn submit(&mut self) -> std::result::Result<(), PackError> {
        let input = &self.block[..self.length];
        self.archive.update(input);
        self.stages.input += self.length as u64;
        self.stages.read += lap(&mut self.last);
        let length =
            self.gzip.member(input, &mut self.compressed).map_err(|_| PackError::Compression)?;
        self.stages.compress += lap(&mut self.last);
        let member = &self.compressed[..length];
        self.blob.update(member);
        self.sink.write_all(member).map_err(PackError::Sink)?;
        self.stages.output += length as u64;
        self.stages.write += lap(&mut self.last);
        self.length = 0;
        Ok(())
    }
}

impl Output for Staged {
    fn space(&mut self) -> std::result::Result<&mut [u8], PackError> {
        if self.length == BLOCK_SIZE {
            self.submit()?;
        }
        Ok(&mut self.block[self.length..])
    }

    fn advance(&mut self, length: usize) {
        self.length += length;
    }

    fn begin_part(&mut self) -> std::result::Result<(), PackError> {
        if self.length > 0 { self.submit() } else { Ok(()) }
    }
}

/// The CPU time of this thread or process so far.
pub(crate) fn cpu_time(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// The CPU time since `last`, which becomes now.
fn lap(last: &mut Duration) -> Duration {
    let now = cpu_time(ClockId::ThreadCPUTime);
    now.saturating_sub(std::mem::replace(last, now))
}
