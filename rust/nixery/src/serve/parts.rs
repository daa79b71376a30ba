//! Making the parts.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;
use rustix::process::{Resource, getrlimit};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::ServeError;
use super::access;
use super::background::{remove_old_roots, remove_unfinished_blobs, remove_unfinished_files};
use crate::archive::Level;
use crate::assemble::{Assembler, Limits, Packer, Parts};
use crate::cache::{Directory, Records};
use crate::catalogue::Catalogue;
use crate::config::{AccessConfig, Config, StorageConfig};
use crate::counters;
use crate::disk::Disk;
use crate::http::{Gate, Registry};
use crate::nix::{Builder, Roots};
use crate::pin::Pins;
use crate::popularity;
use crate::storage::{Filesystem, Gcs, Storage};

/// Where Nix's store paths are, which begin with it.
const NIX_STORE: &str = "/nix/store";

/// Blobs may be sent from one file in so many of those that the server may have open.
const FILES_SHARE: usize = 4;

/// Files and sockets that this process may have open at a time.
pub(super) fn most_files() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX)
}

async fn open_storage(config: &Config) -> Result<Arc<dyn Storage>, ServeError> {
    match &config.storage {
        StorageConfig::Filesystem { path } => {
            let storage = Arc::new(Filesystem::open(path)?);
            storage.check().await?;
            tokio::spawn(remove_unfinished_files(Arc::clone(&storage)));
            Ok(storage)
        }
        StorageConfig::Gcs(options) => {
            let storage = Gcs::open(options).await?;
            storage.probe().await?;
            let storage = Arc::new(storage);
            tokio::spawn(remove_unfinished_blobs(Arc::clone(&storage)));
            Ok(storage)
        }
    }
}

fn gate(access: &AccessConfig) -> Result<Arc<Gate>, ServeError> {
    let credentials = access::read(access)?;
    Ok(Arc::new(Gate::new(access.rules.clone(), credentials, access.url.clone())))
}

fn packer(config: &Config, records: Records) -> Result<Packer, ServeError> {
    let threads = NonZeroUsize::new(config.packing.threads).unwrap_or(NonZeroUsize::MIN);
    let level = Level::new(config.packing.level)?;
    Packer::new(threads, level, config.packing.memory, records).map_err(ServeError::Threads)
}

fn limits(config: &Config) -> Limits {
    Limits {
        max_builds: config.nix.max_builds,
        max_queue: config.nix.max_queue,
        max_layers: config.image.max_layers,
        max_packages: config.image.max_packages,
        max_paths: config.image.max_paths,
        max_closure_bytes: config.image.max_closure_bytes,
        log_lines: if config.web.builds { config.web.log_lines } else { 0 },
        keep_builds: config.web.keep_builds,
    }
}

/// Everything that requests are answered with.
pub(super) async fn registry(
    config: &Config,
    metrics: PrometheusHandle,
    shutdown: CancellationToken,
) -> Result<Registry, ServeError> {
    if let Some(directory) = config.web.directory.as_ref().filter(|path| !path.is_dir()) {
        return Err(ServeError::WebDirectory { path: directory.display().to_string() });
    }
    let gate = config.access.as_ref().map(gate).transpose()?;
    let storage = open_storage(config).await?;
    let images = match &config.storage {
        StorageConfig::Filesystem { path } => Some(path.as_path()),
        StorageConfig::Gcs(_) => None,
    };
    let disk = Disk::new(config.disk.min_free, images, Path::new(NIX_STORE));
    disk.look().await;
    let roots = Roots::open(&config.nix.roots).map_err(|source| ServeError::Roots {
        path: config.nix.roots.display().to_string(),
        source,
    })?;
    tokio::spawn(remove_old_roots(config.nix.roots.clone()));
    let directory = Directory::open(&config.cache.path, config.cache.max_bytes);
    let directory = directory.map_err(|source| ServeError::Cache {
        path: config.cache.path.display().to_string(),
        source,
    })?;
    let directory = Arc::new(directory);
    let source = &config.source;
    let pins =
        Pins::new(source.refresh, source.fingerprint, Arc::clone(&directory), shutdown.clone());
    let isolation = config.nix.isolation.clone();
    let builder = Arc::new(Builder::new(config.nix.timeout, isolation, roots, shutdown));
    builder.check().await?;
    let catalogue = Catalogue::new(
        Arc::clone(&builder),
        pins.clone(),
        Arc::clone(&directory),
        config.image.platform.system(),
    );
    let popularity = popularity::load(config.nix.popularity_url.as_deref()).await?;
    let records = Records::new(Arc::clone(&storage));
    let packer = packer(config, records.clone())?;
    let runtime = Handle::current();
    let parts = Parts { records, directory, pins, builder, packer, popularity, disk: disk.clone() };
    Ok(Registry {
        assembler: Assembler::new(parts, limits(config)),
        catalogue,
        storage,
        disk,
        source: source.source.clone(),
        tag_rules: source.tags.clone(),
        metrics: Box::new(move || {
            counters::tasks(runtime.metrics().num_alive_tasks());
            metrics.run_upkeep();
            metrics.render()
        }),
        default_platform: config.image.platform,
        shows_builds: config.web.builds,
        // Known once there is a listener.
        port: None,
        max_watchers: config.limits.watchers,
        max_downloads: config.limits.downloads.min(most_files() / FILES_SHARE).max(1),
        max_downloads_per_address: config.limits.downloads_per_address,
        web_directory: config.web.directory.clone(),
        gate,
    })
}
