//! How much room is left on the disks: for images, and for the Nix store.
//!
//! Where it runs short for images, no new ones are begun, so that what there is can go
//! on being served and garbage collection has room to work in. The Nix store is only
//! watched: Nix makes room there by itself when it builds (`min-free` in nix.conf(5)),
//! which it could not if nothing were built any more.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use thiserror::Error;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use crate::counters;
use crate::error_chain::ErrorChain;

/// Nothing new is made, as there is too little room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "the server's disk is nearly full, with less than {} MB free: images that it has are served, \
     and no new ones are made until there is more room (storage.min_free)",
    .min_free / MB
)]
pub struct DiskShort {
    /// How many free bytes there have to be.
    pub min_free: u64,
}

const MB: u64 = 1_000_000;

/// What is watched. Clones watch the same.
#[derive(Clone, Debug)]
pub struct Disk(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    min_free: u64,
    /// Where images are kept; `None` where that is no disk of this machine.
    images: Option<PathBuf>,
    /// The Nix store, where that is on another one.
    nix_store: Option<PathBuf>,
    is_short: watch::Sender<bool>,
    is_store_short: AtomicBool,
    is_unreadable: AtomicBool,
}

/// What a look at how much is free changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Short,
    Enough,
}

impl Disk {
    /// Watches the file systems that have `images` and `nix_store`, each of which shall
    /// have `min_free` bytes free; 0 for any number.
    pub fn new(min_free: u64, images: Option<&Path>, nix_store: &Path) -> Self {
        let device = |path: &Path| path.metadata().ok().map(|metadata| metadata.dev());
        let of_store = device(nix_store);
        let is_other = of_store.is_some() && of_store != images.and_then(device);
        Self(Arc::new(Inner {
            min_free,
            images: images.map(Path::to_owned),
            nix_store: is_other.then(|| nix_store.to_owned()),
            is_short: watch::Sender::new(false),
            is_store_short: AtomicBool::new(false),
            is_unreadable: AtomicBool::new(false),
        }))
    }

    /// Looks whether there is room for another image.
    pub async fn check(&self) -> Result<(), DiskShort> {
        self.look().await;
        self.last_seen()
    }

    /// What the last look has shown.
    pub fn last_seen(&self) -> Result<(), DiskShort> {
        let is_short = *self.0.is_short.borrow();
        if is_short { Err(DiskShort { min_free: self.0.min_free }) } else { Ok(()) }
    }

    /// Looks how much is free. What changes is logged, once.
    pub async fn look(&self) {
        let disk = self.clone();
        // Fails only at shutdown.
        let _ = spawn_blocking(move || disk.look_now()).await;
    }

    /// How many bytes have to become free on the disk for images for new ones to be made;
    /// 0 where they are.
    pub async fn missing(&self) -> u64 {
        self.look().await;
        let disk = self.clone();
        let missing = spawn_blocking(move || {
            let path = disk.0.images.as_ref().filter(|_| disk.last_seen().is_err())?;
            Some(enough(disk.0.min_free).saturating_sub(free(path).ok()?))
        });
        // Fails only at shutdown.
        missing.await.ok().flatten().unwrap_or_default()
    }

    /// Waits until there is too little room for images.
    pub async fn is_short(&self) {
        // Fails only when nobody is left to tell, which this is.
        let _ = self.0.is_short.subscribe().wait_for(|is_short| *is_short).await;
    }

    fn look_now(&self) {
        if let Some(path) = &self.0.images {
            match free(path) {
                Ok(free) => {
                    self.0.is_unreadable.store(false, Ordering::Relaxed);
                    self.see_images(path, free);
                }
                Err(error) if !self.0.is_unreadable.swap(true, Ordering::Relaxed) => {
                    let error = ErrorChain(&error).to_string();
                    tracing::error!(path = %path.display(), error, "can't tell how much is free");
                }
                Err(_) => {}
            }
        }
        if let Some(path) = &self.0.nix_store
            && let Ok(free) = free(path)
        {
            self.see_nix_store(path, free);
        }
    }

