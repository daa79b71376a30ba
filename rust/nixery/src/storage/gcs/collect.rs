//! What garbage collection needs: marks of use, a list, and removal.

use std::time::{Duration, Instant, SystemTime};

use super::Shared;
use super::api::Change;
use super::bucket::{BLOBS, RENEWED, ROUNDS, STAGING, name_of};
use super::error::{BucketError, about};
use super::resource::Resource;
use super::upload::remove_parts;
use crate::oci::Digest;
use crate::storage::{Object, RecordKey, RecordKind, Removal, StorageError, Stored};

/// After this time, what is left of an unfinished blob is removed: whoever wrote it is
/// gone.
pub(super) const ABANDONED: Duration = Duration::from_hours(24);

impl Shared {
    pub(super) async fn touch(&self, object: &Object) -> Result<bool, StorageError> {
        let now = Instant::now();
        if self.marked.get(object).is_some_and(|marked| now - marked < RENEWED) {
            return Ok(true);
        }
        let (bucket, name) = (&self.bucket, name_of(object));
        let mark = async {
            for _ in 0..ROUNDS {
                let Some(resource) = bucket.api.stat(&name).await? else { return Ok(false) };
                if let Some(is_there) = bucket.mark(&resource).await? {
                    return Ok(is_there);
                }
            }
            Err(BucketError::Contended)
        };
        let is_there = mark.await.map_err(self.about("mark", object))?;
        if is_there {
            self.marked.insert(object.clone(), now);
        } else {
            self.forget(object);
        }
        Ok(is_there)
    }

    pub(super) async fn list(&self) -> Result<Vec<Stored>, StorageError> {
        let bucket = &self.bucket;
        let mut all = Vec::new();
        let prefixes = [None].into_iter().chain(RecordKind::ALL.map(Some));
        for kind in prefixes {
            let prefix = format!("{}/", kind.map_or(BLOBS, RecordKind::directory));
            let found = bucket.api.list(&prefix).await;
            let found = found.map_err(about("list", bucket.url(&prefix)))?;
            all.extend(found.into_iter().filter_map(|resource| {
                let key = Digest::from_hex(resource.name.strip_prefix(&prefix)?)?;
                let object = match kind {
                    None => Object::Blob(key),
                    Some(kind) => Object::Record(RecordKey { kind, key }),
                };
                let used = bucket.api.clock.time_here(resource.used());
                Some(Stored { object, size: resource.size(), used })
            }));
        }
        Ok(all)
    }

    pub(super) async fn remove(
        &self,
        object: &Object,
        not_used_since: SystemTime,
    ) -> Result<Removal, StorageError> {
        let (bucket, name) = (&self.bucket, name_of(object));
        let remove = async {
            let Some(version) = bucket.api.stat(&name).await? else { return Ok(Removal::Absent) };
            if bucket.api.clock.time_here(version.used()) > not_used_since {
                return Ok(Removal::Used);
            }
            Ok(match bucket.api.delete(&name, Some(&version)).await? {
                Change::Made(()) => Removal::Removed,
                Change::Absent => Removal::Absent,
                // It was marked, or written, since it was looked at.
                Change::OtherVersion => Removal::Used,
            })
        };
        let removal = remove.await.map_err(self.about("remove", object))?;
        if removal != Removal::Used {
            self.forget(object);
        }
        Ok(removal)
    }

    /// Removes unfinished blobs that nobody has written to for so long.
    pub(super) async fn remove_unfinished(&self, least: Duration) -> Result<(), StorageError> {
        let bucket = &self.bucket;
        let prefix = format!("{STAGING}/");
        let parts = bucket.api.list(&prefix).await.map_err(about("list", bucket.url(&prefix)))?;
        let now = bucket.api.clock.now();
        let is_old =
            |part: &&Resource| now.duration_since(part.used()).is_ok_and(|age| age >= least);
        let old = parts.iter().filter(is_old);
        let mut prefixes: Vec<&str> =
            old.filter_map(|part| Some(part.name.rsplit_once('/')?.0)).collect();
        prefixes.dedup();
        for prefix in prefixes {
            tracing::info!(prefix = bucket.url(prefix), "removing an unfinished blob");
            remove_parts(bucket, prefix).await;
        }
        Ok(())
    }
}
