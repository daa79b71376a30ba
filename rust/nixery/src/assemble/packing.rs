//! Packing layers on threads of their own, straight into the storage.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::error::AssembleError;
use crate::archive::rootfs::{self, pack_rootfs};
use crate::archive::{Level, Listing, PackError, Packed, Pool, pack_layer};
use crate::cache::{LayerRecord, Records, layer_key, rootfs_key};
use crate::storage::{RecordKey, Storage, StorageError};
use crate::store_path::StorePath;

/// Layers that are read and written at the same time, for all images together.
/// With more than one, a small layer doesn't leave the compressing threads idle
/// while it is finished.
const LAYERS_AT_ONCE: usize = 3;

/// Packs layers; has the compressing threads.
#[derive(Clone)]
pub struct Packer {
    pool: Arc<Pool>,
    level: Level,
    places: Arc<Semaphore>,
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packer").field("level", &self.level).finish_non_exhaustive()
    }
}

/// What a layer holds.
pub(super) enum Content {
    /// Store paths, sorted.
    StorePaths(Vec<StorePath>),
    /// The root file system over these packages, sorted.
    RootFs(Vec<StorePath>),
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
    /// Starts `threads` threads that compress at `level`.
    pub fn new(threads: NonZeroUsize, level: Level) -> io::Result<Self> {
        let pool = Arc::new(Pool::new(threads, level)?);
        Ok(Self { pool, level, places: Arc::new(Semaphore::new(LAYERS_AT_ONCE)) })
    }

    /// The compression level.
    pub(super) fn level(&self) -> u8 {
        self.level.get()
    }

    /// The layer with `content`: the one that was packed before, if it is
    /// there, or a new one.
    pub(super) async fn layer(
        &self,
        content: Content,
        storage: &Arc<dyn Storage>,
        records: &Records,
    ) -> Result<LayerRecord, AssembleError> {
        let key = self.key(&content);
        if let Some(record) = find(&key, records).await? {
            return Ok(record);
        }
        // Never closed, so acquiring can't fail.
        let _place = self.places.acquire().await;
        // Another image may have had the same layer packed meanwhile.
        if let Some(record) = find(&key, records).await? {
            return Ok(record);
        }
        let cancel = CancelOnDrop::default();
        let cancelled = Arc::clone(&cancel.0);
        let (pool, storage) = (Arc::clone(&self.pool), Arc::clone(storage));
        let work = spawn_blocking(move || pack(&pool, &content, &*storage, &cancelled));
        let packed = work.await.map_err(|_| AssembleError::Crashed)??;
        let record = LayerRecord::from(packed);
        records.write(&key, &record).await?;
        Ok(record)
    }

    fn key(&self, content: &Content) -> RecordKey {
        match content {
            Content::StorePaths(paths) => layer_key(self.level(), paths),
            Content::RootFs(packages) => rootfs_key(self.level(), packages),
        }
    }
}

/// The record of a layer whose blob is stored.
async fn find(key: &RecordKey, records: &Records) -> Result<Option<LayerRecord>, AssembleError> {
    let Some(record) = records.read::<LayerRecord>(key).await? else { return Ok(None) };
    Ok(records.are_stored([record.blob]).await?.then_some(record))
}

fn pack(
    pool: &Pool,
    content: &Content,
    storage: &dyn Storage,
    cancelled: &AtomicBool,
) -> Result<Packed, AssembleError> {
    let mut sink = storage.create_blob()?;
    let packed = match content {
        Content::StorePaths(paths) => pack_layer(pool, paths, &mut sink, cancelled),
        Content::RootFs(packages) => {
            let listings: Vec<(StorePath, Listing)> = packages
                .iter()
                .map(|package| Ok((package.clone(), Listing::read(package)?)))
                .collect::<Result<_, PackError>>()?;
            pack_rootfs(pool, &rootfs::plan(&listings), &mut sink, cancelled)
        }
    };
    let packed = packed.map_err(full_disk_is_the_storages)?;
    sink.commit(&packed.digest)?;
    Ok(packed)
}

/// What a sink refuses is a failure of the storage, not of packing.
fn full_disk_is_the_storages(error: PackError) -> AssembleError {
    match error {
        PackError::Sink(source) => StorageError::while_writing_a_layer(source).into(),
        other => other.into(),
    }
}
