//! Files that have no name of their own yet.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tempfile::NamedTempFile;

use crate::storage::StorageError;

/// How names of unfinished files begin.
const TEMPORARY: &str = ".tmp-";

/// Unfinished files younger than this are left alone at start: their writer
/// may not have locked them yet.
pub(super) const TEMPORARY_AGE: Duration = Duration::from_mins(1);

/// A new file in `directory`, locked while it is open so that another process
/// which starts meanwhile doesn't take it for abandoned.
pub(super) fn create_temporary(directory: &Path) -> Result<NamedTempFile, StorageError> {
    let create = || {
        tempfile::Builder::new()
            .prefix(TEMPORARY)
            .permissions(Permissions::from_mode(0o644))
            .tempfile_in(directory)
    };
    let file = create().or_else(|error| match error.kind() {
        // Somebody has removed the directory: all in it can be made again.
        io::ErrorKind::NotFound => fs::create_dir_all(directory).and_then(|()| create()),
        _ => Err(error),
    });
    let file = file.map_err(StorageError::io("create a file in", directory))?;
    // Where locks aren't supported, nobody takes it for abandoned either.
    let _ = file.as_file().try_lock();
    Ok(file)
}

/// Gives `file` its name.
pub(super) fn rename(file: NamedTempFile, path: &Path) -> Result<File, StorageError> {
    file.persist(path).map_err(|error| StorageError::io("rename to", path)(error.error))
}

/// Makes `file` durable and gives it its name.
pub(super) fn persist(file: NamedTempFile, path: &Path) -> Result<File, StorageError> {
    file.as_file().sync_all().map_err(StorageError::io("sync", path))?;
    let file = rename(file, path)?;
    let directory = path.parent().unwrap_or(path);
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(StorageError::io("sync", directory))?;
    Ok(file)
}

/// Removes unfinished files that no living process has locked.
pub(super) fn remove_abandoned(directory: &Path) -> io::Result<()> {
    let now = SystemTime::now();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !is_temporary(&entry.file_name()) {
            continue;
        }
        // Any of these fails where another process has just finished the file.
        let Ok(modified) = entry.metadata().and_then(|metadata| metadata.modified()) else {
            continue;
        };
        let modified = put_aside(&entry.file_name()).unwrap_or(modified);
        let old = now.duration_since(modified).is_ok_and(|age| age > TEMPORARY_AGE);
        let Ok(file) = File::open(entry.path()) else { continue };
        if old && file.try_lock().is_ok() {
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

/// A name that nobody has in `directory`, and that is cleaned up if it is left. Nothing
/// is written, as the disk may be full.
pub(super) fn unused_name(directory: &Path) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let (process, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    // Processes on other machines may have the same number.
    directory.join(format!("{TEMPORARY}{process}-{number}-{}", time.as_nanos()))
}

/// When a file got an [`unused_name`]: the file itself may be of any age, and is given
/// its own name back if it turns out to be used.
fn put_aside(name: &OsStr) -> Option<SystemTime> {
    let mut parts = name.to_str()?.strip_prefix(TEMPORARY)?.split('-').skip(2);
    let nanoseconds = parts.next()?.parse().ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_nanos(nanoseconds))
}

fn is_temporary(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(TEMPORARY.as_bytes())
}
