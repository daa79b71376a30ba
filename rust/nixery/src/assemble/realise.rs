//! Store paths that are needed and are perhaps gone.

use super::build::Build;
use super::error::AssembleError;
use super::packages::Ingredients;
use crate::layers::Closure;
use crate::nix::{NixError, Prepared};
use crate::store_path::StorePath;

impl Build<'_> {
    /// Has Nix put `paths` of an image into the store, and keep them: only these, or
    /// the packages that need them where Nix doesn't know how.
    pub(super) async fn put_into_store(
        &mut self,
        ingredients: &Ingredients,
        paths: &[StorePath],
    ) -> Result<Option<Prepared>, AssembleError> {
        if paths.is_empty() {
            return Ok(None);
        }
        self.take_turn().await;
        let log = |line: &str| self.progress.add_line(line);
        tracing::info!(image = self.name, store_paths = paths.len(), "realising store paths");
        match self.inner.builder.realise(self.name, paths, log).await {
            // The binary cache doesn't have them, or isn't there.
            Err(NixError::BuildFailed { message, .. }) => {
                tracing::info!(image = self.name, message, "preparing the packages again");
            }
            other => return Ok(Some(other?)),
        }
        let needs_some = |closure: &Closure| paths.iter().any(|path| closure.contains(path));
        let packages: Vec<&str> = ingredients
            .packages
            .iter()
            .filter(|record| needs_some(&record.closure))
            .map(|record| record.package.request.as_str())
            .collect();
        let system = self.request.spec.platform().system();
        let source = self.request.source.source();
        let builder = &self.inner.builder;
        Ok(Some(builder.prepare(self.name, source, system, &packages, log).await?))
    }
}
