//! What a directory is at: the store path that it leads to, or a fingerprint of its
//! content; and for people, the commit that it is a clean work tree of.

mod fingerprint;
mod work_tree;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::error::PinError;
use crate::error_chain::ErrorChain;
use crate::source::{Snapshot, SourceAt};
use fingerprint::Hashes;

/// Looks at directories.
#[derive(Debug, Default)]
pub(super) struct Directories {
    hashes: Arc<Hashes>,
}

/// Why a directory has no fingerprint.
#[derive(Debug, Error)]
pub(super) enum LookError {
    /// Something in it can't be read.
    #[error("can't read {path}", path = .path.display())]
    Read { path: PathBuf, source: io::Error },
    /// It is not just a package set.
    #[error(
        "it has more than {} files or {} MiB, which are too much to look through at each pull: a \
         path in the Nix store, or a git repository as source, is not looked through",
        fingerprint::MAX_ENTRIES,
        fingerprint::MAX_BYTES >> 20
    )]
    TooLarge,
}

impl Directories {
    /// What the directory, or file, at `path` is now.
    pub(super) async fn look(
        &self,
        path: &Path,
        shutdown: &CancellationToken,
    ) -> Result<Snapshot, PinError> {
        let unknown = Snapshot::unknown(&SourceAt::Path { path: path.to_owned() });
        let resolved = {
            let path = path.to_owned();
            spawn_blocking(move || fs::canonicalize(path).map(|real| (real.is_dir(), real)))
        };
        let Ok((is_directory, real)) = resolved.await.map_err(|_| PinError::Crashed)? else {
            // Whoever evaluates it says better what is wrong.
            return Ok(unknown);
        };
        if let Some(fixed) = Snapshot::of_fixed(&SourceAt::Path { path: real.clone() }) {
            return Ok(fixed);
        }
        let directory = match real.parent() {
            Some(parent) if !is_directory => parent.to_owned(),
            _ => real,
        };
        // A commit doesn't tell what is in a work tree, not even in a clean one: git can
        // be told to overlook files, and overlooks modes and empty directories.
        let commit = work_tree::clean_commit(&directory, shutdown).await;
        let hashes = Arc::clone(&self.hashes);
        let fingerprint = spawn_blocking(move || hashes.fingerprint(&directory));
        match fingerprint.await.map_err(|_| PinError::Crashed)? {
            Ok(found) => Ok(Snapshot::of_directory(path, found, commit)),
            Err(problem) => {
                let problem = ErrorChain(&problem).to_string();
                tracing::warn!(
                    path = %path.display(),
                    problem,
                    "the package set has no fingerprint: Nix runs at each pull"
                );
                Ok(unknown)
            }
        }
    }
}
