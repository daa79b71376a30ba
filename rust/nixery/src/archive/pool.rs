//! The compression threads and the memory that all layers share.
//!
//! Memory is bounded by the pool: a fixed number of blocks circulates between
//! the layers being packed and the threads, whatever their number and sizes.
//!
//! Nothing can wait in a circle. A thread of the pool never waits for a block:
//! it compresses into a buffer of its own and swaps that for the input. A layer
//! waits for a free block only while it holds none; otherwise it takes back its
//! own oldest block, which depends on nothing but the threads. So there always
//! is somebody who can go on.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::gzip::{BLOCK_SIZE, Gzip, Level, OutputTooSmall};

/// Compresses blocks of all layers that are being packed, on its own threads.
///
/// Dropping it stops the threads and waits for them.
pub struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// The most blocks that one layer may hold.
    blocks_per_layer: usize,
}

struct Shared {
    state: Mutex<State>,
    /// There is a job, or the pool closes.
    job_added: Condvar,
    /// There is a free buffer.
    buffer_freed: Condvar,
}

struct State {
    /// Buffers that nobody uses.
    free: Vec<Box<[u8]>>,
    jobs: VecDeque<Job>,
    /// How many layers hold nothing and wait for a block.
    waiting: usize,
    closed: bool,
}

/// A block to compress, and where to send it then. If the sender is dropped
/// instead, compressing it failed.
struct Job {
    block: Block,
    done: SyncSender<Block>,
}

/// A buffer, first of input and then of its compressed form. It goes back to
/// the pool when dropped.
pub(super) struct Block {
    buffer: Box<[u8]>,
    length: usize,
    shared: Arc<Shared>,
}

/// How many buffers circulate.
fn buffers(threads: usize) -> usize {
    2 * threads + 4
}

/// How a thread compresses: from the first slice to the second.
type Compress = Box<dyn FnMut(&[u8], &mut [u8]) -> Result<usize, OutputTooSmall>>;

impl Pool {
    /// Bytes of memory that a pool takes, however much is packed at a time: about 4 MiB for
    /// each thread, and 4 MiB once.
    pub fn memory(threads: NonZeroUsize, level: Level) -> usize {
        let buffer = Gzip::new(level).output_size().max(BLOCK_SIZE);
        let threads = threads.get();
        (buffers(threads) + threads) * buffer + threads * Gzip::memory(level)
    }

    /// Starts `threads` threads that compress at `level`.
    pub fn new(threads: NonZeroUsize, level: Level) -> io::Result<Self> {
        let output_size = Gzip::new(level).output_size();
        Self::with_compressor(threads, output_size, move || {
            let mut gzip = Gzip::new(level);
            Box::new(move |input, output| gzip.member(input, output))
        })
    }

