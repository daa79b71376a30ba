//! Blobs and records as files.
//!
//! Every file is written under a temporary name beside its own, synced, and
//! renamed, so that under its name there is either all of it or nothing. A
//! file's media type isn't stored: what asks for a blob knows it.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use tempfile::NamedTempFile;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::blob::open_now;
use super::verified::{Stamp, Verified, hash};
use super::{Blob, BlobWriter, ReadNow, RecordKey, RecordKind, Storage, StorageError};
use crate::oci::Digest;

/// The directory of blobs.
const BLOBS: &str = "layers";

/// How names of unfinished files begin.
const TEMPORARY: &str = ".tmp-";

/// Unfinished files younger than this are left alone at start: their writer
/// may not have locked them yet.
const TEMPORARY_AGE: Duration = Duration::from_mins(1);

/// Files hashed at the same time.
const HASHERS: usize = 2;

/// A directory with blobs and records.
#[derive(Debug)]
pub struct Filesystem {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    root: PathBuf,
    verified: Verified,
    hashers: Semaphore,
    /// Whether the file system can tell what it has in memory.
    tells_cached: bool,
}

/// An open blob, and whether it is known to be what its name says.
struct Opened {
    file: File,
    stamp: Stamp,
    verified: bool,
}

impl Filesystem {
    /// Uses `root`, makes it and what belongs in it where missing, and removes
    /// what writers that were killed have left.
    pub fn open(root: &Path) -> Result<Self, StorageError> {
        let kinds = [RecordKind::Manifest, RecordKind::Build].map(RecordKind::directory);
        for directory in kinds.into_iter().chain([BLOBS]) {
            let directory = root.join(directory);
            fs::create_dir_all(&directory)
                .map_err(StorageError::io("create directory", &directory))?;
            remove_abandoned(&directory).map_err(StorageError::io("clean up", &directory))?;
        }
        let shared = Shared {
            root: root.to_owned(),
            verified: Verified::default(),
            hashers: Semaphore::new(HASHERS),
            tells_cached: tells_cached(&root.join(BLOBS)),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    fn record_path(&self, key: &RecordKey) -> PathBuf {
        self.shared.root.join(key.kind.directory()).join(key.key.hex())
    }
}

impl Shared {
    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join(BLOBS).join(digest.hex())
    }

    /// Opens a blob and says whether it is known to be what its name says.
    fn open(&self, digest: &Digest) -> Result<Option<Opened>, StorageError> {
        let path = self.blob_path(digest);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StorageError::io("open", path)(error)),
        };
        self.inspect(digest, file).map(Some).map_err(StorageError::io("inspect", path))
    }

    /// The same for callers that must not wait for the disk; `None` where it would
    /// have to be waited for, and where it failed.
    fn open_now(&self, digest: &Digest) -> Option<Opened> {
        let file = self.tells_cached.then(|| open_now(&self.blob_path(digest)).ok())??;
        self.inspect(digest, file).ok()
    }

    fn inspect(&self, digest: &Digest, file: File) -> io::Result<Opened> {
        let stamp = Stamp::of(&file.metadata()?);
        let verified = self.verified.contains(digest, stamp);
        Ok(Opened { file, stamp, verified })
    }

    /// Hashes a blob; one that isn't what its name says is removed, so that it
    /// is made again.
    fn verify(&self, digest: &Digest, file: &File, stamp: Stamp) -> Result<bool, StorageError> {
        let path = self.blob_path(digest);
        let found = hash(file).map_err(StorageError::io("read", &path))?;
        if found == *digest {
            self.verified.insert(*digest, stamp);
            return Ok(true);
        }
        tracing::error!(%digest, %found, path = %path.display(), "removing a damaged blob");
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StorageError::io("remove the damaged", path)(error))
            }
            _ => Ok(false),
        }
    }
}

#[async_trait]
impl Storage for Filesystem {
    async fn check(&self) -> Result<(), StorageError> {
        let directory = self.shared.root.join(BLOBS);
        blocking(move || {
            let mut file = create_temporary(&directory)?;
            let path = file.path().to_owned();
            file.write_all(b"check").map_err(StorageError::io("write", &path))?;
            fs::read(&path).map(drop).map_err(StorageError::io("read", path))
        })
        .await
    }