    fn see_images(&self, path: &Path, free: u64) {
        counters::disk_free("images", free);
        self.0.is_short.send_if_modified(|is_short| {
            let change = change(*is_short, free, self.0.min_free);
            let (path, free_mb, min_free_mb) = (path.display(), free / MB, self.0.min_free / MB);
            match change {
                Some(Change::Short) => tracing::error!(
                    %path, free_mb, min_free_mb,
                    "the disk is nearly full: no new images are made until there is more room \
                     (storage.min_free)"
                ),
                Some(Change::Enough) => {
                    tracing::info!(%path, free_mb, min_free_mb, "there is room again: images are made");
                }
                None => return false,
            }
            *is_short = change == Some(Change::Short);
            true
        });
    }

    fn see_nix_store(&self, path: &Path, free: u64) {
        counters::disk_free("nix store", free);
        let is_short = &self.0.is_store_short;
        let path = path.display();
        let free_mb = free / MB;
        match change(is_short.load(Ordering::Relaxed), free, self.0.min_free) {
            Some(Change::Short) => {
                is_short.store(true, Ordering::Relaxed);
                tracing::warn!(
                    %path, free_mb,
                    "the Nix store's disk is nearly full, and builds may fail: nix-collect-garbage \
                     makes room, and so does Nix itself with min-free in nix.conf"
                );
            }
            Some(Change::Enough) => {
                is_short.store(false, Ordering::Relaxed);
                tracing::info!(%path, free_mb, "there is room again in the Nix store");
            }
            None => {}
        }
    }
}

/// Short is what has less than `min_free`; enough is a tenth more than that, so that a
/// build which ends right at the bound doesn't have it change all the time.
fn change(was_short: bool, free: u64, min_free: u64) -> Option<Change> {
    match was_short {
        false if free < min_free => Some(Change::Short),
        true if free >= enough(min_free) => Some(Change::Enough),
        _ => None,
    }
}

fn enough(min_free: u64) -> u64 {
    min_free.saturating_add(min_free / 10)
}

/// Bytes that may be written to the file system of `path`; none where no file can be made
/// any more (statvfs(3), `f_bavail` and `f_favail`).
fn free(path: &Path) -> io::Result<u64> {
    let status = rustix::fs::statvfs(path)?;
    let has_no_inodes = status.f_files > 0 && status.f_favail == 0;
    Ok(if has_no_inodes { 0 } else { status.f_bavail.saturating_mul(status.f_frsize) })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn disk(min_free: u64) -> Disk {
        Disk::new(min_free, Some(Path::new("/")), Path::new("/nowhere"))
    }

    #[test]
    fn it_is_short_below_the_bound_and_enough_a_tenth_above() {
        let disk = disk(1000);
        let mut seen = Vec::new();
        for free in [5000, 1000, 999, 1000, 1099, 0, 1100, 1000, 999] {
            disk.see_images(Path::new("/"), free);
            seen.push(disk.last_seen().is_ok());
        }
        assert_eq!(seen, [true, true, false, false, false, false, true, true, false]);
    }

    #[tokio::test]
    async fn real_disks_are_looked_at_and_no_bound_never_refuses() {
        disk(0).check().await.unwrap();
        let disk = disk(u64::MAX);
        assert_eq!(disk.check().await, Err(DiskShort { min_free: u64::MAX }));
        tokio::time::timeout(Duration::from_secs(10), disk.is_short()).await.unwrap();
        assert!(disk.missing().await > u64::MAX / 2);
        assert_eq!(self::disk(1).missing().await, 0);
    }

    #[tokio::test]
    async fn what_cannot_be_looked_at_refuses_nothing() {
        let disk = Disk::new(u64::MAX, Some(Path::new("/nowhere")), Path::new("/nowhere"));
        disk.check().await.unwrap();
        Disk::new(u64::MAX, None, Path::new("/")).check().await.unwrap();
    }

    #[test]
    fn the_nix_store_is_watched_where_it_is_on_another_disk() {
        let disk = Disk::new(1, Some(Path::new("/")), Path::new("/proc"));
        assert!(disk.0.nix_store.is_some());
        assert!(self::disk(1).0.nix_store.is_none());
        assert!(Disk::new(1, Some(Path::new("/")), Path::new("/")).0.nix_store.is_none());
    }
}
