//! Directories for garbage collector roots.
//!
//! Nix keeps what symbolic links in such a directory lead to, for as long as
//! they are there. Each process has its own directory, locked while it lives, so
//! that a later one can remove what a killed one has left.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

/// The file that is locked.
const LOCK: &str = "lock";

/// Directories younger than this are left alone: their process may not have
/// locked them yet.
const YOUNG: Duration = Duration::from_mins(1);

/// The directory of this process.
#[derive(Debug)]
pub struct Roots {
    directory: TempDir,
    _lock: File,
}

/// The roots of one build; removed when this is dropped.
#[derive(Debug)]
pub struct BuildRoots(TempDir);

impl Roots {
    /// Makes a directory below `base`, which is made too where it is missing,
    /// and removes those of processes that are no more.
    pub fn open(base: &Path) -> io::Result<Self> {
        fs::create_dir_all(base)?;
        Self::remove_abandoned(base)?;
        let directory = tempfile::Builder::new().prefix("process-").tempdir_in(base)?;
        let lock = File::create(directory.path().join(LOCK))?;
        // Where locks aren't supported, nobody takes it for abandoned either.
        let _ = lock.try_lock();
        Ok(Self { directory, _lock: lock })
    }

    /// Removes the directories below `base` of processes that are no more.
    pub fn remove_abandoned(base: &Path) -> io::Result<()> {
        remove_abandoned(base)
    }

    /// A directory for one build.
    pub fn create(&self) -> io::Result<BuildRoots> {
        tempfile::Builder::new().prefix("build-").tempdir_in(self.directory.path()).map(BuildRoots)
    }
}

impl BuildRoots {
    /// Where the builder puts its roots.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

fn remove_abandoned(base: &Path) -> io::Result<()> {
    let now = SystemTime::now();
    for entry in fs::read_dir(base)? {
        let entry = entry?;
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let old = modified.is_ok_and(|time| now.duration_since(time).is_ok_and(|age| age > YOUNG));
        let unlocked = match File::open(entry.path().join(LOCK)) {
            Ok(lock) => lock.try_lock().is_ok(),
            // Its process ended before it made one.
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        if old && unlocked {
            // Fails where another process does the same at the same time.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_go_with_their_build() {
        let base = TempDir::new().unwrap();
        let roots = Roots::open(&base.path().join("roots")).unwrap();
        let (one, two) = (roots.create().unwrap(), roots.create().unwrap());
        let path = one.path().to_owned();
        assert!(path.is_dir() && path != two.path());
        drop(one);
        assert!(!path.exists() && two.path().is_dir());
    }

    #[test]
    fn what_a_killed_process_left_is_removed_but_not_what_a_living_one_has() {
        let base = TempDir::new().unwrap();
        let age = |path: &Path| {
            let old = SystemTime::now() - 2 * YOUNG;
            File::open(path).unwrap().set_modified(old).unwrap();
        };
        let living = Roots::open(base.path()).unwrap();
        age(living.directory.path());
        let killed = base.path().join("process-killed");
        fs::create_dir(&killed).unwrap();
        fs::write(killed.join(LOCK), "").unwrap();
        age(&killed);
        let killed_early = base.path().join("process-killed-early");
        fs::create_dir(&killed_early).unwrap();
        age(&killed_early);

        Roots::open(base.path()).unwrap();
        assert!(living.directory.path().exists());
        assert!(!killed.exists() && !killed_early.exists());
    }
}
