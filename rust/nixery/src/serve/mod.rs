//! Putting the parts together, and running them until told to stop.

mod access;
mod background;
mod connections;
mod listener;
mod parts;
mod presence;
mod stream;
mod tls;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use metrics_exporter_prometheus::BuildError;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};
use thiserror::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::archive::InvalidLevel;
use crate::config::{Config, LimitsConfig, StorageConfig};
use crate::gc::{self, GcError};
use crate::http::{Limiter, RequestLimits, router};
use crate::nix::NixError;
use crate::popularity::LoadError;
use crate::process;
use crate::storage::{Filesystem, Gcs, SetupError, Storage, StorageError};
use crate::systemd;
use background::{Reload, collect_regularly, count, reload_on, say_that_it_lives, watch};
use connections::Server;
use listener::Listener;
use parts::{most_files, registry};
use tls::Tls;

pub use tls::TlsError;

/// Why the server doesn't run.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The address can't be used.
    #[error(
        "can't listen on {address}; set PORT (server.port) to another port if this one is taken"
    )]
    Listen {
        /// Address and port.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The socket that systemd gave can't be used.
    #[error("can't use the socket that systemd gave (LISTEN_FDS)")]
    Socket(#[source] io::Error),
    /// The UNIX socket can't be used.
    #[error("can't listen on {path}; NIXERY_SOCKET (server.socket) names the UNIX socket")]
    UnixSocket {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no certificate to show.
    #[error("can't speak TLS")]
    Tls(#[from] TlsError),
    /// The storage can't be used.
    #[error("the storage can't be used; STORAGE_PATH (storage.path) names its directory")]
    Storage(#[from] StorageError),
    /// The bucket can't be used.
    #[error("the storage can't be used")]
    Bucket(#[from] SetupError),
    /// The directory for garbage collector roots can't be used.
    #[error("can't use {path}; NIXERY_NIX_ROOTS (nix.roots) names the directory for Nix's roots")]
    Roots {
        /// The directory.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The cache directory can't be used.
    #[error("can't use {path}; NIXERY_CACHE_PATH (cache.path) names the directory of the cache")]
    Cache {
        /// The directory.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// There are no web pages where they should be.
    #[error("there is no directory {path}; WEB_DIR (web.dir) names the directory of web pages")]
    WebDirectory {
        /// The directory.
        path: String,
    },
    /// The builder can't be used.
    #[error("the builder can't be used")]
    Builder(#[from] NixError),
    /// The popularity table can't be read.
    #[error("NIX_POPULARITY_URL (nix.popularity_url) can't be used")]
    Popularity(#[from] LoadError),
    /// The files with users can't be used.
    #[error("users can't be told from others")]
    Access(#[from] access::AccessError),
    /// There is no storage from which anything could be removed.
    #[error("there is no directory {path}; STORAGE_PATH (storage.path) names the storage")]
    NoStorage {
        /// The directory.
        path: String,
    },
    /// Nothing more can be removed from the storage.
    #[error("garbage collection failed")]
    Collect(#[from] GcError),
    /// Nothing can be counted.
    #[error("can't count what is done")]
    Metrics(#[source] BuildError),
    /// The compression level doesn't exist.
    #[error("packing.level can't be used")]
    Level(#[from] InvalidLevel),
    /// Threads can't be started.
    #[error("can't start the threads that compress")]
    Threads(#[source] io::Error),
    /// Signals can't be received, or connections not be accepted.
    #[error("the server failed")]
    Run(#[source] io::Error),
}

/// Serves until SIGTERM or SIGINT; then finishes the responses that are being
/// sent, and ends the builds.
pub async fn serve(config: Config) -> Result<(), ServeError> {
    raise_file_limit();
    hide_memory();
    process::end_orphans().map_err(ServeError::Run)?;
    let metrics = count().map_err(ServeError::Metrics)?;
    let shutdown = CancellationToken::new();
    let mut registry = registry(&config, metrics, shutdown.clone()).await?;
    if let Some(interval) = config.gc.interval {
        let (storage, limits) = (Arc::clone(&registry.storage), limits(&config));
        let disk = registry.disk.clone();
        tokio::spawn(collect_regularly(storage, limits, interval, disk, shutdown.clone()));
    }
    tokio::spawn(watch(registry.disk.clone(), shutdown.clone()));
    if let Some(newest) = registry.newest() {
        let catalogue = registry.catalogue.clone();
        tokio::spawn(async move { catalogue.follow(newest).await });
    }
    let tls = config.server.tls.clone().map(Tls::open).transpose()?.map(Arc::new);
    let listener = Listener::open(&config.server).await?;
    let address = listener.address().map_err(ServeError::Run)?;
    registry.port = address.parse().ok().map(|address: SocketAddr| address.port());
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Run)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Run)?;
    let hangup = signal(SignalKind::hangup()).map_err(ServeError::Run)?;
    let status = format!("serving {} on {address}", config.source.source.describe());
    tracing::info!(address, source = config.source.source.describe(), "serving");
    systemd::ready(&status);
    if let Some(interval) = systemd::watchdog_interval() {
        tokio::spawn(say_that_it_lives(interval));
    }
    let reload = Reload {
        popularity_url: config.nix.popularity_url.clone(),
        assembler: registry.assembler.clone(),
        tls: tls.clone(),
        access: config.access.clone().zip(registry.gate.clone()),
        storage: Arc::clone(&registry.storage),
    };
    tokio::spawn(reload_on(hangup, reload, status));
    if let Some(tls) = tls.clone() {
        tokio::spawn(tls.watch());
    }

    let assembler = registry.assembler.clone();
    let limiter = Limiter::new(request_limits(&config));
    let files = most_files();
    let limits = with_files_left(&config.limits, files);
    if limits.connections < config.limits.connections
        || limits.connections_per_address < config.limits.connections_per_address
    {
        tracing::warn!(
            files,
            connections = limits.connections,
            connections_per_address = limits.connections_per_address,
            "fewer connections than limits.connections, as so few files may be open: raise \
             LimitNOFILE= (ulimit -Hn)"
        );
    }
    let server = Server::new(router(registry), limiter, tls, &limits, shutdown.clone());
    let run = async {
        server.serve(listener).await;
        // Builds go on without clients, and Nix must be ended before this process.
        assembler.idle().await;
    };
    let stop = async {
        told_to_stop(&mut terminate, &mut interrupt).await;
        tracing::info!("stopping");
        systemd::stopping();
        shutdown.cancel();
        tokio::select! {
            () = told_to_stop(&mut terminate, &mut interrupt) => {}
            () = tokio::time::sleep(config.server.shutdown_timeout) => {}
        }
        tracing::warn!("not waiting for clients that are still connected");
    };
    tokio::select! {
        () = run => {}
        () = stop => {}
    }
    Ok(())
}

/// Each client takes a file descriptor, and some systems allow 1024 unless asked
/// for more.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit { current: limit.maximum, ..limit };
    if let Err(error) = setrlimit(Resource::Nofile, all) {
        tracing::warn!(%error, "can't raise the limit of open files");
    }
}

/// Fewer connections where they would take all files that the process may have open, which
/// are wanted to answer and to build as well; and fewer still of one address.
fn with_files_left(limits: &LimitsConfig, files: usize) -> LimitsConfig {
    LimitsConfig {
        connections: limits.connections.min(files / 2).max(1),
        connections_per_address: limits.connections_per_address.min(files / 4).max(1),
        ..limits.clone()
    }
}

/// What the server knows, its environment too, is not for other processes of its user to
/// read (`/proc/PID`, ptrace(2)): a package set may have some of them run. There are no
/// core dumps either then.
fn hide_memory() {
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "can't hide the server's memory from other processes");
    }
}

async fn told_to_stop(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

fn request_limits(config: &Config) -> RequestLimits {
    let limits = &config.limits;
    RequestLimits {
        url_bytes: limits.url_bytes,
        header_bytes: limits.header_bytes,
        body_bytes: limits.body_bytes,
        per_second: limits.requests_per_second,
        burst: limits.requests_burst,
        trusted_proxies: config.server.trusted_proxies.clone(),
    }
}

/// Removes from the storage what the configuration says isn't needed any more.
pub async fn collect(config: &Config, dry_run: bool) -> Result<gc::Report, ServeError> {
    let storage: Arc<dyn Storage> = match &config.storage {
        // Most likely it is another one that is meant, so none is made.
        StorageConfig::Filesystem { path } if !path.is_dir() => {
            return Err(ServeError::NoStorage { path: path.display().to_string() });
        }
        // Not checked whether it can be written: the disk may be full.
        StorageConfig::Filesystem { path } => Arc::new(Filesystem::open(path)?),
        StorageConfig::Gcs(options) => {
            let storage = Gcs::open(options).await?;
            if !dry_run {
                storage.remove_abandoned().await?;
            }
            Arc::new(storage)
        }
    };
    Ok(gc::collect(&storage, &limits(config), dry_run).await?)
}

fn limits(config: &Config) -> gc::Limits {
    gc::Limits { keep: config.gc.keep, max_bytes: config.gc.max_bytes, missing: 0 }
}
