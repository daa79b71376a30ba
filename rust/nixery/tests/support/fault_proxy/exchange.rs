//! One request and its answer, and how HTTP/1.1 frames them.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use super::{Fault, PATIENCE, Shared};

/// The most bytes that are read at once.
const PIECE: usize = 64 * 1024;
/// A reset throws away what the kernel hasn't delivered yet, so it waits this long before one.
const FLUSH: Duration = Duration::from_millis(50);

impl Shared {
    /// Serves one request. After an error the client's connection is to be reset.
    pub(super) fn exchange(&self, client: &Arc<TcpStream>) -> io::Result<()> {
        let incoming = Incoming { stream: Arc::clone(client), held: false };
        let mut from_client = BufReader::with_capacity(PIECE, incoming);
        let request = Head::read(&mut from_client)?;
        let fault = self.fault_for(&request);
        if let Some(Fault::Stall(time)) = fault {
            self.pause(time);
        }
        if let Some(Fault::Refuse | Fault::Stall(_)) = fault {
            return reset();
        }
        let body = request.body().unwrap_or(Body::Bytes(0));
        if request.field("expect").is_some() {
            send(client, b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let own = match fault {
            Some(Fault::Status(status, text)) => Some((status, text)),
            _ => None,
        };
        if let Some((status, text)) = own {
            body.read(&mut from_client, |_, _| Ok(()))?;
            let text = if request.word(0) == "HEAD" { "" } else { text };
            let head = format!("HTTP/1.1 {status} Injected\r\nContent-Length: {}", text.len());
            let all = format!("{head}\r\nConnection: close\r\n\r\n{text}");
            return send(client, all.as_bytes());
        }

        let target = self.register(TcpStream::connect(self.target)?)?;
        if let Some(Fault::ResetInRequest(mut left)) = fault {
            send(&target, &request.with("Expect: 100-continue\r\n"))?;
            // Ends with an error when that many were sent.
            let _ = body.read(&mut from_client, |piece, _| send_first(&target, piece, &mut left));
            self.pause(FLUSH);
            target.set_read_timeout(Some(PATIENCE))?;
            let _ = target.peek(&mut [0]);
            return reset();
        }
        send(&target, &request.with(""))?;
        let mut refused = false;
        body.read(&mut from_client, |piece, _| {
            // A server may answer without having read all.
            refused = refused || send(&target, piece).is_err();
            Ok(())
        })?;
        self.reply(client, &target, &request, fault.as_ref())
    }

    /// Passes the server's answer on.
    fn reply(
        &self,
        client: &TcpStream,
        target: &TcpStream,
        request: &Head,
        fault: Option<&Fault>,
    ) -> io::Result<()> {
        let mut from_target = BufReader::with_capacity(PIECE, target);
        let mut head = Head::read(&mut from_target)?;
        while head.word(1).starts_with('1') {
            head = Head::read(&mut from_target)?;
        }
        let empty = request.word(0) == "HEAD" || ["204", "304"].contains(&&*head.word(1));
        let body = if empty { Body::Bytes(0) } else { head.body().unwrap_or(Body::UntilEnd) };
        if let Some(Fault::LostReply) = fault {
            body.read(&mut from_target, |_, _| Ok(()))?;
            return reset();
        }
        send(client, &head.with(""))?;
        match fault {
            Some(&Fault::ResetInReply(mut left)) => {
                let _ =
                    body.read(&mut from_target, |piece, _| send_first(client, piece, &mut left));
                self.pause(FLUSH);
                reset()
            }
            Some(&Fault::CutReply(mut left)) => {
                let _ =
                    body.read(&mut from_target, |piece, _| send_first(client, piece, &mut left));
                Ok(())
            }
            Some(&Fault::SlowReply { bytes, pause }) => {
                let mut left = bytes.max(1);
                body.read(&mut from_target, |mut piece, _| {
                    while let Some((now, later)) = piece.split_at_checked(left) {
                        send(client, now)?;
                        self.pause(pause);
                        (piece, left) = (later, bytes.max(1));
                    }
                    left -= piece.len();
                    send(client, piece)
                })
            }
            Some(Fault::CorruptReply) => {
                let mut left = if let Body::Bytes(length) = body { length / 2 } else { 0 };
                let mut done = false;
                body.read(&mut from_target, |piece, content| {
                    if done || !content {
                        return send(client, piece);
                    }
                    let mut piece = piece.to_vec();
                    if let Some(byte) = piece.get_mut(left) {
                        *byte ^= 1;
                        done = true;
                    } else {
                        left -= piece.len();
                    }
                    send(client, &piece)
                })
            }
            _ => body.read(&mut from_target, |piece, _| send(client, piece)),
        }
    }
}

/// What a client sends. The last byte of it that was given out is still unread for the kernel.
struct Incoming {
    stream: Arc<TcpStream>,
    held: bool,
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.held {
            (&*self.stream).read_exact(&mut [0])?;
            self.held = false;
        }
        let count = self.stream.peek(buffer)?;
        if let Some(most) = count.checked_sub(1) {
            (&*self.stream).read_exact(&mut buffer[..most])?;
            self.held = true;
        }
        Ok(count)
    }
}

/// The lines of a request's or an answer's head, without the empty one.
pub(super) struct Head(Vec<Vec<u8>>);

impl Head {
    fn read(from: &mut impl BufRead) -> io::Result<Self> {
        let mut lines = Vec::new();
        loop {
            let line = read_line(from)?;
            if line.trim_ascii().is_empty() {
                return Ok(Self(lines));
            }
            lines.push(line);
        }
    }

