//! Saying how far it is, on standard error.

use std::fmt;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a line says how far it is, where there is no terminal for a bar.
const INTERVAL: Duration = Duration::from_secs(10);

const TEMPLATE: &str = "{wide_bar} {pos}/{len} narinfos, {eta} left";

/// A bar on a terminal, a line now and then elsewhere.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    total: usize,
    done: usize,
    last: Instant,
}

impl Progress {
    /// For so many steps, of which some are done.
    pub fn new(done: usize, total: usize) -> Self {
        // Draws nothing where it isn't a terminal.
        let bar = ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr())
            .with_position(done as u64);
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style);
        }
        // The time that is left is reckoned from here, not from what was done before.
        bar.reset_eta();
        Self { bar, total, done, last: Instant::now() }
    }

    /// One more is done.
    pub fn step(&mut self) {
        self.done += 1;
        self.bar.inc(1);
        if self.bar.is_hidden() && self.last.elapsed() >= INTERVAL {
            self.last = Instant::now();
            self.say(&format_args!("{} of {} narinfos", self.done, self.total));
        }
    }

    /// A line of its own.
    pub fn say(&self, line: &dyn fmt::Display) {
        self.bar.suspend(|| say(line));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A line on standard error, with the name of the program.
pub fn say(line: &dyn fmt::Display) {
    // Standard error may be closed; there is nothing left to do then.
    let _ = writeln!(io::stderr(), "nixery-popcount: {line}");
}
