//! What goes on beside requests.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use tokio::signal::unix::Signal;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::access;
use super::tls::Tls;
use crate::assemble::Assembler;
use crate::config::AccessConfig;
use crate::counters;
use crate::disk::Disk;
use crate::error_chain::ErrorChain;
use crate::gc;
use crate::http::Gate;
use crate::nix::Roots;
use crate::popularity;
use crate::storage::{Filesystem, Gcs, Storage};
use crate::systemd;

/// When the first garbage collection is, at the latest: servers that are restarted often
/// collect too.
const FIRST_COLLECTION: Duration = Duration::from_mins(10);

/// How often unfinished blobs, and roots of servers that are no more, are looked for.
const UNFINISHED: Duration = Duration::from_hours(6);

/// When they are first looked for in directories, where what is younger than a minute is
/// left alone: a server that was killed is started again before that.
const LEFT_BY_THE_LAST: Duration = Duration::from_mins(2);

/// How often what was counted is summed up.
const UPKEEP: Duration = Duration::from_secs(2);

/// How often it is looked how much is free.
const LOOK: Duration = Duration::from_secs(5);

/// How long after a collection the next one is for want of room, at the earliest: until
/// then hardly anything more may be removed.
const NOT_AGAIN: Duration = Duration::from_mins(5);

/// Looks how much room there is on the disks.
pub(super) async fn watch(disk: Disk, shutdown: CancellationToken) {
    while shutdown.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
        disk.look().await;
    }
}

/// Collects garbage at an interval, and when there is too little room.
pub(super) async fn collect_regularly(
    storage: Arc<dyn Storage>,
    limits: gc::Limits,
    interval: Duration,
    disk: Disk,
    shutdown: CancellationToken,
) {
    let mut wait = interval.min(FIRST_COLLECTION);
    let mut not_before = Instant::now();
    loop {
        let is_short = async {
            tokio::time::sleep_until(not_before).await;
            disk.is_short().await;
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
            () = is_short => tracing::info!("collecting garbage, as the disk is nearly full"),
        }
        wait = interval;
        // By the usual rules, and as much more as is wanted: otherwise, with the usual
        // thirty days, nobody would get anything new until a person came by.
        let missing = disk.missing().await;
        let (storage, limits) = (Arc::clone(&storage), gc::Limits { missing, ..limits });
        // In a task of its own: should one crash, the next is begun all the same.
        let collection = async move { gc::collect(&storage, &limits, false).await };
        let Ok(collected) = tokio::spawn(collection).await else { continue };
        match collected {
            Ok(report) => tracing::info!(
                images = report.images.len(),
                blobs = report.blobs,
                bytes = report.bytes,
                records = report.records,
                left = report.left,
                "garbage collected"
            ),
            Err(error) => tracing::error!("garbage collection failed: {}", ErrorChain(&error)),
        }
        // Who waits for that need not wait for the next look.
        disk.look().await;
        not_before = Instant::now() + NOT_AGAIN;
    }
}

/// Removes from a bucket what writers that were killed have left, now and then.
pub(super) async fn remove_unfinished_blobs(storage: Arc<Gcs>) {
    loop {
        if let Err(error) = storage.remove_abandoned().await {
            let error = ErrorChain(&error).to_string();
            tracing::warn!(error, "unfinished blobs stay in the bucket for a while");
        }
        tokio::time::sleep(UNFINISHED).await;
    }
}

/// Does the same in a directory, with what killed servers have left there.
pub(super) async fn remove_unfinished_files(storage: Arc<Filesystem>) {
    regularly(move || storage.remove_abandoned()).await;
}

/// Removes Nix's garbage collector roots of killed servers, now and then.
pub(super) async fn remove_old_roots(base: PathBuf) {
    regularly(move || Roots::remove_abandoned(&base)).await;
}

async fn regularly<E: Error + Send + 'static>(
    remove: impl Fn() -> Result<(), E> + Clone + Send + 'static,
) {
    let mut wait = LEFT_BY_THE_LAST;
    loop {
        tokio::time::sleep(wait).await;
        wait = UNFINISHED;
        if let Ok(Err(error)) = spawn_blocking(remove.clone()).await {
            let error = ErrorChain(&error).to_string();
            tracing::warn!(error, "what killed servers left stays for a while");
        }
    }
}

/// Has everything counted that this process does from now on.
pub(super) fn count() -> Result<PrometheusHandle, BuildError> {
    let handle =
        PrometheusBuilder::new().set_buckets(&counters::SECONDS_BUCKETS)?.install_recorder()?;
    counters::describe();
    // Durations are gathered in memory until somebody sums them up.
    let upkeep = handle.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            upkeep.run_upkeep();
        }
    });
    Ok(handle)
}

/// Tells systemd that the process is alive, as long as its tasks get their turns.
pub(super) async fn say_that_it_lives(interval: Duration) {
    let mut ticks = tokio::time::interval(interval);
    loop {
        ticks.tick().await;
        systemd::alive();
    }
}

/// What is read again while the server runs.
pub(super) struct Reload {
    pub(super) popularity_url: Option<String>,
    pub(super) assembler: Assembler,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) access: Option<(AccessConfig, Arc<Gate>)>,
    pub(super) storage: Arc<dyn Storage>,
}

/// For how long files are waited for. Disks of other machines may never answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reads the files with users, the certificate, the bucket's credentials and the popularity
/// table again at each signal. What can't be read leaves what there is. Nothing waits for
/// the table, which may be on a server that doesn't answer: a user who was removed must be
/// out at once.
pub(super) async fn reload_on(mut signal: Signal, reload: Reload, status: String) {
    let mut table = tokio::spawn(async {});
    while signal.recv().await.is_some() {
        systemd::reloading();
        if let Some((config, gate)) = &reload.access {
            reload_users(config, gate).await;
        }
        let rest = async {
            if let Some(tls) = &reload.tls {
                tls.look().await;
            }
            reload.storage.reload().await;
        };
        if timeout(PATIENCE, rest).await.is_err() {
            tracing::error!(
                "the certificate, or the bucket's credentials, can't be read in time: keeping \
                 those that there are"
            );
        }
        // What an earlier signal has begun would bring an older one.
        table.abort();
        let (url, assembler) = (reload.popularity_url.clone(), reload.assembler.clone());
        table = tokio::spawn(async move { load_popularity(url.as_deref(), &assembler).await });
        systemd::ready(&status);
    }
}

async fn reload_users(config: &AccessConfig, gate: &Gate) {
    let config = config.clone();
    let read = spawn_blocking(move || access::read(&config));
    let error = match timeout(PATIENCE, read).await {
        Ok(Ok(Ok(credentials))) => {
            tracing::info!("read the files with users again");
            return gate.set_credentials(credentials);
        }
        Ok(Ok(Err(error))) => ErrorChain(&error).to_string(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the files can't be read in time".to_owned(),
    };
    tracing::error!(error, "keeping the users that there are");
}

async fn load_popularity(url: Option<&str>, assembler: &Assembler) {
    match popularity::load(url).await {
        Ok(table) => {
            tracing::info!(packages = table.popularity.len(), "read the popularity table again");
            assembler.set_popularity(table);
        }
        Err(error) => {
            let error = ErrorChain(&error).to_string();
            tracing::error!(error, "keeping the popularity table that there is");
        }
    }
}