    async fn read_record(&self, key: &RecordKey) -> Result<Option<Bytes>, StorageError> {
        let path = self.record_path(key);
        blocking(move || match fs::read(&path) {
            Ok(content) => Ok(Some(content.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StorageError::io("read", path)(error)),
        })
        .await
    }

    async fn write_record(&self, key: &RecordKey, content: &[u8]) -> Result<(), StorageError> {
        let path = self.record_path(key);
        let content = content.to_vec();
        blocking(move || {
            let directory = path.parent().unwrap_or(&path);
            let mut file = create_temporary(directory)?;
            file.write_all(&content).map_err(StorageError::io("write", &path))?;
            persist(file, &path).map(drop)
        })
        .await
    }

    async fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, StorageError> {
        let path = self.shared.blob_path(digest);
        blocking(move || match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StorageError::io("inspect", path)(error)),
        })
        .await
    }

    async fn open_blob(&self, digest: &Digest) -> Result<Option<Blob>, StorageError> {
        let (shared, digest) = (Arc::clone(&self.shared), *digest);
        let opened = match shared.open_now(&digest) {
            Some(opened) => Some(opened),
            None => blocking(move || shared.open(&digest)).await?,
        };
        let Some(Opened { file, stamp, verified }) = opened else { return Ok(None) };
        let size = stamp.size();
        let file = Arc::new(file);
        if verified {
            return Ok(Some(Blob::in_file(file, size)));
        }
        // Never closed, so acquiring can't fail.
        let _permit = self.shared.hashers.acquire().await;
        let (shared, hashed) = (Arc::clone(&self.shared), Arc::clone(&file));
        let good = blocking(move || {
            Ok(shared.verified.contains(&digest, stamp)
                || shared.verify(&digest, &hashed, stamp)?)
        })
        .await?;
        Ok(good.then(|| Blob::in_file(file, size)))
    }

    async fn put_blob(&self, content: &[u8]) -> Result<Digest, StorageError> {
        let digest = Digest::of(content);
        let (shared, content) = (Arc::clone(&self.shared), content.to_vec());
        blocking(move || {
            let mut writer = Box::new(Writer::create(shared)?);
            let path = writer.file.path().to_owned();
            writer.write_all(&content).map_err(StorageError::io("write", path))?;
            writer.commit(&digest)
        })
        .await?;
        Ok(digest)
    }

    fn create_blob(&self) -> Result<Box<dyn BlobWriter>, StorageError> {
        Ok(Box::new(Writer::create(Arc::clone(&self.shared))?))
    }
}

/// A blob under a temporary name.
struct Writer {
    shared: Arc<Shared>,
    file: NamedTempFile,
}

impl Writer {
    fn create(shared: Arc<Shared>) -> Result<Self, StorageError> {
        let file = create_temporary(&shared.root.join(BLOBS))?;
        Ok(Self { shared, file })
    }
}

