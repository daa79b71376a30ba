//! Making layers: found, put together from others, or packed on threads of their own,
//! straight into the storage.

mod plan;

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::try_join_all;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::error::AssembleError;
use super::packages::package_paths;
use crate::archive::rootfs::{self, pack_rootfs};
use crate::archive::{
    LAYER_MEMORY, Level, PackError, Packed, PathMembers, PathSource, Pool, put_together,
};
use crate::cache::{LayerRecord, PathRecord, Records, layer_key, path_key, rootfs_key};
use crate::concurrent::try_all;
use crate::counters;
use crate::storage::{Object, RecordKey, Storage, StorageError};
use crate::store_path::StorePath;
use plan::Recipe;
pub(super) use plan::{Content, Plan};

/// Layers that are read and written at the same time, for all images together.
/// With more than one, a small layer doesn't leave the compressing threads idle
/// while it is finished.
const LAYERS_AT_ONCE: usize = 3;

/// Makes layers; has the compressing threads.
#[derive(Clone)]
pub struct Packer {
    pool: Arc<Pool>,
    level: Level,
    places: Arc<Semaphore>,
    records: Records,
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packer").field("level", &self.level).finish_non_exhaustive()
    }
}

/// Set when dropped: whoever no longer waits for a layer ends its packing.
#[derive(Default)]
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Packer {
    /// Starts `threads` threads that compress at `level`, or as many as `memory` is enough
    /// for, in bytes. Layers go to the storage of `records`.
    pub fn new(
        threads: NonZeroUsize,
        level: Level,
        memory: u64,
        records: Records,
    ) -> io::Result<Self> {
        let of_layer = LAYER_MEMORY + records.storage().writer_memory();
        let (fitting, layers) = within(memory, threads, level, of_layer);
        if fitting < threads {
            tracing::warn!(
                threads = fitting,
                wanted = threads,
                "fewer threads compress than wanted, for want of memory (packing.memory)"
            );
        }
        let pool = Arc::new(Pool::new(fitting, level)?);
        Ok(Self { pool, level, places: Arc::new(Semaphore::new(layers)), records })
    }

    /// The compression level.
    pub(super) fn level(&self) -> u8 {
        self.level.get()
    }

    /// Makes the layers that aren't stored yet, in the order of `plans`. Fails where one
    /// that was is not any more: between the plan and this, Nix may have run for hours.
    /// `stored` is called for each of them.
    pub(super) async fn make(
        &self,
        plans: Vec<Plan>,
        stored: &(dyn Fn() + Sync),
    ) -> Result<Vec<LayerRecord>, AssembleError> {
        try_join_all(plans.into_iter().map(|plan| async move {
            let record = match plan {
                Plan::Known(key, record) => {
                    let is_there = self.find(&key).await?.is_some_and(|now| now == record);
                    if is_there { record } else { return Err(AssembleError::LayerGone) }
                }
                Plan::Make(key, recipe) => self.make_one(&key, recipe).await?,
            };
            stored();
            Ok(record)
        }))
        .await
    }

    async fn make_one(
        &self,
        key: &RecordKey,
        recipe: Recipe,
    ) -> Result<LayerRecord, AssembleError> {
        // Never closed, so acquiring can't fail.
        let place = self.places.acquire().await;
        // Another image may have had the same layer made meanwhile.
        if let Some(record) = self.find(key).await? {
            return Ok(record);
        }
        let packed_now: Vec<StorePath> = match &recipe {
            Recipe::StorePaths(sources) => {
                let is_packed = |source: &&PathSource| matches!(source, PathSource::Store(_));
                sources.iter().filter(is_packed).map(|source| source.path().clone()).collect()
            }
            Recipe::RootFs(_) => Vec::new(),
        };
        let cancel = CancelOnDrop::default();
        let cancelled = Arc::clone(&cancel.0);
        let (pool, target) = (Arc::clone(&self.pool), Arc::clone(self.records.storage()));
        let work = spawn_blocking(move || pack(&pool, recipe, &*target, &cancelled));
        let packed = work.await.map_err(|_| AssembleError::Crashed)??;
        drop(place);
        let record = LayerRecord::new(packed, self.level());
        self.write_records(key, &record, &packed_now).await?;
        Ok(record)
    }

    /// Records a layer, and where in it the paths are that were packed for it.
    async fn write_records(
        &self,
        key: &RecordKey,
        record: &LayerRecord,
        packed_now: &[StorePath],
    ) -> Result<(), AssembleError> {
        let (new, copied): (Vec<&PathMembers>, Vec<_>) =
            record.members.iter().partition(|members| packed_now.contains(&members.path));
        let copied: u64 = copied.iter().map(|members| members.uncompressed).sum();
        counters::layer_made(record.uncompressed_size - copied, copied);
        let (blob, level) = (record.blob, record.level);
        try_all(new.into_iter().cloned().map(|members| async move {
            let key = path_key(level, &members.path);
            self.records.write(&key, &PathRecord { blob, level, members }).await
        }))
        .await?;
        self.records.write(key, record).await?;
        Ok(())
    }

    /// The record of a layer whose blob is stored. It is marked as used, so that garbage
    /// collection leaves the blob alone until the image is recorded.
    async fn find(&self, key: &RecordKey) -> Result<Option<LayerRecord>, AssembleError> {
        let found = self.records.read_uncounted::<LayerRecord>(key).await?;
        let Some(record) = found else { return Ok(None) };
        let is_there = self.records.storage().touch(&Object::Record(key.clone())).await?
            && self.records.are_stored([record.blob]).await?;
        if !is_there {
            tracing::warn!(%key, "a record names a layer that is missing: made again");
        }
        Ok(is_there.then_some(record))
    }

    fn key(&self, content: &Content) -> RecordKey {
        match content {
            Content::StorePaths(paths) => layer_key(self.level(), paths),
            Content::RootFs(packages) => rootfs_key(self.level(), &package_paths(packages)),
        }
    }
}