    /// A word of the first line.
    pub(super) fn word(&self, index: usize) -> String {
        let line = self.0.first().map(|line| String::from_utf8_lossy(line)).unwrap_or_default();
        line.split_whitespace().nth(index).unwrap_or_default().to_owned()
    }

    fn field(&self, name: &str) -> Option<String> {
        let line = self.0.iter().skip(1).find(|line| is_field(line, name))?;
        Some(String::from_utf8_lossy(&line[name.len() + 1..]).trim().to_ascii_lowercase())
    }

    /// How long the body is, if the head says so.
    fn body(&self) -> Option<Body> {
        if self.field("transfer-encoding").is_some_and(|value| value.ends_with("chunked")) {
            return Some(Body::Chunked);
        }
        self.field("content-length")?.parse().ok().map(Body::Bytes)
    }

    /// The head to pass on: the connection is for this request only.
    fn with(&self, more: &str) -> Vec<u8> {
        let ours = ["connection", "keep-alive", "expect"];
        let theirs = self.0.iter().filter(|line| !ours.iter().any(|name| is_field(line, name)));
        let mut bytes: Vec<u8> = theirs.flatten().copied().collect();
        bytes.extend_from_slice(format!("Connection: close\r\n{more}\r\n").as_bytes());
        bytes
    }
}

fn is_field(line: &[u8], name: &str) -> bool {
    line.split_at_checked(name.len()).is_some_and(|(start, rest)| {
        start.eq_ignore_ascii_case(name.as_bytes()) && rest.starts_with(b":")
    })
}

/// How the end of a body is found.
#[derive(Clone, Copy)]
enum Body {
    Bytes(usize),
    Chunked,
    UntilEnd,
}

impl Body {
    /// Gives it out as it comes, and whether each piece is content and not the framing of chunks.
    fn read(
        self,
        from: &mut impl BufRead,
        mut give: impl FnMut(&[u8], bool) -> io::Result<()>,
    ) -> io::Result<()> {
        match self {
            Self::Bytes(length) => read_bytes(from, length, &mut give),
            Self::UntilEnd => read_bytes(from, usize::MAX, &mut give).or_else(|error| {
                if error.kind() == ErrorKind::UnexpectedEof { Ok(()) } else { Err(error) }
            }),
            Self::Chunked => loop {
                let line = read_line(from)?;
                let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
                let digits = String::from_utf8_lossy(digits);
                let length = usize::from_str_radix(digits.trim(), 16)
                    .map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
                give(&line, false)?;
                read_bytes(from, length, &mut give)?;
                // The end of the chunk, or that of all.
                give(&read_line(from)?, false)?;
                if length == 0 {
                    return Ok(());
                }
            },
        }
    }
}

fn read_bytes(
    from: &mut impl BufRead,
    mut left: usize,
    give: &mut impl FnMut(&[u8], bool) -> io::Result<()>,
) -> io::Result<()> {
    while left > 0 {
        let bytes = from.fill_buf()?;
        let count = bytes.len().min(left);
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        give(&bytes[..count], true)?;
        from.consume(count);
        left -= count;
    }
    Ok(())
}

fn read_line(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    from.read_until(b'\n', &mut line)?;
    if line.last() == Some(&b'\n') { Ok(line) } else { Err(ErrorKind::UnexpectedEof.into()) }
}

fn send(mut to: &TcpStream, bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes)
}

/// Sends so many bytes of several pieces, and fails as soon as these were sent.
fn send_first(to: &TcpStream, piece: &[u8], left: &mut usize) -> io::Result<()> {
    let count = piece.len().min(*left);
    send(to, &piece[..count])?;
    *left -= count;
    if *left == 0 { reset() } else { Ok(()) }
}

fn reset() -> io::Result<()> {
    Err(ErrorKind::ConnectionReset.into())
}
