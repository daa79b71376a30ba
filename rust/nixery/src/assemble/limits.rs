//! How much may be made, and how large.

use thiserror::Error;

use super::error::AssembleError;
use super::{ImageRequest, Inner};
use crate::counters::{Refusal, build_refused};
use crate::image::{ALWAYS, ImageSpec};
use crate::layers::Closure;

/// Bounds and parameters of builds.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Builds for which Nix runs at the same time.
    pub max_builds: usize,
    /// Builds that may wait for that.
    pub max_queue: usize,
    /// The most layers with store paths.
    pub max_layers: usize,
    /// Packages of an image, besides those that are in every image.
    pub max_packages: usize,
    /// Store paths of an image.
    pub max_paths: usize,
    /// Bytes that the store paths of an image have (NAR sizes).
    pub max_closure_bytes: u64,
    /// Lines of Nix's log that are kept of a build; 0 for none.
    pub log_lines: usize,
    /// Builds that are remembered besides those that run.
    pub keep_builds: usize,
}

impl Limits {
    /// Builds of one client that may run or wait: half of the queue is left for others.
    pub(super) fn share(&self) -> usize {
        self.max_builds + self.max_queue.div_ceil(2)
    }
}

/// An image is larger than this server makes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TooLarge {
    /// By the number of its packages.
    #[error(
        "the image has {packages} packages: this server makes images of at most {most} \
         (image.max_packages)"
    )]
    Packages {
        /// How many it has.
        packages: usize,
        /// How many it may have.
        most: usize,
    },
    /// By the number of its store paths.
    #[error(
        "the image has {paths} store paths, with all that its packages need: this server makes \
         images of at most {most} (image.max_paths)"
    )]
    Paths {
        /// How many it has.
        paths: usize,
        /// How many it may have.
        most: usize,
    },
    /// By the bytes of its store paths.
    #[error(
        "the image has {bytes} bytes, with all that its packages need: this server makes images \
         of at most {most} (image.max_closure_bytes)"
    )]
    Bytes {
        /// How many it has.
        bytes: u64,
        /// How many it may have.
        most: u64,
    },
}

impl Limits {
    /// Checks what is known before Nix has run.
    fn check_packages(&self, spec: &ImageSpec) -> Result<(), TooLarge> {
        let packages = spec.packages().filter(|name| !ALWAYS.contains(name)).count();
        let most = self.max_packages;
        if packages > most { Err(TooLarge::Packages { packages, most }) } else { Ok(()) }
    }

    /// Checks what is known before anything is packed.
    fn check_closure(&self, closure: &Closure) -> Result<(), TooLarge> {
        let (paths, bytes) = (closure.len(), closure.total_nar_size());
        if paths > self.max_paths {
            return Err(TooLarge::Paths { paths, most: self.max_paths });
        }
        let most = self.max_closure_bytes;
        if bytes > most { Err(TooLarge::Bytes { bytes, most }) } else { Ok(()) }
    }
}

impl Inner {
    /// Whether an image that isn't known may be begun.
    pub(super) async fn may_be_made(&self, request: &ImageRequest) -> Result<(), AssembleError> {
        self.limits.check_packages(&request.spec).map_err(too_large)?;
        self.has_room().await
    }

    /// Whether an image with this closure may be packed. Since it was begun Nix may have run
    /// for long, and others been packed.
    pub(super) async fn may_be_packed(&self, closure: &Closure) -> Result<(), AssembleError> {
        self.limits.check_closure(closure).map_err(too_large)?;
        self.has_room().await
    }

    /// Whether there is room for another image on the disk.
    async fn has_room(&self) -> Result<(), AssembleError> {
        self.disk.check().await.map_err(|short| {
            build_refused(Refusal::Disk);
            short.into()
        })
    }

    /// Why a client has no place for another build.
    pub(super) fn busy_for_client(&self) -> AssembleError {
        build_refused(Refusal::Busy);
        AssembleError::BusyForClient { most: self.limits.share() }
    }

    /// Why there is no place for another build.
    pub(super) fn busy(&self) -> AssembleError {
        build_refused(Refusal::Busy);
        AssembleError::Busy { most: self.limits.max_builds + self.limits.max_queue }
    }
}

fn too_large(error: TooLarge) -> AssembleError {
    build_refused(Refusal::Size);
    error.into()
}
