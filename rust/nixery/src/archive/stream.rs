//! One layer on its way through the pool: tar in, gzip out, in order.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::error::PackError;
use super::hash::{BlobHasher, BlobHashes};
use super::layer::PathMembers;
use super::member::{MemberReader, begins_with};
use super::pool::{Block, Pool};
use super::tar::Output;
use crate::oci::Digest;
use crate::storage::{Blob, BlobReader, BlobSink, is_temporary};

/// How often a layer that waits for memory looks whether it was cancelled.
const CANCEL_INTERVAL: Duration = Duration::from_millis(100);

/// Takes an archive's bytes in blocks, has them compressed, and writes the
/// results to a sink in order, hashing both forms.
///
/// All on the caller's thread but the compression: what it does takes a
/// quarter of the time that compression takes.
pub(super) struct LayerStream<'a> {
    pool: &'a Pool,
    sink: &'a mut dyn BlobSink,
    cancelled: &'a AtomicBool,
    /// The block being filled.
    current: Option<Block>,
    /// The blocks being compressed, oldest first.
    pending: VecDeque<Pending>,
    parts: Vec<Part>,
    archive: Sha256,
    blob: BlobHasher,
}

struct Pending {
    part: usize,
    compressed: Receiver<Block>,
}

/// One part of an archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Part {
    /// The length of each of its gzip members in bytes.
    pub members: Vec<u32>,
    /// How many bytes they hold.
    pub uncompressed: u64,
}

impl Part {
    pub(super) fn compressed(&self) -> u64 {
        self.members.iter().copied().map(u64::from).sum()
    }
}

/// What is known of a layer once it is written.
pub(super) struct Finished {
    pub diff_id: Digest,
    pub blob: BlobHashes,
    pub parts: Vec<Part>,
}

impl<'a> LayerStream<'a> {
    pub(super) fn new(
        pool: &'a Pool,
        sink: &'a mut dyn BlobSink,
        cancelled: &'a AtomicBool,
    ) -> Self {
        Self {
            pool,
            sink,
            cancelled,
            current: None,
            pending: VecDeque::new(),
            parts: Vec::new(),
            archive: Sha256::new(),
            blob: BlobHasher::default(),
        }
    }

    /// Compresses and writes all that is left.
    pub(super) fn finish(mut self) -> Result<Finished, PackError> {
        self.submit();
        while self.deliver_oldest()? {
            self.check_cancelled()?;
        }
        self.sink.flush().map_err(PackError::Sink)?;
        Ok(Finished {
            diff_id: Digest::from_bytes(self.archive.finalize().into()),
            blob: self.blob.finish(),
            parts: self.parts,
        })
    }

    /// Adds a part that is in `blob` already: its bytes are only hashed and copied.
    /// `bytes` gives them from the part's beginning on.
    pub(super) fn copy(
        &mut self,
        part: &PathMembers,
        blob: &Blob,
        mut bytes: BlobReader,
        reader: &mut MemberReader,
    ) -> Result<(), PackError> {
        self.begin_part()?;
        while self.deliver_oldest()? {
            self.check_cancelled()?;
        }
        let damaged = |source| PackError::Damaged { path: part.path.clone(), source };
        let is_shared = match self.sink.share(blob, part.offset, part.length()) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(damaged(error)),
            other => other.map_err(PackError::Sink)?,
        };
        let mut uncompressed = 0;
        for &length in &part.members {
            self.check_cancelled()?;
            let member = reader.read(&mut bytes, length).map_err(|source| {
                let path = part.path.clone();
                if is_temporary(&source) {
                    PackError::Source { path, source }
                } else {
                    damaged(source)
                }
            })?;
            if uncompressed == 0 && !begins_with(member.content, &part.path) {
                return Err(damaged(ErrorKind::InvalidData.into()));
            }
            self.blob.update(member.compressed);
            self.archive.update(member.content);
            uncompressed += member.content.len() as u64;
            if !is_shared {
                self.sink.write_all(member.compressed).map_err(PackError::Sink)?;
            }
        }
        // No store path is nothing at all.
        if uncompressed != part.uncompressed || uncompressed == 0 {
            return Err(damaged(ErrorKind::InvalidData.into()));
        }
        if let Some(this) = self.parts.last_mut() {
            *this = Part { members: part.members.clone(), uncompressed };
        }
        Ok(())
    }

    /// Hands the current block over to the pool, if it holds anything.
    fn submit(&mut self) {
        if let Some(block) = self.current.take_if(|block| !block.filled().is_empty()) {
            self.archive.update(block.filled());
            if self.parts.is_empty() {
                self.parts.push(Part::default());
            }
            let part = self.parts.len() - 1;
            self.parts[part].uncompressed += block.filled().len() as u64;
            self.pending.push_back(Pending { part, compressed: self.pool.compress(block) });
        }
    }

    /// A block to fill. See the pool's documentation for why this order of
    /// attempts cannot block for ever.
    fn next_block(&mut self) -> Result<Block, PackError> {
        self.deliver_ready()?;
        loop {
            self.check_cancelled()?;
            if self.pending.len() < self.pool.blocks_per_layer()
                && let Some(block) = self.pool.try_block()
            {
                return Ok(block);
            }
            if !self.deliver_oldest()?
                && let Some(block) = self.pool.wait_for_block(CANCEL_INTERVAL)
            {
                return Ok(block);
            }
        }
    }

    /// Writes the blocks that are compressed, without waiting for any.
    fn deliver_ready(&mut self) -> Result<(), PackError> {
        while let Some(oldest) = self.pending.front() {
            match oldest.compressed.try_recv() {
                Ok(block) => {
                    let part = oldest.part;
                    self.pending.pop_front();
                    self.deliver(part, &block)?;
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Err(PackError::Compression),
            }
        }
        Ok(())
    }

    /// Waits for the oldest block and writes it; whether there was one.
    fn deliver_oldest(&mut self) -> Result<bool, PackError> {
        let Some(oldest) = self.pending.pop_front() else { return Ok(false) };
        let block = oldest.compressed.recv().map_err(|_| PackError::Compression)?;
        self.deliver(oldest.part, &block)?;
        Ok(true)
    }

    fn deliver(&mut self, part: usize, block: &Block) -> Result<(), PackError> {
        let bytes = block.filled();
        // A member is at most a little longer than a block.
        self.parts[part].members.push(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.blob.update(bytes);
        self.sink.write_all(bytes).map_err(PackError::Sink)
    }

    fn check_cancelled(&self) -> Result<(), PackError> {
        if self.cancelled.load(Ordering::Relaxed) { Err(PackError::Cancelled) } else { Ok(()) }
    }
}

impl Output for LayerStream<'_> {
    fn space(&mut self) -> Result<&mut [u8], PackError> {
        if self.current.as_mut().is_some_and(|block| block.space().is_empty()) {
            self.submit();
        }
        if self.current.is_none() {
            self.current = Some(self.next_block()?);
        }
        self.current.as_mut().map(Block::space).ok_or(PackError::Compression)
    }

    fn advance(&mut self, length: usize) {
        if let Some(block) = &mut self.current {
            block.advance(length);
        }
    }

    fn begin_part(&mut self) -> Result<(), PackError> {
        self.submit();
        self.parts.push(Part::default());
        Ok(())
    }
}
