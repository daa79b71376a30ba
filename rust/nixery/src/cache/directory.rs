//! A bounded directory of this machine, for what is small and asked for often.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::oci::Digest;
use crate::small_file;

/// Contents under keys, in files. What was used least recently is removed when
/// there is too much. Nothing in it is needed: it can be removed at any time, and
/// what can't be read counts as absent. Files of other names are left alone.
///
/// A file is a digest of the rest, and the rest: whatever a crash left of it, only
/// what was written whole is found again.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    max_bytes: u64,
    index: Mutex<Index>,
}

#[derive(Debug, Default)]
struct Index {
    files: HashMap<String, File>,
    bytes: u64,
}

#[derive(Clone, Copy, Debug)]
struct File {
    bytes: u64,
    used: SystemTime,
}

/// Length of a digest in bytes.
const DIGEST_LENGTH: usize = 32;

/// How names of files begin that are being written.
const UNFINISHED: &str = ".nixery-new-";

/// Nobody writes such a file for so long.
const ABANDONED: Duration = Duration::from_mins(1);

impl Directory {
    /// Uses `path`, which is made where it is missing, for at most `max_bytes`.
    pub fn open(path: &Path, max_bytes: u64) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        let mut index = Index::default();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            // Another process may have removed it meanwhile.
            let Ok(metadata) = entry.metadata() else { continue };
            let Ok(name) = entry.file_name().into_string() else { continue };
            let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            if name.starts_with(UNFINISHED) && used.elapsed().is_ok_and(|age| age > ABANDONED) {
                // By a process that was killed.
                let _ = fs::remove_file(entry.path());
            } else if metadata.is_file() && Digest::from_hex(&name).is_some() {
                index.insert(name, File { bytes: metadata.len(), used });
            }
        }
        let directory = Self { path: path.to_owned(), max_bytes, index: Mutex::new(index) };
        directory.make_room(0);
        Ok(directory)
    }

    /// The content under `key`. May wait for the disk.
    pub fn get(&self, key: &Digest) -> Option<Vec<u8>> {
        let name = key.hex();
        let path = self.path.join(&name);
        let mut content = small_file::read(&path, self.max_bytes).ok()?;
        let now = SystemTime::now();
        if content.len() < DIGEST_LENGTH {
            return None;
        }
        let rest = content.split_off(DIGEST_LENGTH);
        if Digest::of(&rest) != Digest::from_bytes(content.try_into().ok()?) {
            tracing::warn!(path = %path.display(), "a cached file is damaged: removed");
            self.forget(&name);
            return None;
        }
        if let Some(file) = self.lock().files.get_mut(&name) {
            file.used = now;
        }
        // For the next process, which knows only the files.
        let _ = fs::File::open(&path).and_then(|file| file.set_modified(now));
        Some(rest)
    }

    /// Keeps `content` under `key`, in one step. A failure, such as a full disk, is
    /// only logged. May wait for the disk.
    pub fn put(&self, key: &Digest, content: &[u8]) {
        let bytes = (DIGEST_LENGTH + content.len()) as u64;
        if bytes > self.max_bytes {
            return;
        }
        self.make_room(bytes);
        let name = key.hex();
        match self.write(&name, content) {
            Ok(()) => self.lock().insert(name, File { bytes, used: SystemTime::now() }),
            Err(error) => {
                tracing::warn!(%error, path = %self.path.display(), "can't write to the cache");
            }
        }
    }

    /// Removes what is under `key`.
    pub fn remove(&self, key: &Digest) {
        self.forget(&key.hex());
    }

    fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let create = || tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(&self.path);
        let mut file = match create() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(&self.path)?;
                create()?
            }
            other => other?,
        };
        file.write_all(Digest::of(content).as_bytes())?;
        file.write_all(content)?;
        file.persist(self.path.join(name))?;
        Ok(())
    }

    /// Removes what was used least recently, until `bytes` more are within bounds.
    fn make_room(&self, bytes: u64) {
        let mut oldest = {
            let index = self.lock();
            if index.bytes + bytes <= self.max_bytes {
                return;
            }
            let files = index.files.iter().map(|(name, file)| (file.used, name.clone()));
            files.collect::<Vec<_>>()
        };
        oldest.sort_unstable();
        // More than needed, so that not every new file has to look for an old one.
        let target = self.max_bytes / 10 * 9;
        for (_, name) in oldest {
            if self.lock().bytes + bytes <= target {
                return;
            }
            self.forget(&name);
        }
    }

    fn forget(&self, name: &str) {
        // Somebody may have removed it already.
        let _ = fs::remove_file(self.path.join(name));
        self.lock().remove(name);
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        // Each step leaves the index whole.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    fn insert(&mut self, name: String, file: File) {
        self.remove(&name);
        self.bytes += file.bytes;
        self.files.insert(name, file);
    }

    fn remove(&mut self, name: &str) {
        if let Some(file) = self.files.remove(name) {
            self.bytes -= file.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use tempfile::TempDir;

    use super::*;

    fn key(name: &str) -> Digest {
        Digest::of(name.as_bytes())
    }

    #[test]
    fn what_was_kept_is_there_for_another_process() {
        let base = TempDir::new().unwrap();
        let path = base.path().join("cache");
        let directory = Directory::open(&path, 1000).unwrap();
        directory.put(&key("a"), b"one");
        directory.put(&key("a"), b"two");
        directory.put(&key("b"), b"");
        let killed = path.join(".nixery-new-killed");
        fs::write(&killed, "half").unwrap();
        let file = fs::File::options().write(true).open(&killed).unwrap();
        file.set_modified(SystemTime::now() - 2 * ABANDONED).unwrap();
        for (name, content) in [(".nixery-new-young", ""), (".profile", "x"), ("thesis", "y")] {
            fs::write(path.join(name), content.repeat(2000)).unwrap();
        }
        for directory in [directory, Directory::open(&path, 1000).unwrap()] {
            assert_eq!(directory.get(&key("a")).unwrap(), b"two");
            assert_eq!(directory.get(&key("b")).unwrap(), b"");
            assert_eq!(directory.get(&key("c")), None);
        }
        assert!(!killed.exists());
        for other in [".nixery-new-young", ".profile", "thesis"] {
            assert!(path.join(other).exists(), "{other} is somebody else's");
        }
    }

    #[test]
    fn what_was_used_least_recently_goes_first() {
        let base = TempDir::new().unwrap();
        let open = || Directory::open(base.path(), 10 * 132).unwrap();
        let directory = open();
        for number in 0..10 {
            directory.put(&key(&number.to_string()), &[0; 100]);
            thread::sleep(Duration::from_millis(2));
        }
        assert!(directory.get(&key("0")).is_some(), "used again");
        directory.put(&key("new"), &[0; 100]);
        let there = |directory: &Directory, name: &str| directory.get(&key(name)).is_some();
        assert!(there(&directory, "0") && there(&directory, "new") && !there(&directory, "1"));
        let files = || fs::read_dir(base.path()).unwrap().count();
        assert!(files() < 10);
        drop(directory);
        Directory::open(base.path(), 3 * 132).unwrap();
        assert_eq!(files(), 2, "a smaller bound holds from the start");
        assert!(there(&open(), "new"));
    }

    #[test]
    fn damage_counts_as_absence() {
        let base = TempDir::new().unwrap();
        let directory = Directory::open(base.path(), 1000).unwrap();
        for damage in [&b""[..], b"short", &[7; 40]] {
            directory.put(&key("a"), b"content");
            let file = base.path().join(key("a").hex());
            fs::write(&file, damage).unwrap();
            assert_eq!(directory.get(&key("a")), None);
        }
        directory.put(&key("large"), &[0; 1000]);
        assert_eq!(directory.get(&key("large")), None, "over the bound");
        fs::remove_dir_all(base.path()).unwrap();
        directory.put(&key("a"), b"content");
        assert!(directory.get(&key("a")).is_some(), "a removed directory is made again");
    }
}
