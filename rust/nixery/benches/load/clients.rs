//! Clients that pull what is there, and some that want what is not.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nixery::oci::Digest;
use tokio::task::LocalSet;

use super::asking::{Client, Head, Shared, runtime};
use super::cold::ColdImages;
use super::server::Server;
use super::workload::{Content, Image, Workload, all};
use crate::{CONNECTIONS, Result};

/// What a connection waits between two requests.
pub(crate) const PAUSE: Duration = Duration::from_millis(500);

/// Of 100 requests, how many are for what: people who pull what they have ask for
/// manifests, and for layers now and then.
const MIX: [(&str, u32); 5] = [
    ("manifest by tag", 60),
    ("manifest by tag, HEAD", 15),
    ("manifest by digest", 10),
    ("blob of 7 KB", 10),
    ("blob of 1 MB", 5),
];

/// What the clients saw.
#[derive(Default)]
pub(crate) struct Seen {
    /// Of each kind of request, sorted.
    pub(crate) latencies: BTreeMap<&'static str, Vec<Duration>>,
    /// Builds that were refused because too many wait.
    pub(crate) refused: usize,
    /// What was wrong.
    pub(crate) errors: Vec<String>,
}

/// Has all of them ask for as long as `duration`.
pub(crate) fn run(
    server: &Server,
    image: &Image,
    cold: &ColdImages,
    duration: Duration,
) -> Result<Seen> {
    let seen = Rc::new(RefCell::new(Seen::default()));
    let workloads: Rc<Vec<Workload>> = Rc::new(all(image));
    let (address, end) = (server.address(), Instant::now() + duration);
    let set = LocalSet::new();
    for number in 0..CONNECTIONS {
        let (seen, workloads) = (Rc::clone(&seen), Rc::clone(&workloads));
        set.spawn_local(async move {
            // Not all at once.
            tokio::time::sleep(PAUSE * u32::try_from(number).unwrap_or(0) / 500).await;
            if let Err(error) = warm(address, &workloads, number, end, &seen).await {
                seen.borrow_mut().errors.push(format!("connection {number}: {error}"));
            }
        });
    }
    let names: Vec<String> = cold.names().collect();
    let apart = duration * 9 / 10 / u32::try_from(names.len()).unwrap_or(1).max(1);
    for (number, name) in (0..).zip(names) {
        let seen = Rc::clone(&seen);
        set.spawn_local(async move {
            tokio::time::sleep(apart * number).await;
            if let Err(error) = build(address, &name, &seen).await {
                seen.borrow_mut().errors.push(format!("{name}: {error}"));
            }
        });
    }
    runtime()?.block_on(set);
    let mut seen = seen.take();
    seen.latencies.values_mut().for_each(|latencies| latencies.sort_unstable());
    Ok(seen)
}

/// Asks for what is there until `end`, on one connection.
async fn warm(
    address: SocketAddr,
    workloads: &[Workload],
    number: usize,
    end: Instant,
    seen: &RefCell<Seen>,
) -> Result<()> {
    let mut client = Client::connect(address, Shared::new()).await?;
    let mut turn = u32::try_from(number)? * 37;
    while Instant::now() < end {
        turn = turn.wrapping_add(61);
        let Some(workload) = chosen(workloads, turn % 100) else { return Ok(()) };
        let mut body = Vec::new();
        let keep = |bytes: &[u8]| body.extend_from_slice(bytes);
        let begin = Instant::now();
        let head = client.ask(&workload.request(), workload.method == "HEAD", keep).await?;
        let took = begin.elapsed();
        let expected = Head { status: workload.status, length: workload.size };
        let is_right =
            || workload.digest.as_ref().is_none_or(|d| Digest::of(&body).to_string() == *d);
        if head != expected || !is_right() {
            return Err(format!("{}: wrong content, or {head:?}", workload.name).into());
        }
        seen.borrow_mut().latencies.entry(workload.name).or_default().push(took);
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// What the request with this number, below 100, is for.
fn chosen(workloads: &[Workload], number: u32) -> Option<&Workload> {
    let mut left = number;
    for (name, share) in MIX {
        if left < share {
            return workloads.iter().find(|workload| workload.name == name);
        }
        left -= share;
    }
    None
}

/// Asks for an image that has to be made.
async fn build(address: SocketAddr, name: &str, seen: &RefCell<Seen>) -> Result<()> {
    let mut client = Client::connect(address, Shared::new()).await?;
    let unknown = Content { digest: String::new(), size: 0 };
    let ask = Workload::manifest("cold build", format!("/v2/{name}/manifests/latest"), &unknown);
    let begin = Instant::now();
    let mut body = Vec::new();
    let head = client.ask(&ask.request(), false, |bytes| body.extend_from_slice(bytes)).await?;
    let mut seen = seen.borrow_mut();
    match head.status {
        200 => seen.latencies.entry(ask.name).or_default().push(begin.elapsed()),
        429 => seen.refused += 1,
        status => return Err(format!("{status}: {}", String::from_utf8_lossy(&body)).into()),
    }
    Ok(())
}
