//! What garbage collection needs: marks of use, a list, and removal.
//!
//! The mark of use of a file is the time of its last write.

use std::fs::{self, File, FileTimes};
use std::io;
use std::path::Path;
use std::time::SystemTime;

use super::temporary::{create_temporary, rename, unused_name};
use super::{BLOBS, Shared};
use crate::oci::Digest;
use crate::storage::blob::open;
use crate::storage::verified::Stamp;
use crate::storage::{MARK_INTERVAL, Object, RecordKey, RecordKind, Removal, StorageError, Stored};

impl Shared {
    pub(super) fn touch(&self, object: &Object) -> Result<bool, StorageError> {
        let path = self.path(object);
        let fail = |error| StorageError::io("mark", &path)(error);
        let Some(file) = existing(open(&path)).map_err(fail)? else { return Ok(false) };
        let metadata = file.metadata().map_err(fail)?;
        let age = metadata.modified().ok().and_then(|used| used.elapsed().ok());
        if age.is_some_and(|age| age < MARK_INTERVAL) {
            return Ok(true);
        }
        match self.mark(object, &file, Stamp::of(&metadata)) {
            // Another user's, who shares the storage: only who owns a file can set its time.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return self.write_again(&path);
            }
            // It is there all the same, and whoever wants it shall have it.
            Err(error) if takes_no_marks(&error) => {
                tracing::debug!(path = %path.display(), %error, "can't be marked as used");
            }
            other => other.map_err(fail)?,
        }
        // Garbage collection may have taken it away between the first look and now.
        Ok(existing(fs::symlink_metadata(&path)).map_err(fail)?.is_some())
    }

    /// Puts a copy in the place of a file, and so marks it.
    fn write_again(&self, path: &Path) -> Result<bool, StorageError> {
        let fail = |error| StorageError::io("mark", path)(error);
        let Some(content) = existing(open(path)).map_err(fail)? else { return Ok(false) };
        let mut file = create_temporary(path.parent().unwrap_or(&self.root))?;
        io::copy(&mut &content, file.as_file_mut()).map_err(fail)?;
        rename(file, path).map(|_| true)
    }

    /// Sets the mark of an open file to now. What it is known to hash to stays known.
    fn mark(&self, object: &Object, file: &File, before: Stamp) -> io::Result<()> {
        file.set_times(FileTimes::new().set_modified(SystemTime::now()))?;
        if let Object::Blob(digest) = object
            && self.verified.contains(digest, before)
        {
            self.verified.insert(*digest, Stamp::of(&file.metadata()?));
        }
        Ok(())
    }

    /// Whether the blob that a new file is to become is there already, known to be
    /// good, and is now marked as used.
    pub(super) fn renew(&self, digest: &Digest, new: &File) -> Result<bool, StorageError> {
        let path = self.blob_path(digest);
        let fail = |error| StorageError::io("inspect", &path)(error);
        let Some(old) = existing(open(&path)).map_err(fail)? else { return Ok(false) };
        let stamp = Stamp::of(&old.metadata().map_err(fail)?);
        if stamp.size() != new.metadata().map_err(fail)?.len()
            || !self.verified.contains(digest, stamp)
        {
            return Ok(false);
        }
        if self.mark(&Object::Blob(*digest), &old, stamp).is_err() {
            // Another user's: replaced by one of this.
            return Ok(false);
        }
        Ok(existing(fs::symlink_metadata(&path)).map_err(fail)?.is_some())
    }

    pub(super) fn list(&self) -> Result<Vec<Stored>, StorageError> {
        let mut all = Vec::new();
        self.list_directory(BLOBS, &mut all, Object::Blob)?;
        for kind in RecordKind::ALL {
            let record = |key| Object::Record(RecordKey { kind, key });
            self.list_directory(kind.directory(), &mut all, record)?;
        }
        Ok(all)
    }

    /// Everything in a directory whose name is that of an object.
    fn list_directory(
        &self,
        directory: &str,
        all: &mut Vec<Stored>,
        object: impl Fn(Digest) -> Object,
    ) -> Result<(), StorageError> {
        let path = self.root.join(directory);
        let fail = |error| StorageError::io("list", &path)(error);
        let Some(entries) = existing(fs::read_dir(&path)).map_err(fail)? else { return Ok(()) };
        for entry in entries {
            let entry = entry.map_err(fail)?;
            let name = entry.file_name();
            let Some(digest) = name.to_str().and_then(Digest::from_hex) else { continue };
            // It may have been removed since it was listed.
            let Some(metadata) = existing(entry.metadata()).map_err(fail)? else { continue };
            let used = metadata.modified().map_err(fail)?;
            all.push(Stored { object: object(digest), size: metadata.len(), used });
        }
        Ok(())
    }

    /// First takes the file's name away, so that nobody can mark it any more, and
    /// then looks whether somebody has until then.
    pub(super) fn remove(
        &self,
        object: &Object,
        not_used_since: SystemTime,
    ) -> Result<Removal, StorageError> {
        let path = self.path(object);
        match is_used(&path, not_used_since)? {
            None => return Ok(Removal::Absent),
            Some(true) => return Ok(Removal::Used),
            Some(false) => {}
        }
        let aside = unused_name(path.parent().unwrap_or(&path));
        let fail = |error| StorageError::io("remove", &path)(error);
        if existing(fs::rename(&path, &aside)).map_err(fail)?.is_none() {
            return Ok(Removal::Absent);
        }
        if is_used(&aside, not_used_since)? == Some(true) {
            fs::rename(&aside, &path).map_err(fail)?;
            return Ok(Removal::Used);
        }
        // A server that starts now may take it for abandoned, and remove it as well.
        existing(fs::remove_file(&aside)).map_err(fail)?;
        Ok(Removal::Removed)
    }
}

/// Whether a file was used after `not_used_since`; `None` if it isn't there.
fn is_used(path: &Path, not_used_since: SystemTime) -> Result<Option<bool>, StorageError> {
    let fail = |error| StorageError::io("inspect", path)(error);
    let Some(metadata) = existing(fs::symlink_metadata(path)).map_err(fail)? else {
        return Ok(None);
    };
    Ok(Some(metadata.modified().map_err(fail)? > not_used_since))
}

/// Whether the file system can't be written at the moment.
pub(super) fn takes_no_marks(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), ReadOnlyFilesystem | StorageFull | QuotaExceeded)
}

/// `None` for what is not there.
fn existing<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