impl Write for Writer {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.file.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl BlobWriter for Writer {
    fn commit(self: Box<Self>, digest: &Digest) -> Result<(), StorageError> {
        let path = self.shared.blob_path(digest);
        // A blob of that name is replaced: it has the same content, or is damaged.
        let file = persist(self.file, &path)?;
        let metadata = file.metadata().map_err(StorageError::io("inspect", path))?;
        self.shared.verified.insert(*digest, Stamp::of(&metadata));
        Ok(())
    }
}

/// A new file in `directory`, locked while it is open so that another process
/// which starts meanwhile doesn't take it for abandoned.
fn create_temporary(directory: &Path) -> Result<NamedTempFile, StorageError> {
    let file = tempfile::Builder::new()
        .prefix(TEMPORARY)
        .permissions(Permissions::from_mode(0o644))
        .tempfile_in(directory)
        .map_err(StorageError::io("create a file in", directory))?;
    // Where locks aren't supported, nobody takes it for abandoned either.
    let _ = file.as_file().try_lock();
    Ok(file)
}

/// Makes `file` durable and gives it its name.
fn persist(file: NamedTempFile, path: &Path) -> Result<File, StorageError> {
    file.as_file().sync_all().map_err(StorageError::io("sync", path))?;
    let file =
        file.persist(path).map_err(|error| StorageError::io("rename to", path)(error.error))?;
    let directory = path.parent().unwrap_or(path);
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(StorageError::io("sync", directory))?;
    Ok(file)
}

/// Whether the file system below `directory` tells what it has in memory from what
/// must come from elsewhere. Those that can't, such as a network's, are asked only
/// where it doesn't matter how long they take to answer.
fn tells_cached(directory: &Path) -> bool {
    let ask = || {
        let mut file = create_temporary(directory).ok()?;
        file.write_all(b"cached").ok()?;
        let blob = Blob::in_file(Arc::new(file.reopen().ok()?), 6);
        blob.read_now(&mut [0; 6], 0).ok()
    };
    matches!(ask(), Some(ReadNow::Read(_)))
}

/// Removes unfinished files that no living process has locked.
fn remove_abandoned(directory: &Path) -> io::Result<()> {
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
        let old = now.duration_since(modified).is_ok_and(|age| age > TEMPORARY_AGE);
        let Ok(file) = File::open(entry.path()) else { continue };
        if old && file.try_lock().is_ok() {
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

fn is_temporary(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(TEMPORARY.as_bytes())
}

/// Runs what may wait for the disk on a thread for that.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    match spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only at shutdown, when nobody waits for the answer.
            Err(_) => Err(StorageError::io("reach", "storage")(io::ErrorKind::Interrupted.into())),
        },
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn storage() -> (TempDir, Filesystem) {
        let directory = TempDir::new().unwrap();
        let storage = Filesystem::open(directory.path()).unwrap();
        (directory, storage)
    }

    fn files(directory: &TempDir) -> usize {
        fs::read_dir(directory.path().join(BLOBS)).unwrap().count()
    }

    #[tokio::test]
    async fn keeps_the_contract() {
        let (_directory, storage) = storage();
        super::super::contract::check(Arc::new(storage)).await;
    }

    #[tokio::test]
    async fn keeps_the_contract_where_opening_must_be_waited_for() {
        let (_directory, mut storage) = storage();
        Arc::get_mut(&mut storage.shared).unwrap().tells_cached = false;
        super::super::contract::check(Arc::new(storage)).await;
    }

    #[tokio::test]
    async fn what_was_stored_is_there_for_another_process() {
        let (directory, storage) = storage();
        let digest = storage.put_blob(b"content").await.unwrap();
        let again = Filesystem::open(directory.path()).unwrap();
        let blob = again.open_blob(&digest).await.unwrap().unwrap();
        assert_eq!(blob.read_all(100).unwrap().unwrap(), b"content");
    }

    /// The Go program answered 200 with what was left of such files.
    #[tokio::test]
    async fn a_blob_that_was_damaged_is_not_there() {
        for damage in [&b""[..], b"conten", b"CONTENT", b"content and more"] {
            let (directory, storage) = storage();
            let digest = storage.put_blob(b"content").await.unwrap();
            let path = directory.path().join(BLOBS).join(digest.hex());
            fs::write(&path, damage).unwrap();
            for storage in [storage, Filesystem::open(directory.path()).unwrap()] {
                assert!(storage.open_blob(&digest).await.unwrap().is_none());
            }
            assert!(!path.exists(), "so that it can be made again");
        }
    }

    #[tokio::test]
    async fn damage_is_found_also_under_the_old_time() {
        let (directory, storage) = storage();
        let digest = storage.put_blob(b"content").await.unwrap();
        let path = directory.path().join(BLOBS).join(digest.hex());
        let file = File::options().write(true).open(&path).unwrap();
        let modified = file.metadata().unwrap().modified().unwrap();
        // Longer than what some kernels' clocks for files take for one moment.
        std::thread::sleep(Duration::from_millis(20));
        (&file).write_all(b"CONTENT").unwrap();
        file.set_modified(modified).unwrap();
        assert!(storage.open_blob(&digest).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn an_abandoned_writer_leaves_nothing() {
        let (directory, storage) = storage();
        let mut writer = storage.create_blob().unwrap();
        writer.write_all(b"half").unwrap();
        assert_eq!(files(&directory), 1);
        drop(writer);
        assert_eq!(files(&directory), 0);
    }

    #[tokio::test]
    async fn what_a_killed_writer_left_is_removed_but_not_what_is_being_written() {
        let (directory, storage) = storage();
        let blobs = directory.path().join(BLOBS);
        let old = SystemTime::now() - 2 * TEMPORARY_AGE;
        let age = |name: &Path| File::options().write(true).open(name).unwrap().set_modified(old);
        let left = blobs.join(".tmp-killed");
        fs::write(&left, b"half").unwrap();
        age(&left).unwrap();
        let just_made = blobs.join(".tmp-young");
        fs::write(&just_made, b"").unwrap();
        let mut writer = storage.create_blob().unwrap();
        writer.write_all(b"con").unwrap();
        for entry in fs::read_dir(&blobs).unwrap() {
            let path = entry.unwrap().path();
            if path != just_made {
                age(&path).unwrap();
            }
        }

        Filesystem::open(directory.path()).unwrap();
        assert!(!left.exists() && just_made.exists());
        writer.write_all(b"tent").unwrap();
        writer.commit(&Digest::of(b"content")).unwrap();
        assert!(storage.open_blob(&Digest::of(b"content")).await.unwrap().is_some());
    }

    #[test]
    fn a_place_that_cannot_be_used_is_named() {
        let file = NamedTempFile::new().unwrap();
        let error = Filesystem::open(&file.path().join("storage")).unwrap_err().to_string();
        assert!(error.contains(file.path().to_str().unwrap()), "{error}");
    }

    #[tokio::test]
    async fn a_full_disk_is_told_from_other_failures() {
        // Every write to this device fails with "no space left".
        let mut full = File::options().write(true).open("/dev/full").unwrap();
        let error = full.write_all(b"x").map_err(StorageError::io("write", "p")).unwrap_err();
        assert!(matches!(error, StorageError::Full { .. }), "{error:?}");
    }
}
