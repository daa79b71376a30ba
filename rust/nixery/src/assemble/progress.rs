//! What a build is doing, for people who wait for it: registry clients show nothing.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;

use super::{Asked, Failure, Image, ImageRequest, Outcome};
use crate::image::ImageSpec;
use crate::source::SourceAt;

/// Most bytes of Nix's log that are kept of a build, for each line that may be kept: most
/// lines are shorter.
const BYTES_PER_LINE: usize = 128;

/// Longest line in bytes; the rest of it is left out.
const MAX_LINE: usize = 2000;

/// By how many names of the same source a build is found.
const MAX_NAMES: usize = 16;

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is looked up what is known of the packages.
    Looking,
    /// Other builds are waited for.
    Waiting,
    /// Nix fetches or builds.
    Nix,
    /// Layers are packed and stored.
    Packing,
}

/// How a build ended.
#[derive(Clone, Debug)]
pub enum Ended {
    /// With an image.
    Made(Arc<Image>),
    /// Without.
    Failed(Failure),
}

/// The state of a build at one time.
#[derive(Clone, Debug)]
pub struct State {
    /// What is being done, or was done last.
    pub step: Step,
    /// Layers that the image has; 0 as long as that isn't known.
    pub layers: usize,
    /// Layers of it that are stored.
    pub layers_stored: usize,
    /// How it ended, if it has.
    pub ended: Option<Ended>,
    /// How long it has taken.
    pub elapsed: Duration,
}

/// A build, from outside.
#[derive(Debug)]
pub struct Progress {
    asked: Asked,
    request: ImageRequest,
    number: u64,
    begun: SystemTime,
    clock: Instant,
    keeps_log: bool,
    inner: Mutex<Inner>,
    changes: watch::Sender<()>,
}

#[derive(Debug)]
struct Inner {
    /// What else the source was called by those who asked.
    names: Vec<SourceAt>,
    state: State,
    log: Log,
}

/// The end of a log.
#[derive(Debug, Default)]
struct Log {
    lines: VecDeque<String>,
    bytes: usize,
    /// Most lines that are kept, the last ones; 0 for none.
    most: usize,
    /// Lines that were dropped.
    dropped: u64,
}

impl Progress {
    pub(super) fn new(asked: Asked, request: ImageRequest, log_lines: usize) -> Self {
        let state = State {
            step: Step::Looking,
            layers: 0,
            layers_stored: 0,
            ended: None,
            elapsed: Duration::ZERO,
        };
        Self {
            asked,
            request,
            number: RandomState::new().hash_one(SystemTime::now()),
            begun: SystemTime::now(),
            clock: Instant::now(),
            keeps_log: log_lines > 0,
            inner: Mutex::new(Inner { names: Vec::new(), state, log: Log::new(log_lines) }),
            changes: watch::Sender::new(()),
        }
    }

    /// What the first client asked for.
    pub fn asked(&self) -> &Asked {
        &self.asked
    }

    /// Where they come from.
    pub fn source(&self) -> &SourceAt {
        self.request.source.source()
    }

    /// What tells it from all others, those of other processes too.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// When it was begun.
    pub fn begun(&self) -> SystemTime {
        self.begun
    }

    /// What it is doing.
    pub fn state(&self) -> State {
        let state = self.lock().state.clone();
        match state.ended {
            Some(_) => state,
            None => State { elapsed: self.clock.elapsed(), ..state },
        }
    }

    /// Lines of Nix's log from number `from` on, as far as they are kept, and the number
    /// that the next one will have. Lines are counted from 0.
    pub fn log(&self, from: u64) -> (Vec<String>, u64) {
        let inner = self.lock();
        let log = &inner.log;
        let skip = usize::try_from(from.saturating_sub(log.dropped)).unwrap_or(usize::MAX);
        let lines = log.lines.iter().skip(skip).cloned().collect();
        (lines, log.dropped + log.lines.len() as u64)
    }