/// How many threads, and layers at a time, stay within `memory`, of which a layer takes
/// `of_layer`: fewer threads first, as they take most, and at least one of each.
fn within(
    memory: u64,
    threads: NonZeroUsize,
    level: Level,
    of_layer: usize,
) -> (NonZeroUsize, usize) {
    let fits = |threads: NonZeroUsize, layers: usize| {
        let bytes = Pool::memory(threads, level).saturating_add(layers * of_layer);
        u64::try_from(bytes).is_ok_and(|bytes| bytes <= memory)
    };
    let one = NonZeroUsize::MIN;
    let layers = (1..=LAYERS_AT_ONCE).rev().find(|&layers| fits(one, layers)).unwrap_or(1);
    let numbers = (1..=threads.get()).rev().filter_map(NonZeroUsize::new);
    (numbers.into_iter().find(|&threads| fits(threads, layers)).unwrap_or(one), layers)
}

fn pack(
    pool: &Pool,
    recipe: Recipe,
    storage: &dyn Storage,
    cancelled: &AtomicBool,
) -> Result<Packed, AssembleError> {
    let mut sink = storage.create_blob()?;
    let packed = match recipe {
        Recipe::StorePaths(sources) => put_together(pool, sources, &mut *sink, cancelled),
        Recipe::RootFs(listings) => {
            pack_rootfs(pool, &rootfs::plan(&listings), &mut *sink, cancelled)
        }
    };
    let packed = packed.map_err(full_disk_is_the_storages)?;
    sink.commit(&packed.digest, &packed.md5)?;
    Ok(packed)
}

/// What a sink refuses is a failure of the storage, not of packing.
fn full_disk_is_the_storages(error: PackError) -> AssembleError {
    match error {
        PackError::Sink(source) => StorageError::while_writing_a_layer(source).into(),
        PackError::Source { source, .. } => StorageError::while_reading("a layer", source).into(),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_and_layers_stay_within_the_memory() {
        let threads = |number| NonZeroUsize::new(number).unwrap();
        let level = |level| Level::new(level).unwrap();
        let (small, bucket) = (LAYER_MEMORY, LAYER_MEMORY + (24 << 20));
        for (memory, wanted, at, of_layer, at_once) in [
            (256, 2, 5, small, 3),
            (256, 256, 5, small, 3),
            (256, 256, 12, small, 3),
            (256, 256, 5, bucket, 3),
            (64, 256, 5, small, 3),
            (64, 256, 12, bucket, 1),
        ] {
            let memory = memory * 1_000_000;
            let (got, layers) = within(memory, threads(wanted), level(at), of_layer);
            assert_eq!(layers, at_once, "{memory} bytes, {wanted} threads");
            let bytes = |threads| (Pool::memory(threads, level(at)) + layers * of_layer) as u64;
            assert!(bytes(got) <= memory, "{} bytes", bytes(got));
            let more = threads(got.get() + 1);
            assert!(got.get() == wanted || bytes(more) > memory, "{got} threads are too few");
        }
        let too_little = within(1, threads(4), level(5), small);
        assert_eq!(too_little, (threads(1), 1), "at least one");
    }
}
