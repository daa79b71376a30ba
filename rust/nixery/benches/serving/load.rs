//! Clients that ask for the same thing again and again.
//!
//! Minimal, so that the server is what is measured: requests are made once, and
//! of answers only the status and the length are looked at. All connections share
//! one thread and one buffer.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::ready;
use std::time::{Duration, Instant};

use nixery::oci::Digest;
use rustix::time::{ClockId, clock_gettime};
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;

use super::server::Server;
use super::workload::{Content, Image, Workload};
use crate::Result;

/// Clients at the same time.
pub(crate) const CONNECTIONS: usize = 64;

/// For how long the load runs before it is measured.
const WARM_UP: Duration = Duration::from_millis(300);

/// Bytes read at a time. Clients read 32 KiB or so; one that reads much more makes
/// the kernel hold more for it than the processor's caches do.
const BUFFER: usize = 64 << 10;

/// What was measured.
pub(crate) struct Outcome {
    pub(crate) requests: u64,
    /// Bytes of bodies.
    pub(crate) bytes: u64,
    pub(crate) elapsed: Duration,
    pub(crate) server_cpu: Duration,
    pub(crate) own_cpu: Duration,
    /// Sorted.
    latencies: Vec<Duration>,
}

impl Outcome {
    /// The latency that this part of the requests did not exceed.
    pub(crate) fn latency(&self, part: f64) -> Duration {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1")]
        let index = (self.latencies.len() as f64 * part) as usize;
        self.latencies.get(index).or(self.latencies.last()).copied().unwrap_or_default()
    }
}

/// What the connections have in common.
pub(crate) struct Shared {
    buffer: RefCell<Box<[u8]>>,
    requests: Cell<u64>,
    bytes: Cell<u64>,
    latencies: RefCell<Vec<Duration>>,
    error: RefCell<Option<String>>,
}

impl Shared {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self {
            buffer: RefCell::new(vec![0; BUFFER].into()),
            requests: Cell::default(),
            bytes: Cell::default(),
            latencies: RefCell::default(),
            error: RefCell::default(),
        })
    }
}

/// Asks for an image, which the server makes then.
pub(crate) fn pull(server: SocketAddr, name: &str) -> Result<Image> {
    let unknown = Content { digest: String::new(), size: 0 };
    let path = format!("/v2/{name}/manifests/latest");
    let ask = Workload::manifest("the first manifest", path, &unknown);
    let (status, body) = runtime()?.block_on(async {
        let mut client = Client::connect(server, Shared::new()).await?;
        let mut body = Vec::new();
        let head = client.ask(&ask.request(), false, |bytes| body.extend_from_slice(bytes)).await?;
        Result::Ok((head.status, body))
    })?;
    if status != 200 {
        return Err(format!("{status}: {}", String::from_utf8_lossy(&body)).into());
    }
    let manifest = Content { digest: Digest::of(&body).to_string(), size: body.len() as u64 };
    Image::new(name, manifest, &body)
}

/// Has all clients ask for one thing for as long as that.
pub(crate) fn run(server: &Server, workload: &Workload, duration: Duration) -> Result<Outcome> {
    let shared = Shared::new();
    let clients = LocalSet::new();
    let outcome = runtime()?.block_on(clients.run_until(async {
        check(server.address(), workload).await?;
        for _ in 0..CONNECTIONS {
            let client = Client::connect(server.address(), Rc::clone(&shared)).await?;
            let request = workload.request();
            let (is_head, expected) = (workload.method == "HEAD", workload.expected());
            let shared = Rc::clone(&shared);
            clients.spawn_local(async move {
                if let Err(error) = client.ask_for_ever(&request, is_head, &expected).await {
                    shared.error.replace(Some(error.to_string()));
                }
            });
        }
        tokio::time::sleep(WARM_UP).await;
        shared.requests.set(0);
        shared.bytes.set(0);
        shared.latencies.borrow_mut().clear();
        let (start, server_cpu, own_cpu) = (Instant::now(), server.cpu()?, own_cpu());
        tokio::time::sleep(duration).await;
        Result::Ok(Outcome {
            requests: shared.requests.get(),
            bytes: shared.bytes.get(),
            elapsed: start.elapsed(),
            server_cpu: server.cpu()?.saturating_sub(server_cpu),
            own_cpu: self::own_cpu().saturating_sub(own_cpu),
            latencies: shared.latencies.take(),
        })
    }));
    if let Some(error) = shared.error.take() {
        return Err(format!("{}: {error}", workload.name).into());
    }
    let mut outcome = outcome?;
    outcome.latencies.sort_unstable();
    Ok(outcome)
}

