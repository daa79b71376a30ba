//! The `nixery-popcount` program: from its arguments to the table.

use std::env;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use nixery_popcount::arguments::Arguments;
use nixery_popcount::cache::Cache;
use nixery_popcount::channel::Channel;
use nixery_popcount::count::Counter;
use nixery_popcount::error_chain::ErrorChain;
use nixery_popcount::http::Http;
use nixery_popcount::nix;
use nixery_popcount::output::Output;
use nixery_popcount::progress::{Progress, say};
use nixery_popcount::state::{self, State, StateError};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    match start(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&ErrorChain(&*error));
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::select! {
            result = run(arguments) => result,
            _ = interrupt.recv() => Err(INTERRUPTED.into()),
            _ = terminate.recv() => Err(INTERRUPTED.into()),
        }
    });
    // A name that is being looked up can't be waited for.
    runtime.shutdown_background();
    result
}

/// Every record is in the state as soon as it is there, so nothing is to be done.
const INTERRUPTED: &str = "interrupted; the same command goes on with what is left";

async fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let output = Output::new(arguments.output.as_deref())?;
    let counter = match &arguments.channel {
        Some(channel) => count_channel(channel, arguments).await?,
        None => count_closure(&arguments.from_store).await?,
    };
    Ok(output.write(&counter.table())?)
}

async fn count_closure(paths: &[PathBuf]) -> Result<Counter, Box<dyn Error>> {
    let closure = nix::closure(paths).await?;
    let mut counter = Counter::default();
    for narinfo in &closure {
        counter.add(narinfo);
    }
    say(&format_args!("{} store paths", closure.len()));
    Ok(counter)
}

async fn count_channel(
    channel: &Channel,
    arguments: &Arguments,
) -> Result<Counter, Box<dyn Error>> {
    let directory = state::directory(&state_base(arguments)?, &arguments.cache);
    let http = Http::new(arguments.http())?;
    let mut wanted = channel.store_paths(&http, &arguments.channels).await?;
    let total = wanted.len();
    let mut counter = Counter::default();
    let mut state = State::open(&directory, |narinfo| {
        // Also where it is there twice, it counts once.
        if wanted.remove(&narinfo.path) {
            counter.add(&narinfo);
        }
    })?;
    let kept = total - wanted.len();
    let cache = Cache { url: &arguments.cache, http: &http, concurrency: arguments.concurrency() };
    let mut progress = Progress::new(kept, total);
    let found = |narinfo: &_| counter.add(narinfo);
    let tally = cache.read(wanted, kept, &mut state, &mut progress, found).await?;
    drop(progress);
    say(&format_args!(
        "{total} store paths: {} fetched now, {kept} before, {} not in the cache",
        tally.fetched, tally.missing
    ));
    Ok(counter)
}

fn state_base(arguments: &Arguments) -> Result<PathBuf, StateError> {
    let variable = |name| env::var_os(name).map(PathBuf::from);
    let default = || state::default_base(variable("XDG_CACHE_HOME"), variable("HOME"));
    arguments.state.clone().or_else(default).ok_or(StateError::NoDirectory)
}
