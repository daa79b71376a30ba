//! Reading a part of a blob, in order.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use google_cloud_storage::model_ext::ReadRange;
use google_cloud_storage::read_object::ReadObjectResponse;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{Sender, channel};

use super::bucket::Bucket;
use super::error::BucketError;
use super::retry::TRIED;
use crate::storage::blob::{Pieces, RemoteBlob};

/// Pieces of a blob that wait to be taken. Each has what came at once from the network.
const AHEAD: usize = 4;

/// How often reading goes on after it stopped.
const RESUMED: u32 = 5;

/// A blob in the bucket.
#[derive(Clone, Debug)]
pub(super) struct Remote {
    pub(super) bucket: Arc<Bucket>,
    pub(super) runtime: Handle,
    pub(super) name: String,
    pub(super) size: u64,
}

impl RemoteBlob for Remote {
    fn fetch(&self, start: u64, end: u64) -> Pieces {
        let (target, pieces) = channel(AHEAD);
        let remote = self.clone();
        self.runtime.spawn(async move {
            if let Err(error) = remote.send(start, end, &target).await {
                let _ = target.send(Err(io::Error::other(error))).await;
            }
        });
        pieces
    }
}

impl Remote {
    /// Sends the bytes from `start` up to `end`, until nobody wants them any more.
    async fn send(
        &self,
        mut start: u64,
        end: u64,
        target: &Sender<io::Result<Bytes>>,
    ) -> Result<(), BucketError> {
        let mut resumed = 0;
        while start < end {
            match self.send_some(&mut start, end, target).await {
                Err(error) if error.is_temporary() && resumed < RESUMED => {
                    resumed += 1;
                    let name = &self.name;
                    tracing::debug!(name, start, %error, "reading from the bucket goes on");
                }
                other => return other,
            }
        }
        Ok(())
    }

    /// The same as far as it goes without a break; raises `start`. The last piece is sent
    /// only when the checksum has been compared.
    async fn send_some(
        &self,
        start: &mut u64,
        end: u64,
        target: &Sender<io::Result<Bytes>>,
    ) -> Result<(), BucketError> {
        let mut response = self.begin(*start, end).await?;
        if u64::try_from(response.object().size) != Ok(self.size) {
            return Err(BucketError::Malformed("it has another length now".into()));
        }
        let mut held = Bytes::new();
        let mut received = *start;
        while let Some(piece) = self.bucket.next_piece(&mut response).await {
            let piece = piece?;
            received += piece.len() as u64;
            let before = std::mem::replace(&mut held, piece);
            let length = before.len() as u64;
            if length > 0 && target.send(Ok(before)).await.is_err() {
                return Ok(());
            }
            *start += length;
        }
        if received != end {
            return Err(BucketError::Unreachable("cut off".into()));
        }
        let _ = target.send(Ok(held)).await;
        Ok(())
    }

    async fn begin(&self, start: u64, end: u64) -> Result<ReadObjectResponse, BucketError> {
        // The service's checksum is of the whole, and is compared only where that is read
        // at once.
        let range = || match (start, end) {
            (0, end) if end == self.size => ReadRange::all(),
            (start, end) => ReadRange::segment(start, end - start),
        };
        let retries = &self.bucket.api.retries;
        retries
            .run(self.bucket.patience * TRIED, |_| self.bucket.begin_to_read(&self.name, range()))
            .await
    }
}
