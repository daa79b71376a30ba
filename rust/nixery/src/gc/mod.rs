//! Garbage collection of the storage.
//!
//! Servers go on meanwhile, here and elsewhere. Whatever they use they mark first, and
//! what is marked is not removed; an image's record goes before its blobs, so that
//! nobody is sent to what is half gone.

mod plan;
mod remover;
mod stock;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use thiserror::Error;

use crate::counters;
use crate::storage::{RecordKey, Storage, StorageError};
use plan::{Plan, plan};
use remover::Remover;

/// What is kept.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How long images are kept that nobody asks for.
    pub keep: Duration,
    /// Most bytes of blobs that are left; `None`: any number.
    pub max_bytes: Option<u64>,
    /// How many bytes the disk is short of: as many are removed, if there are as many that
    /// nobody is using.
    pub missing: u64,
}

/// Why nothing more was collected.
#[derive(Debug, Error)]
pub enum GcError {
    /// The storage failed.
    #[error("the storage failed")]
    Storage(#[from] StorageError),
}

/// What was removed, or would be.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Whether nothing was removed.
    pub dry_run: bool,
    /// The images: what each is, and how long ago it was asked for.
    pub images: Vec<(String, Duration)>,
    /// How many blobs.
    pub blobs: usize,
    /// How many bytes they had.
    pub bytes: u64,
    /// How many records of packages, layers and store paths.
    pub records: usize,
    /// How many bytes of blobs are left.
    pub left: u64,
}

/// Removes what `limits` say from the storage; with `dry_run`, only says what that is.
pub async fn collect(
    storage: &Arc<dyn Storage>,
    limits: &Limits,
    dry_run: bool,
) -> Result<Report, GcError> {
    let result = run(storage, limits, dry_run).await;
    if !dry_run {
        counters::collected(result.is_ok(), result.as_ref().map_or(0, |report| report.bytes));
    }
    result
}

async fn run(
    storage: &Arc<dyn Storage>,
    limits: &Limits,
    dry_run: bool,
) -> Result<Report, GcError> {
    let now = SystemTime::now();
    let stock::Inventory { stock, old_packages } = stock::read(storage, limits, now).await?;
    let total: u64 = stock.blobs.values().map(|blob| blob.size).sum();
    let plan = plan(stock, limits, now);
    let mut report = if dry_run {
        would_remove(&plan, &old_packages, now)
    } else {
        Remover::new(storage, now).carry_out(plan, old_packages).await?
    };
    report.left = total - report.bytes;
    Ok(report)
}

fn would_remove(plan: &Plan, old_packages: &[RecordKey], now: SystemTime) -> Report {
    Report {
        dry_run: true,
        images: plan
            .images
            .iter()
            .map(|image| (image.name.clone(), age(image.used, now)))
            .collect(),
        blobs: plan.blobs.len(),
        bytes: plan.bytes(),
        records: plan.pointers.len() + old_packages.len(),
        left: 0,
    }
}

fn age(used: SystemTime, now: SystemTime) -> Duration {
    now.duration_since(used).unwrap_or_default()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let removed = if self.dry_run { "would remove" } else { "removed" };
        for (image, age) in &self.images {
            let hours = age.as_secs() / 3600;
            writeln!(f, "{removed} {image} (asked for {} days {} h ago)", hours / 24, hours % 24)?;
        }
        writeln!(
            f,
            "{removed} {} images, {} blobs of {} bytes, {} records; {} bytes are left",
            self.images.len(),
            self.blobs,
            self.bytes,
            self.records,
            self.left
        )
    }
}

#[cfg(test)]
mod tests;