    /// Tells of every change from now on.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    pub(super) fn is_of(&self, request: &ImageRequest) -> bool {
        self.request == *request
    }

    pub(super) fn was_asked_for(&self, spec: &ImageSpec, source: &SourceAt) -> bool {
        self.asked.spec == *spec
            && (self.asked.source == *source || self.lock().names.contains(source))
    }

    pub(super) fn add_name(&self, source: &SourceAt) {
        let mut inner = self.lock();
        let is_new = self.asked.source != *source && !inner.names.contains(source);
        if is_new && inner.names.len() < MAX_NAMES {
            inner.names.push(source.clone());
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.lock().state.ended.is_some()
    }

    pub(super) fn step(&self, step: Step) {
        self.change(|inner| inner.state.step = step);
    }

    pub(super) fn has_layers(&self, layers: usize) {
        self.change(|inner| {
            inner.state.step = Step::Packing;
            inner.state.layers = layers;
            inner.state.layers_stored = 0;
        });
    }

    pub(super) fn layer_is_stored(&self) {
        self.change(|inner| inner.state.layers_stored += 1);
    }

    pub(super) fn add_line(&self, line: &str) {
        if self.keeps_log {
            self.change(|inner| inner.log.add(line));
        }
    }

    /// Only the first end counts.
    pub(super) fn end(&self, outcome: &Outcome) {
        self.change(|inner| {
            if inner.state.ended.is_none() {
                inner.state.elapsed = self.clock.elapsed();
                inner.state.ended = Some(match outcome {
                    Ok(image) => Ended::Made(Arc::clone(image)),
                    Err(failure) => Ended::Failed(failure.clone()),
                });
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut Inner)) {
        change(&mut self.lock());
        self.changes.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // What is in there is whole after every statement.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    fn new(most: usize) -> Self {
        Self { most, ..Self::default() }
    }

    fn add(&mut self, line: &str) {
        let line = &line[..line.floor_char_boundary(MAX_LINE)];
        self.lines.push_back(line.to_owned());
        self.bytes += line.len();
        while self.lines.len() > self.most || self.bytes > self.most * BYTES_PER_LINE {
            let Some(first) = self.lines.pop_front() else { break };
            self.bytes -= first.len();
            self.dropped += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::ImageName;
    use crate::platform::Platform;
    use crate::source::Snapshot;

    const MAX_LINES: usize = 2000;
    const MAX_BYTES: usize = MAX_LINES * BYTES_PER_LINE;

    fn progress() -> Progress {
        let source = SourceAt::Path { path: "/packages".into() };
        let name: ImageName = "git".parse().unwrap();
        let spec = name.expand(Platform::Amd64).unwrap();
        let request = ImageRequest { spec: spec.clone(), source: Snapshot::unknown(&source) };
        let tag = "latest".parse().unwrap();
        Progress::new(Asked { name, tag, spec, source }, request, MAX_LINES)
    }

    #[test]
    fn the_end_of_a_log_is_kept_and_lines_keep_their_numbers() {
        let progress = progress();
        for number in 0..MAX_LINES + 10 {
            progress.add_line(&number.to_string());
        }
        let (lines, next) = progress.log(0);
        assert_eq!(
            (lines.len(), lines[0].as_str(), next),
            (MAX_LINES, "10", MAX_LINES as u64 + 10)
        );
        assert_eq!(progress.log(next - 1).0, [(next - 1).to_string()]);
        assert!(progress.log(next).0.is_empty() && progress.log(u64::MAX).0.is_empty());

        for _ in 0..2 * MAX_BYTES / MAX_LINE {
            progress.add_line(&"ü".repeat(MAX_LINE));
        }
        let (lines, _) = progress.log(0);
        assert!(lines.iter().map(String::len).sum::<usize>() <= MAX_BYTES);
        assert!(lines.iter().all(|line| line.len() <= MAX_LINE));
    }

    #[tokio::test]
    async fn whoever_watches_is_told_of_changes_and_only_the_first_end_counts() {
        let progress = progress();
        let mut changes = progress.changes();
        progress.has_layers(3);
        changes.changed().await.unwrap();
        progress.end(&Err(Failure::logged("git", super::super::AssembleError::Crashed)));
        let state = progress.state();
        progress.end(&Ok(Arc::new(Image { manifests: Vec::new() })));
        changes.changed().await.unwrap();
        assert!(matches!(progress.state().ended, Some(Ended::Failed(_))));
        assert_eq!(progress.state().elapsed, state.elapsed);
        assert_eq!((state.step, state.layers, state.layers_stored), (Step::Packing, 3, 0));
    }
}
