//! What an image is made of: from records, and from Nix where there are none.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::build::Build;
use super::error::AssembleError;
use super::{ImageRequest, environment};
use crate::archive::{Listing, PackError};
use crate::cache::{PackageRecord, Records, package_key};
use crate::concurrent::try_all;
use crate::layers::Closure;
use crate::nix::Prepared;
use crate::source::Snapshot;
use crate::storage::RecordKey;
use crate::store_path::StorePath;

/// All that is known of the packages of an image.
pub(super) struct Ingredients {
    /// The packages, in the order of their names.
    pub(super) packages: Vec<Arc<PackageRecord>>,
    /// All that they need.
    pub(super) closure: Arc<Closure>,
    /// What Nix has just made, and keeps: perhaps some of that, perhaps nothing.
    pub(super) in_store: Option<Prepared>,
    /// Whether they are what the source will always have under these names.
    pub(super) are_fixed: bool,
}

/// The store paths of packages, sorted, each once.
pub(super) fn package_paths(packages: &[Arc<PackageRecord>]) -> Vec<StorePath> {
    let mut paths: Vec<StorePath> =
        packages.iter().map(|record| record.package.path.clone()).collect();
    paths.sort_unstable();
    paths.dedup();
    paths
}

impl Build<'_> {
    /// Finds the packages of an image in the records, and has Nix make the others.
    pub(super) async fn ingredients(&mut self) -> Result<Ingredients, AssembleError> {
        let (inner, request) = (self.inner, self.request);
        let source = &request.source;
        let system = request.spec.platform().system();
        let keys = request.package_keys();
        let mut known = known_packages(&inner.records, source, &keys).await?;
        let unknown: Vec<&str> =
            keys.iter().map(|(name, _)| *name).filter(|name| !known.contains_key(name)).collect();

        let (mut in_store, mut are_fixed) = (None, source.is_fixed());
        if !unknown.is_empty() {
            self.take_turn().await;
            tracing::info!(image = self.name, packages = unknown.join(" "), "preparing packages");
            let log = |line: &str| self.progress.add_line(line);
            let prepared =
                inner.builder.prepare(self.name, source.source(), system, &unknown, log).await?;
            are_fixed &= inner.pins.is_still(source).await;
            let prepared = Arc::new(prepared);
            let described = {
                let prepared = Arc::clone(&prepared);
                spawn_blocking(move || describe(&prepared))
            };
            for record in described.await.map_err(|_| AssembleError::Crashed)?? {
                let key = keys.iter().find(|(name, _)| *name == record.package.request);
                let Some((name, key)) = key else { continue };
                let record = if are_fixed {
                    inner.records.write_package(key, record).await?
                } else {
                    Arc::new(record)
                };
                known.insert(name, record);
            }
            in_store = Arc::into_inner(prepared);
        }
        let packages: Vec<Arc<PackageRecord>> =
            keys.iter().filter_map(|(name, _)| known.remove(name)).collect();
        let closure = {
            let packages = packages.clone();
            spawn_blocking(move || Closure::merge(packages.iter().map(|record| &record.closure)))
        };
        let closure = closure.await.map_err(|_| AssembleError::Crashed)?;
        Ok(Ingredients { packages, closure: Arc::new(closure), in_store, are_fixed })
    }
}

impl ImageRequest {
    /// The packages with the keys of their records.
    pub(super) fn package_keys(&self) -> Vec<(&str, RecordKey)> {
        let system = self.spec.platform().system();
        let key = |name| (name, package_key(&self.source, system, name));
        self.spec.packages().map(key).collect()
    }
}

/// What is recorded of packages, by their names.
pub(super) async fn known_packages<'a>(
    records: &Records,
    source: &Snapshot,
    keys: &[(&'a str, RecordKey)],
) -> Result<HashMap<&'a str, Arc<PackageRecord>>, AssembleError> {
    if !source.is_fixed() {
        return Ok(HashMap::new());
    }
    let found = try_all(keys.iter().map(|(_, key)| records.package(key))).await?;
    let found = keys.iter().zip(found).filter_map(|((name, _), record)| Some((*name, record?)));
    Ok(found.filter(|(_, record)| record.closure.contains(&record.package.path)).collect())
}

/// Looks at what Nix has made. May wait for the disk.
fn describe(prepared: &Prepared) -> Result<Vec<PackageRecord>, PackError> {
    prepared
        .packages
        .iter()
        .map(|package| {
            let closure = prepared.closure.of(&package.path);
            Ok(PackageRecord {
                package: package.clone(),
                listing: Listing::read(&package.path)?,
                locales: environment::locales(&closure),
                closure,
            })
        })
        .collect()
}
