//! How to come by layers: they are known, put together from others, or packed.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::Packer;
use crate::archive::{Listing, PathSource};
use crate::assemble::AssembleError;
use crate::cache::{LayerRecord, PackageRecord, PathRecord, path_key};
use crate::concurrent::try_all;
use crate::counters::{self, CacheLayer};
use crate::oci::Digest;
use crate::storage::{Blob, Object, RecordKey};
use crate::store_path::StorePath;

/// What a layer holds.
pub(in crate::assemble) enum Content {
    /// Store paths, sorted.
    StorePaths(Vec<StorePath>),
    /// The root file system over these packages.
    RootFs(Vec<Arc<PackageRecord>>),
}

/// How to come by a layer.
pub(in crate::assemble) enum Plan {
    /// It is stored.
    Known(RecordKey, LayerRecord),
    /// It is to be made.
    Make(RecordKey, Recipe),
}

/// What a layer is made of.
pub(in crate::assemble) enum Recipe {
    /// Store paths, from the store or from other layers.
    StorePaths(Vec<PathSource>),
    /// What the packages have at the top, by package.
    RootFs(Vec<(StorePath, Listing)>),
}

impl Plan {
    /// The paths that must be in the store.
    pub(in crate::assemble) fn paths_to_pack(&self) -> impl Iterator<Item = &StorePath> {
        let sources = match self {
            Self::Make(_, Recipe::StorePaths(sources)) => &sources[..],
            Self::Known(..) | Self::Make(_, Recipe::RootFs(_)) => &[],
        };
        sources.iter().filter_map(|source| match source {
            PathSource::Store(path) => Some(path),
            PathSource::Layer { .. } => None,
        })
    }
}

/// Layers that others are made from, opened once. Each is `None` if it is missing.
type Opened = Mutex<HashMap<Digest, Option<Blob>>>;

impl Packer {
    /// How to come by layers with `contents`, in their order. With `reuse`, store
    /// paths are taken from layers that have them.
    pub(in crate::assemble) async fn plan(
        &self,
        contents: Vec<Content>,
        reuse: bool,
    ) -> Result<Vec<Plan>, AssembleError> {
        let opened = Opened::default();
        let plan = |content| self.plan_one(content, reuse, &opened);
        try_all(contents.into_iter().map(plan)).await
    }

    async fn plan_one(
        &self,
        content: Content,
        reuse: bool,
        opened: &Opened,
    ) -> Result<Plan, AssembleError> {
        let key = self.key(&content);
        let known = self.find(&key).await?;
        counters::looked_up(CacheLayer::Record(key.kind.directory()), known.is_some());
        if let Some(record) = known {
            return Ok(Plan::Known(key, record));
        }
        let recipe = match content {
            Content::StorePaths(paths) => {
                let sources = paths.into_iter().map(|path| async move {
                    let found = if reuse { self.find_path(&path, opened).await? } else { None };
                    Ok::<_, AssembleError>(found.unwrap_or(PathSource::Store(path)))
                });
                Recipe::StorePaths(try_all(sources).await?)
            }
            Content::RootFs(packages) => {
                let listing = |record: &Arc<PackageRecord>| {
                    (record.package.path.clone(), record.listing.clone())
                };
                Recipe::RootFs(packages.iter().map(listing).collect())
            }
        };
        Ok(Plan::Make(key, recipe))
    }

    /// Where the bytes of a store path are that was packed before.
    async fn find_path(
        &self,
        path: &StorePath,
        opened: &Opened,
    ) -> Result<Option<PathSource>, AssembleError> {
        let key = path_key(self.level(), path);
        let Some(record) = self.records.read::<PathRecord>(&key).await? else { return Ok(None) };
        let digest = record.blob.digest;
        let known = opened.lock().await.get(&digest).cloned();
        let blob = if let Some(blob) = known {
            blob
        } else {
            let blob = self.records.storage().open_blob(&digest).await?;
            if blob.is_some() {
                // Until it is read, Nix may run for long.
                self.records.storage().touch(&Object::Blob(digest)).await?;
            }
            opened.lock().await.insert(digest, blob.clone());
            blob
        };
        let members = record.members;
        let is_whole = |blob: &Blob| {
            let end = members.offset.checked_add(members.length());
            members.path == *path && end.is_some_and(|end| end <= blob.size())
        };
        match blob {
            Some(blob) if is_whole(&blob) => Ok(Some(PathSource::Layer { members, blob })),
            _ => {
                tracing::warn!(%path, "a record names a layer that is missing: packed again");
                Ok(None)
            }
        }
    }
}
