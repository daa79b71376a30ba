//! A server of files that can be told to misbehave.

use std::collections::HashMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What is done about a request.
#[derive(Clone)]
pub(crate) enum Reply {
    /// The file that is asked for, or 404.
    File,
    /// The same, but not before so long.
    Late(Duration),
    /// This instead.
    Content(Vec<u8>),
    /// This status, with `Retry-After` where there is a number.
    Status(u16, Option<u64>),
    /// The file, but only half of it.
    Half,
    /// The connection is closed.
    Nothing,
    /// Nothing happens, for ever.
    Hold,
}

/// Serves on loopback until the process ends.
pub(crate) struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<HashMap<String, usize>>>,
}

impl Server {
    /// Serves the files below `root`. `reply` decides by the path and by how often it has
    /// been asked for before.
    pub(crate) fn start(
        root: impl Into<PathBuf>,
        reply: impl Fn(&str, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let root = root.into();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::<Mutex<HashMap<String, usize>>>::default();
        let (shared, reply) = (Arc::clone(&asked), Arc::new(reply));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (root, asked, reply) = (root.clone(), Arc::clone(&shared), Arc::clone(&reply));
                thread::spawn(move || {
                    let Some(path) = request(&stream) else { return };
                    let before = {
                        let mut asked = asked.lock().unwrap();
                        let count = asked.entry(path.clone()).or_default();
                        *count += 1;
                        *count - 1
                    };
                    let file = fs::read(root.join(&path[1..])).ok();
                    // The client may be gone.
                    let _ = respond(&stream, reply(&path, before), file);
                });
            }
        });
        Self { address, asked }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Forgets what was asked.
    pub(crate) fn forget(&self) {
        self.asked.lock().unwrap().clear();
    }

    /// How often each path was asked for.
    pub(crate) fn asked(&self) -> HashMap<String, usize> {
        self.asked.lock().unwrap().clone()
    }
}

/// The path that is asked for.
fn request(stream: &TcpStream) -> Option<String> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let first = lines.next()?;
    lines.find(String::is_empty)?;
    Some(first.split(' ').nth(1)?.to_owned())
}

fn respond(mut stream: &TcpStream, reply: Reply, file: Option<Vec<u8>>) -> io::Result<()> {
    let (status, more, content) = match (reply, file) {
        (Reply::Nothing, _) => return Ok(()),
        (Reply::Hold, _) => loop {
            thread::sleep(Duration::from_mins(1));
        },
        (Reply::Late(pause), file) => {
            thread::sleep(pause);
            return respond(stream, Reply::File, file);
        }
        (Reply::Half, Some(content)) => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", content.len())?;
            return stream.write_all(&content[..content.len() / 2]);
        }
        (Reply::File, Some(content)) | (Reply::Content(content), _) => (200, None, content),
        (Reply::File | Reply::Half, None) => (404, None, Vec::new()),
        (Reply::Status(status, retry_after), _) => (status, retry_after, b"no".to_vec()),
    };
    write!(
        stream,
        "HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: {}\r\n",
        content.len()
    )?;
    if let Some(seconds) = more {
        write!(stream, "Retry-After: {seconds}\r\n")?;
    }
    stream.write_all(b"\r\n")?;
    stream.write_all(&content)
}
