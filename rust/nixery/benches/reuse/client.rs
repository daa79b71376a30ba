//! Asking for an image, and what came of it.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::server::Server;
use crate::Result;

/// An image that was made.
pub(crate) struct Made {
    /// From the request to the whole manifest.
    pub(crate) took: Duration,
    /// Of that, until all was known of the packages: Nix' part, if there was one.
    pub(crate) preparing: Duration,
    /// The server's own CPU time, in steps of 10 ms.
    pub(crate) cpu: Duration,
    pub(crate) manifest: Vec<u8>,
    /// The digests of its layers, and their sizes in bytes.
    pub(crate) layers: BTreeSet<(String, u64)>,
    pub(crate) store_paths: u64,
}

/// A server, and what it logs.
pub(crate) struct Watched {
    server: Server,
    log: Receiver<Value>,
}

impl Watched {
    /// Starts a server.
    pub(crate) fn start(scratch: &Path, settings: &str) -> Result<Self> {
        let (sender, log) = channel();
        let heard = move |event| {
            // Nobody listens any more when the bench ends.
            let _ = sender.send(event);
        };
        Ok(Self { server: Server::start(scratch, settings, heard)?, log })
    }

    /// The most memory that it had, in KiB.
    pub(crate) fn peak_memory(&self) -> Result<u64> {
        self.server.peak_memory()
    }

    /// The next event that says this.
    fn event(&self, message: &str) -> Result<Value> {
        loop {
            let event = self.log.recv_timeout(Duration::from_mins(1))?;
            if event["message"] == message {
                return Ok(event);
            }
        }
    }
}

/// Asks for an image that has to be made.
pub(crate) fn make(watched: &Watched, image: &str) -> Result<Made> {
    let server = &watched.server;
    let cpu = server.cpu()?;
    let begin = Instant::now();
    let manifest = get(server.address(), &format!("/v2/{image}/manifests/latest"))?;
    let took = begin.elapsed();
    let (packing, made) = (watched.event("packing")?, watched.event("made")?);
    let cpu = server.cpu()?.saturating_sub(cpu);
    let number = |event: &Value, field: &str| event[field].as_u64().unwrap_or_default();
    let document: Value = serde_json::from_slice(&manifest)?;
    let layers = document["layers"].as_array().ok_or("a manifest without layers")?;
    let layer = |layer: &Value| {
        (layer["digest"].as_str().unwrap_or_default().to_owned(), number(layer, "size"))
    };
    Ok(Made {
        took,
        cpu,
        preparing: Duration::from_millis(number(&made, "prepare_ms")),
        layers: layers.iter().map(layer).collect(),
        store_paths: number(&packing, "store_paths"),
        manifest,
    })
}

fn get(address: SocketAddr, path: &str) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|part| part == b"\r\n\r\n").ok_or("no headers")?;
    if !answer.starts_with(b"HTTP/1.1 200") {
        return Err(String::from_utf8_lossy(&answer).into());
    }
    Ok(answer.split_off(end + 4))
}
