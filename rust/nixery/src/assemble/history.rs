//! The builds that run, and the last ones that ended.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::progress::Progress;
use super::{Asked, AssembleError, Failure, ImageRequest, Outcome};
use crate::image::{ImageName, ImageSpec};
use crate::oci::Digest;
use crate::source::SourceAt;

/// Images whose layers are remembered.
const MAX_IMAGES: usize = 200;

/// What this process has made, in the order in which it was begun.
#[derive(Debug)]
pub(super) struct History {
    log_lines: usize,
    keep_builds: usize,
    builds: Mutex<VecDeque<Arc<Progress>>>,
    images: Mutex<VecDeque<Remembered>>,
}

/// An image, what it was called last, and its blobs.
#[derive(Clone, Debug)]
pub(super) struct Remembered {
    pub(super) spec: ImageSpec,
    pub(super) name: ImageName,
    pub(super) blobs: Arc<[Digest]>,
}

/// Ends a build that panics, as it would run for ever otherwise.
pub(super) struct EndsAtLast {
    pub(super) inner: Arc<super::Inner>,
    pub(super) request: ImageRequest,
}

impl Drop for EndsAtLast {
    fn drop(&mut self) {
        if let Some(progress) = self.inner.history.running(&self.request) {
            let name = progress.asked().name.as_str();
            progress.end(&Err(Failure::logged(name, AssembleError::Crashed)));
        }
    }
}

impl History {
    pub(super) fn new(log_lines: usize, keep_builds: usize) -> Self {
        Self { log_lines, keep_builds, builds: Mutex::default(), images: Mutex::default() }
    }

    /// Begins a build; what is known of the last one of the same is forgotten.
    pub(super) fn begin(&self, asked: &Asked, request: &ImageRequest) -> Arc<Progress> {
        let progress = Progress::new(asked.clone(), request.clone(), self.log_lines);
        let progress = Arc::new(progress);
        let mut builds = lock(&self.builds);
        builds.retain(|build| !build.is_of(request));
        builds.push_back(Arc::clone(&progress));
        let ended = builds.iter().filter(|build| build.has_ended()).count();
        if ended > self.keep_builds
            && let Some(oldest) = builds.iter().position(|build| build.has_ended())
        {
            builds.remove(oldest);
        }
        progress
    }

    /// Has the build, if there is one, be found by this name of its source too.
    pub(super) fn add_name(&self, request: &ImageRequest, source: &SourceAt) {
        let build = lock(&self.builds).iter().find(|build| build.is_of(request)).cloned();
        if let Some(build) = build {
            build.add_name(source);
        }
    }

    pub(super) fn end(&self, request: &ImageRequest, outcome: &Outcome) {
        if let Some(progress) = self.running(request) {
            progress.end(outcome);
        }
    }

    fn running(&self, request: &ImageRequest) -> Option<Arc<Progress>> {
        let builds = lock(&self.builds);
        builds.iter().find(|build| build.is_of(request) && !build.has_ended()).cloned()
    }

    /// The last build of an image.
    pub(super) fn of(&self, spec: &ImageSpec, source: &SourceAt) -> Option<Arc<Progress>> {
        let builds = lock(&self.builds);
        builds.iter().rev().find(|build| build.was_asked_for(spec, source)).cloned()
    }

    /// All of them, the last one first.
    pub(super) fn builds(&self) -> Vec<Arc<Progress>> {
        lock(&self.builds).iter().rev().cloned().collect()
    }

    /// Remembers which blobs an image has.
    pub(super) fn add_image(&self, spec: &ImageSpec, name: &ImageName, blobs: Vec<Digest>) {
        let mut images = lock(&self.images);
        images.retain(|other| other.spec != *spec);
        let (spec, name) = (spec.clone(), name.clone());
        images.push_back(Remembered { spec, name, blobs: blobs.into() });
        if images.len() > MAX_IMAGES {
            images.pop_front();
        }
    }

    /// The images with their blobs, the last one first.
    pub(super) fn images(&self) -> Vec<Remembered> {
        lock(&self.images).iter().rev().cloned().collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A list of handles is whole after any panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
