//! Images for those who may have only what was made before.

use std::sync::Arc;

use super::error::AssembleError;
use super::{Answer, Asked, Assembler, Failure, Image, ImageRequest, Inner};
use crate::pin::Pin;

impl Assembler {
    /// The manifests of an image that was made before, by whichever server of the storage.
    /// `None`: it wasn't, or can't be known again as its source has no revision.
    ///
    /// Where the source has moved since, it may be of the commit before.
    pub async fn made(&self, asked: &Asked) -> Result<Option<Answer>, Failure> {
        let failed = |error| Failure::logged(asked.name.as_str(), error);
        let pin = self.0.pins.pin(asked.source.clone()).await;
        let pin = pin.map_err(|error| failed(error.into()))?;
        for pin in [Some(pin.clone()), before(&pin)].into_iter().flatten() {
            let request = ImageRequest { spec: asked.spec.clone(), source: pin.snapshot };
            if let Some(image) = self.0.made(asked, request).await.map_err(failed)? {
                return Ok(Some(Answer { image, warning: pin.warning }));
            }
        }
        Ok(None)
    }
}

/// What the source was before it moved, with what is said of that.
fn before(pin: &Pin) -> Option<Pin> {
    let snapshot = pin.previous.clone()?;
    let warning = format!(
        "of commit {} of the package source this image has not been made yet: this is of commit \
         {}, where it was before",
        pin.snapshot.revision()?,
        snapshot.revision()?
    );
    Some(Pin { snapshot, previous: None, warning: Some(warning.into()) })
}

impl Inner {
    async fn made(
        &self,
        asked: &Asked,
        request: ImageRequest,
    ) -> Result<Option<Arc<Image>>, AssembleError> {
        if let Some(image) = self.in_memory(&request).await? {
            return Ok(Some(image));
        }
        let Some(key) = self.manifest_key(&request, &self.popularity()) else { return Ok(None) };
        let image = self.recorded(&key).await?;
        Ok(image.map(|image| self.remember(&asked.name, request, image, Some(key), None)))
    }
}
