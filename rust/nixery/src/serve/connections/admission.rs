//! How many connections there may be, and what those are told that are too many.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::counters::{Full, connection};
use crate::places::{Place, Places};
use crate::serve::stream::{Lingering, Stream};

/// Clients that are told at a time that there are too many; others are just hung up on.
const TOLD: usize = 64;

/// Lets connections in.
pub(super) struct Admission {
    places: Places,
    told: Arc<Semaphore>,
}

impl Admission {
    pub(super) fn new(all: usize, each: usize) -> Self {
        let places = Places::new(all, each).counted(connection);
        Self { places, told: Arc::new(Semaphore::new(TOLD)) }
    }

    /// A place for a client, whose address is `None` where it may have any number of them.
    pub(super) fn enter(&self, address: Option<IpAddr>) -> Result<Place, Full> {
        self.places.enter(address)
    }

    /// A turn to tell a client why it has no place.
    pub(super) fn tell(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.told).try_acquire_owned().ok()
    }
}

/// Says why, whatever is asked, and hangs up.
pub(super) async fn refuse(stream: Stream, full: Full) {
    let (status, code, message) = match full {
        Full::Total => {
            ("503 Service Unavailable", "UNAVAILABLE", "the server has too many clients")
        }
        Full::Address => {
            ("429 Too Many Requests", "TOOMANYREQUESTS", "too many connections from your address")
        }
    };
    let body = format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#);
    say(stream, status, "application/json\r\nretry-after: 10", &body).await;
}

/// Says that this port speaks TLS only.
pub(super) async fn ask_for_tls(stream: Stream) {
    say(stream, "400 Bad Request", "text/plain", "This server speaks TLS: use https://\n").await;
}

/// Answers before anything is asked. Who doesn't take that is not waited for.
async fn say(stream: Stream, status: &str, kind: &str, body: &str) {
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    );
    let mut stream = Lingering::waiting(stream);
    // Fits into any socket's buffer, so this does not wait.
    if stream.write_all(answer.as_bytes()).await.is_ok() {
        let _ = stream.shutdown().await;
    }
}
