//! An HTTP/1.1 proxy before a server on loopback, which injects faults. Each connection is for
//! one request, and a server that answers while it still reads a large body isn't catered for.
//!
//! A reset is a TCP RST. The standard library can't set `SO_LINGER`, but Linux also resets what
//! is closed with received bytes unread: the last byte from the client always is (`Incoming`).

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

#[path = "fault_proxy/exchange.rs"]
mod exchange;

use exchange::Head;

/// How long to wait for a peer to hang up, or to send `100 Continue`.
const PATIENCE: Duration = Duration::from_millis(500);

/// What goes wrong. Bytes are those of the body as sent, with the framing of chunks.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Resets the connection after the request's head; the server sees nothing.
    Refuse,
    /// Resets both connections once the server has the head and so much of the body. It asks
    /// for `100 Continue` to have something unread: who doesn't send that sees an end instead.
    ResetInRequest(usize),
    /// Answers with this status and body; the server sees nothing.
    Status(u16, &'static str),
    /// Lets the server answer, and resets instead of passing that on.
    LostReply,
    /// Resets after the answer's head and so much of its body, at the latest after all of it.
    ResetInReply(usize),
    /// Like `ResetInReply`, but closes in good order.
    CutReply(usize),
    /// Pauses after each so many bytes of the answer's body.
    SlowReply { bytes: usize, pause: Duration },
    /// Does nothing for so long and then resets; the server sees nothing.
    Stall(Duration),
    /// Flips a bit in the middle of the answer's body, or in its first byte if it is chunked.
    CorruptReply,
}

/// Which requests get a fault: the next one, unless told otherwise.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    method: Option<&'static str>,
    path: String,
    skip: usize,
    times: usize,
    fault: Fault,
}

impl Rule {
    pub(crate) fn new(fault: Fault) -> Self {
        Self { method: None, path: String::new(), skip: 0, times: 1, fault }
    }

    pub(crate) fn method(self, method: &'static str) -> Self {
        Self { method: Some(method), ..self }
    }

    /// Only requests with this somewhere in the path and query.
    pub(crate) fn path(self, part: impl Into<String>) -> Self {
        Self { path: part.into(), ..self }
    }

    /// Leaves so many requests alone first (or to later rules).
    pub(crate) fn skip(self, skip: usize) -> Self {
        Self { skip, ..self }
    }

    /// `usize::MAX` is for ever.
    pub(crate) fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }

    fn matches(&self, method: &str, path: &str) -> bool {
        self.times > 0
            && self.method.is_none_or(|wanted| wanted == method)
            && path.contains(&self.path)
    }
}

/// A running proxy; it ends when dropped, with all its connections.
pub(crate) struct FaultProxy {
    shared: Arc<Shared>,
    address: SocketAddr,
    door: Mutex<Door>,
}

struct Door {
    thread: Option<JoinHandle<(TcpListener, TcpStream)>>,
    /// While closed, a connection to the port, so that the kernel gives it to nobody else.
    kept: Vec<TcpStream>,
}

impl FaultProxy {
    pub(crate) fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (state, ended) = (Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { target, state, ended });
        let door = Door { thread: Some(shared.accept(listener)), kept: Vec::new() };
        Self { shared, address, door: Mutex::new(door) }
    }

    /// Its URL, without a slash at the end.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Of several rules that match, the first that isn't used up applies.
    pub(crate) fn add(&self, rule: Rule) {
        self.shared.state().rules.push(rule);
    }

    /// Removes all rules. Faults that have begun go on.
    pub(crate) fn clear(&self) {
        self.shared.state().rules.clear();
    }

    /// How many requests got a fault since the start.
    pub(crate) fn injected(&self) -> usize {
        self.shared.state().injected
    }

    /// Every request since the start: the method, a space, and the path with the query.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.shared.state().seen.clone()
    }

    /// From now on connecting is refused. Requests under way go on.
    pub(crate) fn close(&self) {
        let mut door = lock(&self.door);
        let Some(thread) = door.thread.take() else { return };
        self.shared.state().closing = true;
        // Wakes the thread, and then keeps the port.
        let ours = TcpStream::connect(self.address).unwrap();
        let (listener, mut theirs) = thread.join().unwrap();
        // Who came before is still served.
        while theirs.peer_addr().ok() != ours.local_addr().ok() {
            self.shared.serve(theirs);
            theirs = listener.accept().unwrap().0;
        }
        door.kept = vec![ours, theirs];
    }

    /// Listens again, on the same port.
    pub(crate) fn reopen(&self) {
        let mut door = lock(&self.door);
        if door.thread.is_none() {
            let listener = TcpListener::bind(self.address).unwrap();
            self.shared.state().closing = false;
            door.thread = Some(self.shared.accept(listener));
            door.kept.clear();
        }
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.close();
        let mut state = self.shared.state();
        state.ended = true;
        for stream in state.streams.iter().filter_map(Weak::upgrade) {
            // Fails if the peer was faster.
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.shared.ended.notify_all();
    }
}

struct Shared {
    target: SocketAddr,
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    injected: usize,
    seen: Vec<String>,
    /// What is open. A connection is closed only with its last clone, so these aren't clones.
    streams: Vec<Weak<TcpStream>>,
    closing: bool,
    ended: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Serves until `closing`, and then returns the connection that came next.
    fn accept(self: &Arc<Self>, listener: TcpListener) -> JoinHandle<(TcpListener, TcpStream)> {
        let shared = Arc::clone(self);
        thread::spawn(move || {
            loop {
                let Ok((client, _)) = listener.accept() else { continue };
                if shared.state().closing {
                    return (listener, client);
                }
                shared.serve(client);
            }
        })
    }

    fn serve(self: &Arc<Self>, client: TcpStream) {
        let shared = Arc::clone(self);
        let Ok(client) = self.register(client) else { return };
        thread::spawn(move || {
            if shared.exchange(&client).is_ok() {
                // Whatever stayed unread would make it a reset.
                let _ = client.shutdown(Shutdown::Write);
                let _ = client.set_read_timeout(Some(PATIENCE));
                let _ = io::copy(&mut &*client, &mut io::sink());
            }
        });
    }

    /// Lets `drop` end a connection.
    fn register(&self, stream: TcpStream) -> io::Result<Arc<TcpStream>> {
        stream.set_nodelay(true)?;
        let mut state = self.state();
        if state.ended {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        let stream = Arc::new(stream);
        state.streams.retain(|other| other.strong_count() > 0);
        state.streams.push(Arc::downgrade(&stream));
        Ok(stream)
    }

    /// Sleeps, but not beyond the end of the proxy.
    fn pause(&self, time: Duration) {
        drop(self.ended.wait_timeout_while(self.state(), time, |state| !state.ended));
    }

    /// Notes a request down, and picks its fault.
    fn fault_for(&self, request: &Head) -> Option<Fault> {
        let (method, path) = (request.word(0), request.word(1));
        let state = &mut *self.state();
        state.seen.push(format!("{method} {path}"));
        for rule in state.rules.iter_mut().filter(|rule| rule.matches(&method, &path)) {
            if rule.skip > 0 {
                rule.skip -= 1;
                continue;
            }
            if rule.times != usize::MAX {
                rule.times -= 1;
            }
            state.injected += 1;
            return Some(rule.fault.clone());
        }
        None
    }
}

/// A test that failed elsewhere is no reason to fail in `drop`, too.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
