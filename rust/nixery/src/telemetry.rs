//! Logging.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io;
use std::panic::{self, PanicHookInfo};

use thiserror::Error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogConfig, LogFormat};
use crate::systemd;

/// Why nothing can be logged.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// The filter isn't one.
    #[error(
        "{filter:?} does not say what to log: expected a level (error, warn, info, debug, trace) \
         or directives such as nixery=debug,warn"
    )]
    Filter {
        /// What was set.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// There is no journal.
    #[error("can't log to systemd's journal; NIXERY_LOG_FORMAT (log.format) can be text or json")]
    Journal(#[source] io::Error),
    /// Somebody else logs already.
    #[error("logging is set up already")]
    Twice(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Logs to standard error or to the journal, as configured.
pub fn start(config: &LogConfig) -> Result<(), TelemetryError> {
    let filter = EnvFilter::builder()
        .parse(&config.filter)
        .map_err(|source| TelemetryError::Filter { filter: config.filter.clone(), source })?;
    let by_itself =
        || if systemd::logs_to_journal() { LogFormat::Journal } else { LogFormat::Text };
    let lines = || tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
    match config.format.unwrap_or_else(by_itself) {
        LogFormat::Text => {
            let colours = io::IsTerminal::is_terminal(&io::stderr());
            registry.with(lines().with_ansi(colours)).try_init()
        }
        LogFormat::Json => registry.with(lines().json().flatten_event(true)).try_init(),
        LogFormat::Journal => {
            let journal = tracing_journald::layer().map_err(TelemetryError::Journal)?;
            let journal = journal.with_field_prefix(Some("NIXERY".to_owned()));
            registry.with(journal).try_init()
        }
    }
    .map_err(|error| TelemetryError::Twice(error.into()))?;
    panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// A panic is a defect of this program; where it is, is for the log like everything else.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string);
    // Empty unless RUST_BACKTRACE is set.
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then_some(backtrace);
    tracing::error!(
        place,
        backtrace = backtrace.map(tracing::field::display),
        "a task crashed: {}",
        panic.payload_as_str().unwrap_or("for no reason that is told")
    );
}
