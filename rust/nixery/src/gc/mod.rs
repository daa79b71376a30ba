//! Garbage collection of the storage.
//!
//! Servers go on meanwhile, here and elsewhere. Whatever they use they mark first, and
//! what is marked is not removed; an image's record goes before its blobs, so that
//! nobody is sent to what is half gone.

mod plan;
mod stock;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use thiserror::Error;

use crate::cache::Records;
use crate::concurrent::try_all;
use crate::counters;
use crate::oci::Digest;
use crate::storage::{Object, RecordKey, Removal, Storage, StorageError};
use plan::{IN_USE, Plan, plan};

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
        remove(storage, plan, old_packages, now).await?
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

/// Carries a plan out. What was used since it was made stays, with all that it needs.
async fn remove(
    storage: &Arc<dyn Storage>,
    plan: Plan,
    old_packages: Vec<RecordKey>,
    now: SystemTime,
) -> Result<Report, GcError> {
    let before = now - IN_USE;
    let remove = |object: Object| async move { storage.remove(&object, before).await };
    let mut report = Report::default();
    let mut blobs: BTreeMap<Digest, u64> = plan.blobs.into_iter().collect();

    // All records first, as several may name the same manifests. One that is absent may
    // be so only for the moment in which another collection looks at it.
    let (mut going, mut staying) = (Vec::new(), BTreeSet::new());
    for image in plan.images {
        match &image.record {
            Some(key) if remove(Object::Record(key.clone())).await? != Removal::Removed => {
                staying.extend(image.blobs);
            }
            Some(_) | None => going.push(image),
        }
    }
    for image in going {
        let mut is_gone = true;
        // A client that asks by digest now has all or nothing.
        for manifest in image.manifests.iter().filter(|manifest| !staying.contains(manifest)) {
            let Some(size) = blobs.get(manifest).copied().filter(|_| is_gone) else { continue };
            is_gone = remove(Object::Blob(*manifest)).await? == Removal::Removed;
            if is_gone {
                blobs.remove(manifest);
                report.blobs += 1;
                report.bytes += size;
            }
        }
        if is_gone {
            report.images.push((image.name, age(image.used, now)));
        } else {
            staying.extend(image.blobs);
        }
    }

    let records = Records::new(Arc::clone(storage));
    let records = &records;
    let moves = plan.moved.iter().map(|(key, record)| async move {
        match records.write(key, record).await {
            Err(error) if error.is_full() => Ok(Some((key, record))),
            other => other.map(|()| None),
        }
    });
    // Until then they lead nowhere, which who reads them notices.
    let no_room_yet = try_all(moves).await?;
    // A build that finds a layer by its record marks that, and relies on the blob.
    let pointers = plan.pointers.into_iter().map(|pointer| async move {
        let removal = remove(Object::Record(pointer.key)).await?;
        Ok::<_, StorageError>((pointer.blob, removal))
    });
    for (blob, removal) in try_all(pointers).await? {
        if removal == Removal::Removed {
            report.records += 1;
        } else {
            staying.insert(blob);
        }
    }
    let packages = old_packages.into_iter().map(|key| remove(Object::Record(key)));
    let packages = try_all(packages).await?;
    report.records += packages.into_iter().filter(|&one| one == Removal::Removed).count();

    let blobs = blobs.into_iter().filter(|(digest, _)| !staying.contains(digest));
    let blobs = blobs.map(|(digest, size)| async move {
        let removal = remove(Object::Blob(digest)).await?;
        Ok::<_, StorageError>((removal == Removal::Removed).then_some(size))
    });
    for size in try_all(blobs).await?.into_iter().flatten() {
        report.blobs += 1;
        report.bytes += size;
    }
    let left = no_room_yet.into_iter().flatten();
    try_all(left.map(|(key, record)| records.write(key, record))).await?;
    Ok(report)
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
