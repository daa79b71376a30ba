//! Sending a part of a blob.
//!
//! What is in the page cache is read right where it is sent, without a detour
//! over another thread; only what must come from the disk takes that detour. What is on
//! another machine is passed on piece by piece, as it comes.

use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::counters;
use crate::places::Place;
use crate::storage::{Blob, Pieces, ReadNow};

/// Bytes read at a time.
const CHUNK: usize = 128 * 1024;

/// Buffers kept for reuse. More are in use when more clients are served.
const KEPT: usize = 64;

/// Buffers that are used again: fresh memory costs more than to fill it.
#[derive(Clone, Default)]
pub(super) struct Buffers(Arc<Mutex<Vec<Box<[u8]>>>>);

impl Buffers {
    fn take(&self) -> Buffer {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let content = kept.unwrap_or_else(|| vec![0; CHUNK].into_boxed_slice());
        Buffer { content, length: 0, buffers: self.clone() }
    }
}

/// A buffer that goes back when dropped.
struct Buffer {
    content: Box<[u8]>,
    length: usize,
    buffers: Buffers,
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.content[..self.length]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut kept = self.buffers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT {
            kept.push(mem::take(&mut self.content));
        }
    }
}

/// Bytes for which a client's place is kept: with HTTP/2 they may wait for the client long after
/// the body has ended that they are the last of.
struct Held<T> {
    bytes: T,
    _place: Arc<Place>,
}

impl<T: AsRef<[u8]>> AsRef<[u8]> for Held<T> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

/// Bytes of a blob, from one place up to another. If they can't be read, the
/// body ends with an error, which clients see as a broken connection.
pub(super) struct BlobBody {
    blob: Blob,
    position: u64,
    end: u64,
    buffers: Buffers,
    reading: Option<JoinHandle<io::Result<Buffer>>>,
    /// Where the blob is on another machine.
    fetched: Option<Pieces>,
    first: Option<Bytes>,
    place: Arc<Place>,
}

impl BlobBody {
    /// From `start` up to `end`, exclusive. What is on another machine has begun to come, or
    /// has failed.
    pub(super) async fn open(
        blob: Blob,
        start: u64,
        end: u64,
        buffers: Buffers,
        place: Arc<Place>,
    ) -> io::Result<Self> {
        let mut fetched = if start < end { blob.fetch(start, end) } else { None };
        let first = match &mut fetched {
            Some(pieces) => Some(pieces.recv().await.ok_or(io::ErrorKind::UnexpectedEof)??),
            None => None,
        };
        Ok(Self { blob, position: start, end, buffers, reading: None, fetched, first, place })
    }

    fn emit(
        &mut self,
        bytes: impl AsRef<[u8]> + Send + 'static,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let bytes = Bytes::from_owner(Held { bytes, _place: Arc::clone(&self.place) });
        self.position += bytes.len() as u64;
        counters::served(bytes.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}

impl Body for BlobBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        if let Some(reading) = &mut this.reading {
            let read = ready!(Pin::new(reading).poll(context));
            this.reading = None;
            let buffer = read.map_err(io::Error::other).flatten()?;
            return this.emit(buffer);
        }
        if this.position >= this.end {
            return Poll::Ready(None);
        }
        if let Some(first) = this.first.take() {
            return this.emit(first);
        }
        if let Some(pieces) = &mut this.fetched {
            let next = ready!(pieces.poll_recv(context));
            let piece = next.ok_or(io::ErrorKind::UnexpectedEof)??;
            return this.emit(piece);
        }
        let left = usize::try_from(this.end - this.position).unwrap_or(usize::MAX);
        if let Some(bytes) = this.blob.bytes() {
            // Positions in memory fit; a slice that didn't would be a short body.
            let start = usize::try_from(this.position).unwrap_or(usize::MAX);
            return match start.checked_add(left) {
                Some(end) if end <= bytes.len() => {
                    let bytes = bytes.slice(start..end);
                    this.emit(bytes)
                }
                _ => Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
            };
        }
        let mut buffer = this.buffers.take();
        let length = left.min(CHUNK);
        match this.blob.read_now(&mut buffer.content[..length], this.position)? {
            ReadNow::Read(read) => {
                buffer.length = read;
                this.emit(buffer)
            }
            ReadNow::WouldBlock => {
                let (blob, position) = (this.blob.clone(), this.position);
                let mut reading = spawn_blocking(move || {
                    blob.read_exact_at(&mut buffer.content[..length], position)?;
                    buffer.length = length;
                    Ok(buffer)
                });
                match Pin::new(&mut reading).poll(context) {
                    Poll::Ready(read) => {
                        let buffer = read.map_err(io::Error::other).flatten()?;
                        this.emit(buffer)
                    }
                    Poll::Pending => {
                        this.reading = Some(reading);
                        Poll::Pending
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.position >= self.end
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.end - self.position)
    }
}