/// Asks once, and looks at all of the answer.
async fn check(server: SocketAddr, workload: &Workload) -> Result<()> {
    let mut client = Client::connect(server, Shared::new()).await?;
    let mut body = Vec::new();
    let keep = |bytes: &[u8]| body.extend_from_slice(bytes);
    let head = client.ask(&workload.request(), workload.method == "HEAD", keep).await?;
    let right = workload.digest.as_ref().is_none_or(|d| Digest::of(&body).to_string() == *d);
    if head != workload.expected() || !right {
        return Err(format!("{}: wrong content, or {head:?}", workload.name).into());
    }
    Ok(())
}

impl Workload {
    fn expected(&self) -> Head {
        Head { status: self.status, length: self.size }
    }
}

pub(crate) fn runtime() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

fn own_cpu() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap_or_default()
}

/// What matters of an answer's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) length: u64,
}

impl Head {
    /// The head that `bytes` begin with, and its length, if all of it is there.
    fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>> {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&bytes[..end])?;
        let status = text.get(9..12).ok_or("no status")?.parse()?;
        let length = text.split("\r\n").find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length").then_some(value)
        });
        let length = length.ok_or("no content-length")?.parse()?;
        Ok(Some((Self { status, length }, end + 4)))
    }
}

pub(crate) struct Client {
    stream: TcpStream,
    shared: Rc<Shared>,
}

impl Client {
    pub(crate) async fn connect(server: SocketAddr, shared: Rc<Shared>) -> Result<Self> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, shared })
    }

    async fn ask_for_ever(mut self, request: &[u8], is_head: bool, expected: &Head) -> Result<()> {
        loop {
            let start = Instant::now();
            let head = self.ask(request, is_head, |_| ()).await?;
            if head != *expected {
                return Err(format!("{head:?}").into());
            }
            self.shared.requests.update(|requests| requests + 1);
            self.shared.latencies.borrow_mut().push(start.elapsed());
        }
    }

    /// Sends a request and takes the answer.
    pub(crate) async fn ask(
        &mut self,
        request: &[u8],
        is_head: bool,
        mut body: impl FnMut(&[u8]),
    ) -> Result<Head> {
        self.stream.write_all(request).await?;
        let mut begun = Vec::new();
        let (head, read) = loop {
            let found = self
                .read(|bytes| {
                    // Nearly always, all of the head comes at once.
                    let all = if begun.is_empty() {
                        bytes
                    } else {
                        begun.extend_from_slice(bytes);
                        &begun
                    };
                    let Some((head, end)) = Head::parse(all)? else {
                        if begun.is_empty() {
                            begun.extend_from_slice(bytes);
                        }
                        return Ok(None);
                    };
                    body(&all[end..]);
                    Ok(Some((head, (all.len() - end) as u64)))
                })
                .await?;
            if let Some(found) = found {
                break found;
            }
        };
        self.shared.bytes.update(|sum| sum + read);
        let length = if is_head { 0 } else { head.length };
        let mut left = length.checked_sub(read).ok_or("too long an answer")?;
        while left > 0 {
            let read = self
                .read(|bytes| {
                    body(bytes);
                    Ok(bytes.len() as u64)
                })
                .await?;
            self.shared.bytes.update(|sum| sum + read);
            left = left.checked_sub(read).ok_or("too long an answer")?;
        }
        Ok(head)
    }

    /// Gives `take` the bytes that come next.
    async fn read<T>(&mut self, take: impl FnOnce(&[u8]) -> Result<T>) -> Result<T> {
        let mut take = Some(take);
        let (stream, shared) = (&mut self.stream, &self.shared);
        poll_fn(|context| {
            let mut buffer = shared.buffer.borrow_mut();
            let mut buffer = ReadBuf::new(&mut buffer);
            ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer))?;
            let Some(take) = take.take().filter(|_| !buffer.filled().is_empty()) else {
                return Err("the connection was closed".into()).into();
            };
            take(buffer.filled()).into()
        })
        .await
    }
}
