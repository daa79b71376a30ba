//! Reading a part of a blob, in order.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use google_cloud_storage::model_ext::ReadRange;
use google_cloud_storage::read_object::ReadObjectResponse;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{Sender, channel};

use super::Shared;
use super::bucket::name_of;
use super::error::BucketError;
use super::retry::TRIED;
use crate::error_chain::ErrorChain;
use crate::oci::Digest;
use crate::storage::Object;
use crate::storage::blob::{Pieces, RemoteBlob};

/// Pieces of a blob that wait to be taken. Each has what came at once from the network,
/// which is up to 400 KiB.
const AHEAD: usize = 1;

/// How often reading goes on after it stopped, without anything having come between.
const BREAKS: u32 = 5;

/// A blob in the bucket.
#[derive(Clone, Debug)]
pub(super) struct Remote {
    pub(super) shared: Arc<Shared>,
    pub(super) runtime: Handle,
    pub(super) digest: Digest,
    pub(super) size: u64,
}

impl RemoteBlob for Remote {
    fn fetch(&self, start: u64, end: u64) -> Pieces {
        let (target, pieces) = channel(AHEAD);
        let remote = self.clone();
        self.runtime.spawn(async move {
            let sent = tokio::select! {
                // Also while nothing comes that could be sent.
                () = target.closed() => return,
                sent = remote.send(start, end, &target) => sent,
            };
            if let Err(error) = sent {
                if error.is_gone() {
                    remote.shared.forget(&Object::Blob(remote.digest));
                }
                remote.tell(&error);
                let _ = target.send(Err(io::Error::other(error))).await;
            }
        });
        pieces
    }
}

impl Remote {
    /// Says why it can't be read to its end.
    fn tell(&self, error: &BucketError) {
        let object = self.shared.bucket.url(&name_of(&Object::Blob(self.digest)));
        if matches!(error, BucketError::OtherBytes) {
            // Not removed: a network that damages what comes may be the reason as well, and
            // there is nobody else to ask.
            tracing::error!(
                object,
                "a blob isn't what was sent, on its way or in the bucket; if that goes on, \
                 delete the object, and it is made again"
            );
        } else {
            tracing::warn!(object, "a blob can't be read to its end: {}", ErrorChain(error));
        }
    }

    /// Sends the bytes from `start` up to `end`, until nobody wants them any more.
    async fn send(
        &self,
        mut start: u64,
        end: u64,
        target: &Sender<io::Result<Bytes>>,
    ) -> Result<(), BucketError> {
        let first = start;
        let mut breaks = 0;
        let mut generation = None;
        while start < end {
            let before = start;
            match self.send_some(&mut start, end, &mut generation, target).await {
                // The wrong byte may be in what was sent.
                Err(error @ BucketError::OtherBytes) if start > first => return Err(error),
                Err(error) if error.is_temporary() && breaks < BREAKS => {
                    breaks = if start > before { 0 } else { breaks + 1 };
                    let digest = &self.digest;
                    tracing::debug!(%digest, start, %error, "reading from the bucket goes on");
                }
                other => return other,
            }
        }
        Ok(())
    }

    /// The same as far as it goes without a break; raises `start`. The last piece is sent
    /// only when the checksum has been compared. All has to be of one generation.
    async fn send_some(
        &self,
        start: &mut u64,
        end: u64,
        generation: &mut Option<i64>,
        target: &Sender<io::Result<Bytes>>,
    ) -> Result<(), BucketError> {
        let mut response = self.begin(*start, end, *generation).await?;
        *generation = Some(response.object().generation);
        if u64::try_from(response.object().size) != Ok(self.size) {
            return Err(BucketError::Malformed("it has another length now".into()));
        }
        // Nothing is read that nobody takes yet: slow clients would fill the memory.
        while let Ok(place) = target.reserve().await {
            let piece = self.shared.bucket.next_piece(&mut response).await;
            let piece = piece.ok_or_else(|| BucketError::Unreachable("cut off".into()))??;
            *start += piece.len() as u64;
            if *start < end {
                place.send(Ok(piece));
                continue;
            }
            let beginning = *start - piece.len() as u64;
            return match self.shared.bucket.next_piece(&mut response).await {
                None => {
                    place.send(Ok(piece));
                    Ok(())
                }
                Some(Ok(_)) => Err(BucketError::Malformed("it is longer than it should be".into())),
                Some(Err(error)) => {
                    *start = beginning;
                    Err(error)
                }
            };
        }
        Ok(())
    }

    async fn begin(
        &self,
        start: u64,
        end: u64,
        generation: Option<i64>,
    ) -> Result<ReadObjectResponse, BucketError> {
        // The service's checksum is of the whole, and is compared only where that is read
        // at once.
        let range = || match (start, end) {
            (0, end) if end == self.size => ReadRange::all(),
            (start, end) => ReadRange::segment(start, end - start),
        };
        let (bucket, name) = (&self.shared.bucket, name_of(&Object::Blob(self.digest)));
        let read = |_| bucket.begin_to_read(&name, range(), generation);
        bucket.api.retries.run(bucket.patience * TRIED, read).await
    }
}
