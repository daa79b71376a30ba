//! Putting the parts together, and running them until told to stop.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::archive::{InvalidLevel, Level};
use crate::assemble::{Assembler, Limits, Packer};
use crate::config::{Config, ServerConfig, StorageConfig};
use crate::http::{Registry, router};
use crate::nix::{Builder, NixError, Roots};
use crate::popularity::{self, LoadError};
use crate::storage::{Filesystem, Storage, StorageError};

/// For how long running responses may go on after the server was told to stop.
const DRAIN: Duration = Duration::from_secs(30);

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
    /// The storage can't be used.
    #[error("the storage can't be used; STORAGE_PATH (storage.path) names its directory")]
    Storage(#[from] StorageError),
    /// The directory for garbage collector roots can't be used.
    #[error("can't use {path}; NIXERY_NIX_ROOTS (nix.roots) names the directory for Nix's roots")]
    Roots {
        /// The directory.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The builder can't be used.
    #[error("the builder can't be used")]
    Builder(#[from] NixError),
    /// The popularity table can't be read.
    #[error("NIX_POPULARITY_URL (nix.popularity_url) can't be used")]
    Popularity(#[from] LoadError),
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
    let shutdown = CancellationToken::new();
    let registry = registry(&config, shutdown.clone()).await?;
    let listener = listen(&config.server).await?;
    let address = listener.local_addr().map_err(ServeError::Run)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Run)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Run)?;
    tracing::info!(%address, source = config.source.source.describe(), "serving");

    // A response is often a small head and then a body: don't wait to join them.
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    let assembler = registry.assembler.clone();
    let server = axum::serve(listener, router(registry))
        .with_graceful_shutdown(shutdown.clone().cancelled_owned());
    let run = async {
        let result = server.await;
        // Builds go on without clients, and Nix must be ended before this process.
        assembler.idle().await;
        result.map_err(ServeError::Run)
    };
    let stop = async {
        told_to_stop(&mut terminate, &mut interrupt).await;
        tracing::info!("stopping");
        shutdown.cancel();
        tokio::select! {
            () = told_to_stop(&mut terminate, &mut interrupt) => {}
            () = tokio::time::sleep(DRAIN) => {}
        }
        tracing::warn!("not waiting for clients that are still connected");
    };
    tokio::select! {
        result = run => result,
        () = stop => Ok(()),
    }
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

async fn told_to_stop(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

async fn registry(config: &Config, shutdown: CancellationToken) -> Result<Registry, ServeError> {
    let StorageConfig::Filesystem { path } = &config.storage;
    let storage: Arc<dyn Storage> = Arc::new(Filesystem::open(path)?);
    storage.check().await?;
    let roots = Roots::open(&config.nix.roots).map_err(|source| ServeError::Roots {
        path: config.nix.roots.display().to_string(),
        source,
    })?;
    let builder = Builder::new(config.nix.timeout, roots, shutdown);
    builder.check().await?;
    let popularity = popularity::load(config.nix.popularity_url.as_deref()).await?;
    let threads = NonZeroUsize::new(config.packing.threads).unwrap_or(NonZeroUsize::MIN);
    let packer =
        Packer::new(threads, Level::new(config.packing.level)?).map_err(ServeError::Threads)?;
    let limits = Limits {
        max_builds: config.nix.max_builds,
        max_queue: config.nix.max_queue,
        max_layers: config.image.max_layers,
        refresh: config.source.refresh,
    };
    Ok(Registry {
        assembler: Assembler::new(Arc::clone(&storage), builder, packer, popularity, limits),
        storage,
        source: config.source.source.clone(),
        default_platform: config.image.platform,
    })
}

/// Listens on the address that is configured; without one, on all, or on all of
/// IPv4 where there is no IPv6.
async fn listen(config: &ServerConfig) -> Result<TcpListener, ServeError> {
    let any: [IpAddr; 2] = [Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()];
    let addresses = config.address.as_ref().map_or(&any[..], std::slice::from_ref);
    let addresses: Vec<SocketAddr> =
        addresses.iter().map(|&address| SocketAddr::new(address, config.port)).collect();
    TcpListener::bind(&addresses[..]).await.map_err(|source| ServeError::Listen {
        address: addresses.last().map(SocketAddr::to_string).unwrap_or_default(),
        source,
    })
}
