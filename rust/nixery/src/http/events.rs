//! Builds as they go on, by server-sent events.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderValue;
use axum::response::sse::Event;
use futures_util::{Stream, stream};
use serde::Serialize;
use tokio::sync::watch;

use super::Shared;
use crate::assemble::{Asked, Progress};
use crate::places::Place;

/// For how long changes are gathered before watchers are told: Nix may print thousands
/// of lines in a second.
const GATHERED: Duration = Duration::from_millis(100);

/// Most lines in one event.
const LINES: usize = 500;

/// Names a line of a build, for whoever loses the connection.
fn event_id(build: &Progress, line: u64) -> String {
    format!("{:016x}-{line}", build.number())
}

/// From which line on somebody is told more who was told this event last: from the first
/// one, if that was of another build.
pub(super) fn last_line(build: &Progress, id: &HeaderValue) -> u64 {
    let line = id.to_str().ok().and_then(|id| {
        let (number, line) = id.split_once('-')?;
        let line = line.parse().ok()?;
        (number == format!("{:016x}", build.number())).then_some(line)
    });
    line.unwrap_or_default()
}

/// What is told to one watcher, and how far it has come. Nothing is kept for it: what it
/// hasn't been told yet is read when it can take it.
struct Watcher {
    shared: Arc<Shared>,
    asked: Asked,
    build: Arc<Progress>,
    changes: watch::Receiver<()>,
    next_line: u64,
    is_new: bool,
    ready: VecDeque<Event>,
    is_told: bool,
    _place: Place,
}

/// The state of a build whenever it changes (`state`), its log (`log`, a JSON list of
/// lines), and that it ended (`end`). Ids name the build and the next line.
/// Source: HTML standard, "Server-sent events".
pub(super) fn events(
    shared: Arc<Shared>,
    asked: Asked,
    build: Arc<Progress>,
    from: u64,
    place: Place,
) -> impl Stream<Item = Result<Event, Infallible>> + use<> {
    let changes = build.changes();
    let ready = VecDeque::new();
    let watcher = Watcher {
        shared,
        asked,
        build,
        changes,
        next_line: from,
        is_new: true,
        ready,
        is_told: false,
        _place: place,
    };
    stream::unfold(watcher, |mut watcher| async move {
        loop {
            if let Some(event) = watcher.ready.pop_front() {
                return Some((Ok(event), watcher));
            }
            if watcher.is_told {
                return None;
            }
            watcher.look().await;
        }
    })
}

impl Watcher {
    async fn look(&mut self) {
        if !self.is_new {
            // Whoever is behind doesn't wait for more.
            if self.build.log(self.next_line).0.is_empty() && self.changes.changed().await.is_err()
            {
                self.is_told = true;
                return;
            }
            tokio::time::sleep(GATHERED).await;
        }
        self.is_new = false;
        self.changes.mark_unchanged();
        let view = self.shared.view(&self.build, &self.asked);
        let (mut lines, end) = self.build.log(self.next_line);
        let begin = end - lines.len() as u64;
        lines.truncate(LINES);
        self.next_line = begin + lines.len() as u64;
        let ended = view.seconds_are_final() && self.next_line == end;
        let state = event("state", &view);
        self.ready.extend(state.map(|event| event.id(event_id(&self.build, begin))));
        if !lines.is_empty() {
            let event = event("log", &lines);
            self.ready.extend(event.map(|event| event.id(event_id(&self.build, self.next_line))));
        }
        if ended {
            self.ready.extend(event("end", &()));
            self.is_told = true;
        }
    }
}

fn event(name: &str, data: &impl Serialize) -> Option<Event> {
    // Fails for what can't be JSON, which there is not among them.
    Event::default().event(name).json_data(data).ok()
}