    fn with_compressor(
        threads: NonZeroUsize,
        output_size: usize,
        compressor: impl Fn() -> Compress + Clone + Send + 'static,
    ) -> io::Result<Self> {
        let threads = threads.get();
        let buffer = || vec![0; output_size.max(BLOCK_SIZE)].into_boxed_slice();
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                free: (0..buffers(threads)).map(|_| buffer()).collect(),
                jobs: VecDeque::new(),
                waiting: 0,
                closed: false,
            }),
            job_added: Condvar::new(),
            buffer_freed: Condvar::new(),
        });
        // Less than all of them, so that a layer whose sink is slow does not
        // keep every block from the others.
        let mut pool = Self { shared, threads: Vec::new(), blocks_per_layer: threads + 3 };
        for number in 0..threads {
            let (shared, compressor, scratch) = (pool.shared.clone(), compressor.clone(), buffer());
            let thread = thread::Builder::new()
                .name(format!("compress-{number}"))
                .spawn(move || shared.work(&compressor, scratch))?;
            pool.threads.push(thread);
        }
        Ok(pool)
    }

    /// The most blocks that one layer may hold at a time.
    pub(super) fn blocks_per_layer(&self) -> usize {
        self.blocks_per_layer
    }

    /// A free block, unless there is none, or layers that hold none wait for one.
    pub(super) fn try_block(&self) -> Option<Block> {
        let mut state = self.shared.lock();
        let buffer = if state.waiting == 0 { state.free.pop() } else { None }?;
        Some(self.block(buffer))
    }

    /// Waits a while for a free block. Only for layers that hold none.
    pub(super) fn wait_for_block(&self, limit: Duration) -> Option<Block> {
        let mut state = self.shared.lock();
        state.waiting += 1;
        let (mut state, _) = self
            .shared
            .buffer_freed
            .wait_timeout_while(state, limit, |state| state.free.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        let buffer = state.free.pop()?;
        Some(self.block(buffer))
    }

    fn block(&self, buffer: Box<[u8]>) -> Block {
        Block { buffer, length: 0, shared: self.shared.clone() }
    }

    /// Queues `block` for compression. It comes back through the receiver,
    /// which is closed without it if compressing it failed.
    pub(super) fn compress(&self, block: Block) -> Receiver<Block> {
        // With room for the one message, the thread never waits for the layer.
        let (done, receiver) = sync_channel(1);
        self.shared.lock().jobs.push_back(Job { block, done });
        self.shared.job_added.notify_one();
        receiver
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.job_added.notify_all();
        for thread in self.threads.drain(..) {
            // A thread's panic has been reported by its hook already.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock, and no step leaves the state
        // inconsistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a thread does: compresses until the pool closes.
    fn work(&self, new_compressor: &impl Fn() -> Compress, mut scratch: Box<[u8]>) {
        let mut compress = new_compressor();
        while let Some(Job { mut block, done }) = self.next_job() {
            let outcome = catch_unwind(AssertUnwindSafe(|| compress(block.filled(), &mut scratch)));
            match outcome {
                Ok(Ok(length)) => {
                    mem::swap(&mut block.buffer, &mut scratch);
                    block.length = length;
                    // A layer that gave up has dropped its end; the block then
                    // goes back to the pool.
                    let _ = done.send(block);
                }
                Ok(Err(OutputTooSmall)) => {}
                // The panic may have left it in any state.
                Err(_) => compress = new_compressor(),
            }
        }
    }

    fn next_job(&self) -> Option<Job> {
        let mut state = self
            .job_added
            .wait_while(self.lock(), |state| state.jobs.is_empty() && !state.closed)
            .unwrap_or_else(PoisonError::into_inner);
        state.jobs.pop_front()
    }
}

impl Block {
    /// What was written.
    pub(super) fn filled(&self) -> &[u8] {
        &self.buffer[..self.length]
    }

    /// Room for more input; empty when the block is full.
    pub(super) fn space(&mut self) -> &mut [u8] {
        &mut self.buffer[self.length..BLOCK_SIZE]
    }

    /// Says that the first `length` bytes of the room are written.
    pub(super) fn advance(&mut self, length: usize) {
        self.length = (self.length + length).min(BLOCK_SIZE);
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.shared.lock().free.push(mem::take(&mut self.buffer));
        self.shared.buffer_freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Copies blocks, and panics at one that begins with `!`.
    fn touchy() -> Pool {
        let compressor = || -> Compress {
            Box::new(|input, output| {
                assert_ne!(input.first(), Some(&b'!'), "a test makes this happen");
                output[..input.len()].copy_from_slice(input);
                Ok(input.len())
            })
        };
        Pool::with_compressor(NonZeroUsize::MIN, BLOCK_SIZE, compressor).unwrap()
    }

    fn block(pool: &Pool, content: &[u8]) -> Block {
        let mut block = pool.try_block().unwrap();
        block.space()[..content.len()].copy_from_slice(content);
        block.advance(content.len());
        block
    }

    #[test]
    fn a_panic_fails_its_block_only() {
        let pool = touchy();
        let blocks = pool.shared.lock().free.len();
        let bad = pool.compress(block(&pool, b"!"));
        let good = pool.compress(block(&pool, b"fine"));
        assert!(bad.recv().is_err());
        assert_eq!(good.recv().unwrap().filled(), b"fine");
        assert_eq!(pool.shared.lock().free.len(), blocks, "a block was lost");
    }

    #[test]
    fn blocks_come_back_from_layers_that_gave_up() {
        let pool = touchy();
        let blocks = pool.shared.lock().free.len();
        for _ in 0..3 * blocks {
            let block = pool.wait_for_block(Duration::from_mins(1)).unwrap();
            drop(pool.compress(block));
        }
    }

    #[test]
    fn waiting_layers_go_first() {
        let pool = touchy();
        let mut held: Vec<_> = std::iter::from_fn(|| pool.try_block()).collect();
        assert!(pool.wait_for_block(Duration::from_millis(1)).is_none());
        thread::scope(|scope| {
            let waiting = scope.spawn(|| pool.wait_for_block(Duration::from_mins(1)));
            while pool.shared.lock().waiting == 0 {
                thread::yield_now();
            }
            held.pop();
            // Either it has been taken, or it is kept for the one who waits.
            assert!(pool.try_block().is_none());
            assert!(waiting.join().unwrap().is_some());
        });
    }
}
