//! Carrying out what was decided.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use super::plan::{IN_USE, Plan, Pointer, StoredImage};
use super::{GcError, Report, age};
use crate::cache::Records;
use crate::concurrent::try_all;
use crate::oci::Digest;
use crate::storage::{Object, RecordKey, Removal, Storage, StorageError};

/// Removes what is planned. What was used since it was planned stays, with all that it
/// needs.
pub(super) struct Remover<'a> {
    storage: &'a Arc<dyn Storage>,
    /// When it was planned.
    now: SystemTime,
    /// Blobs that are still to go, with their sizes.
    blobs: BTreeMap<Digest, u64>,
    /// Blobs that are needed after all.
    staying: BTreeSet<Digest>,
    report: Report,
}

impl<'a> Remover<'a> {
    pub(super) fn new(storage: &'a Arc<dyn Storage>, now: SystemTime) -> Self {
        let (blobs, staying, report) = Default::default();
        Self { storage, now, blobs, staying, report }
    }

    pub(super) async fn carry_out(
        mut self,
        plan: Plan,
        old_packages: Vec<RecordKey>,
    ) -> Result<Report, GcError> {
        self.blobs = plan.blobs.into_iter().collect();
        self.remove_images(plan.images).await?;

        let records = Records::new(Arc::clone(self.storage));
        let records = &records;
        let moves = plan.moved.iter().map(|(key, record)| async move {
            match records.write(key, record).await {
                Err(error) if error.is_full() => Ok(Some((key, record))),
                other => other.map(|()| None),
            }
        });
        // Until then they lead nowhere, which who reads them notices.
        let no_room_yet = try_all(moves).await?;
        self.remove_pointers(plan.pointers).await?;
        self.remove_packages(old_packages).await?;
        self.remove_blobs().await?;
        let left = no_room_yet.into_iter().flatten();
        try_all(left.map(|(key, record)| records.write(key, record))).await?;
        Ok(self.report)
    }

    async fn remove(&self, object: Object) -> Result<Removal, StorageError> {
        self.storage.remove(&object, self.now - IN_USE).await
    }

    /// Removes records of images, and then their manifests.
    async fn remove_images(&mut self, images: Vec<StoredImage>) -> Result<(), GcError> {
        // All records first, as several may name the same manifests. One that is absent may
        // be so only for the moment in which another collection looks at it.
        let mut going = Vec::new();
        for image in images {
            match &image.record {
                Some(key)
                    if self.remove(Object::Record(key.clone())).await? != Removal::Removed =>
                {
                    self.staying.extend(image.blobs);
                }
                Some(_) | None => going.push(image),
            }
        }
        for image in going {
            if self.remove_manifests(&image.manifests).await? {
                self.report.images.push((image.name, age(image.used, self.now)));
            } else {
                self.staying.extend(image.blobs);
            }
        }
        Ok(())
    }

    /// Removes the manifests of one image: a client that asks by digest now has all or
    /// nothing. Whether none of them is in use.
    async fn remove_manifests(&mut self, manifests: &[Digest]) -> Result<bool, GcError> {
        for manifest in manifests.iter().filter(|manifest| !self.staying.contains(manifest)) {
            let Some(size) = self.blobs.get(manifest).copied() else { continue };
            if self.remove(Object::Blob(*manifest)).await? != Removal::Removed {
                return Ok(false);
            }
            self.blobs.remove(manifest);
            self.report.blobs += 1;
            self.report.bytes += size;
        }
        Ok(true)
    }

    /// Removes records of layers and store paths. A build that finds a layer by its record
    /// marks that, and relies on the blob.
    async fn remove_pointers(&mut self, pointers: Vec<Pointer>) -> Result<(), GcError> {
        let this = &*self;
        let removals = pointers.into_iter().map(|pointer| async move {
            let removal = this.remove(Object::Record(pointer.key)).await?;
            Ok::<_, StorageError>((pointer.blob, removal))
        });
        for (blob, removal) in try_all(removals).await? {
            if removal == Removal::Removed {
                self.report.records += 1;
            } else {
                self.staying.insert(blob);
            }
        }
        Ok(())
    }

    /// Removes records of packages.
    async fn remove_packages(&mut self, packages: Vec<RecordKey>) -> Result<(), GcError> {
        let removals = packages.into_iter().map(|key| self.remove(Object::Record(key)));
        let removals = try_all(removals).await?;
        self.report.records += removals.into_iter().filter(|&one| one == Removal::Removed).count();
        Ok(())
    }

    /// Removes the blobs that are left to go, which nothing names any more.
    async fn remove_blobs(&mut self) -> Result<(), GcError> {
        let this = &*self;
        let going = this.blobs.iter().filter(|(digest, _)| !this.staying.contains(digest));
        let removals = going.map(|(digest, size)| async move {
            let removal = this.remove(Object::Blob(*digest)).await?;
            Ok::<_, StorageError>((removal == Removal::Removed).then_some(*size))
        });
        for size in try_all(removals).await?.into_iter().flatten() {
            self.report.blobs += 1;
            self.report.bytes += size;
        }
        Ok(())
    }
}
