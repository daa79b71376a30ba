//! Finding images that were made before: in this process, on this machine, in the
//! storage.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::error::AssembleError;
use super::known::{KnownImage, State};
use super::{Image, ImageRequest, Inner, PopularityTable, StoredManifest};
use crate::cache::{ManifestInputs, ManifestRecord, manifest_key};
use crate::counters::{CacheLayer, looked_up};
use crate::oci::{Digest, Format, Manifest};
use crate::storage::{Object, RecordKey, StorageError};

/// How long a client that asks for what is known waits until it is marked as used.
const MARKING: Duration = Duration::from_secs(2);

/// An image in this machine's directory: its manifests themselves.
#[derive(Serialize, Deserialize)]
struct Kept {
    manifests: Vec<String>,
}

impl Inner {
    /// An image that this process has seen, if it may be handed out as it is.
    pub(super) async fn in_memory(
        &self,
        request: &ImageRequest,
    ) -> Result<Option<Arc<Image>>, AssembleError> {
        let found = match self.known.image(request) {
            Some(known) if self.is_whole(&known).await? => Some(known.image),
            Some(_) => {
                self.known.forget_image(request);
                None
            }
            None => None,
        };
        looked_up(CacheLayer::Memory, found.is_some());
        Ok(found)
    }

    /// Whether all blobs of an image are still there; looked up only once, and
    /// again when any blob was found missing since.
    async fn is_whole(&self, known: &KnownImage) -> Result<bool, AssembleError> {
        if !self.mark(known.state()).await? {
            return Ok(false);
        }
        let now = self.known.doubts();
        if known.is_checked(now) {
            return Ok(true);
        }
        let whole = self.records.are_stored(known.image.blobs()).await?;
        if whole {
            known.set_checked(now);
        }
        Ok(whole)
    }

    /// Marks what is known as used; `false` if some of it is gone. While the storage doesn't
    /// answer, what is in memory goes on being handed out: marks last for an hour.
    async fn mark(&self, state: &State) -> Result<bool, StorageError> {
        if self.known.is_marked(state) {
            return Ok(true);
        }
        let _turn = state.turn.lock().await;
        if self.known.is_marked(state) {
            return Ok(true);
        }
        for object in &state.marks {
            match timeout(MARKING, self.storage.touch(object)).await {
                Ok(Ok(true)) | Err(_) => {}
                Ok(Err(error)) if error.is_temporary() => {}
                Ok(Ok(false)) => return Ok(false),
                Ok(Err(error)) => return Err(error),
            }
        }
        self.known.set_marked(state);
        Ok(true)
    }

    /// An image that another process has made, or an earlier one, if all of it is there.
    pub(super) async fn recorded(&self, key: &RecordKey) -> Result<Option<Image>, AssembleError> {
        let kept = self.in_directory(&key.key).await;
        let Some(record) = self.records.read::<ManifestRecord>(key).await? else {
            return Ok(None);
        };
        // Another server may have replaced the record: what garbage collection knows of
        // is what it names.
        let is_the_one = |image: &Image| {
            let manifests = image.manifests.iter().map(|manifest| manifest.descriptor());
            manifests.eq(record.manifests.iter().copied())
        };
        let image = if let Some(image) = kept.filter(is_the_one) {
            image
        } else {
            let mut manifests = Vec::new();
            for descriptor in &record.manifests {
                let Some(manifest) = self.records.manifest(&descriptor.digest).await? else {
                    tracing::warn!(%key, "a known image has lost its manifest: made again");
                    return Ok(None);
                };
                manifests.push(Arc::new(StoredManifest::new(manifest)));
            }
            let image = Image { manifests };
            self.keep_in_directory(key.key, &image).await;
            image
        };
        let is_there = self.has_all(key, &image).await?
            && self.storage.touch(&Object::Record(key.clone())).await?;
        Ok(is_there.then_some(image))
    }

    async fn has_all(&self, key: &RecordKey, image: &Image) -> Result<bool, AssembleError> {
        let all = image.has_all_formats() && self.records.are_stored(image.blobs()).await?;
        if !all {
            tracing::warn!(%key, "a known image has lost blobs: made again");
        }
        Ok(all)
    }

    async fn in_directory(&self, key: &Digest) -> Option<Image> {
        let (directory, key) = (Arc::clone(&self.directory), *key);
        // Fails only at shutdown.
        let content = spawn_blocking(move || directory.get(&key)).await.ok().flatten();
        let image = content.and_then(|content| {
            let kept: Kept = serde_json::from_slice(&content).ok()?;
            let manifests = kept.manifests.into_iter().map(|document| {
                let manifest = Manifest::recognise(document.into_bytes())?;
                Some(Arc::new(StoredManifest::new(manifest)))
            });
            Some(Image { manifests: manifests.collect::<Option<_>>()? })
        });
        looked_up(CacheLayer::Directory, image.is_some());
        image
    }

    pub(super) async fn keep_in_directory(&self, key: Digest, image: &Image) {
        let text = |manifest: &Arc<StoredManifest>| {
            String::from_utf8_lossy(&manifest.content).into_owned()
        };
        let kept = Kept { manifests: image.manifests.iter().map(text).collect() };
        // Serialising to memory can't fail.
        let content = serde_json::to_vec(&kept).unwrap_or_default();
        let directory = Arc::clone(&self.directory);
        let _ = spawn_blocking(move || directory.put(&key, &content)).await;
    }

    /// Where an image's manifests are recorded; nowhere when its source may
    /// have moved by the next time.
    pub(super) fn manifest_key(
        &self,
        request: &ImageRequest,
        popularity: &PopularityTable,
    ) -> Option<RecordKey> {
        if !request.source.is_fixed() {
            return None;
        }
        let packages: Vec<&str> = request.spec.packages().collect();
        Some(manifest_key(ManifestInputs {
            source: &request.source,
            system: request.spec.platform().system(),
            packages: &packages,
            level: self.packer.level(),
            max_layers: self.limits.max_layers,
            popularity: &popularity.digest,
        }))
    }

    /// The manifest with this digest, if it is one and is stored, marked as used.
    pub(super) async fn manifest(
        &self,
        digest: &Digest,
    ) -> Result<Option<Arc<StoredManifest>>, AssembleError> {
        if let Some(known) = self.known.manifest(digest) {
            if self.mark(known.state()).await? {
                return Ok(Some(known.manifest));
            }
            self.known.forget_manifest(digest);
            return Ok(None);
        }
        let manifest = self.records.manifest(digest).await?;
        let Some(manifest) = manifest else { return Ok(None) };
        let manifest = Arc::new(StoredManifest::new(manifest));
        if !self.storage.touch(&Object::Blob(*digest)).await? {
            return Ok(None);
        }
        self.known.add_manifest(&manifest);
        Ok(Some(manifest))
    }
}

impl Image {
    fn has_all_formats(&self) -> bool {
        Format::ALL.into_iter().all(|format| self.manifest(format).is_some())
    }
}
