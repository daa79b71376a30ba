//! Frames of HTTP/2 as a test wants them (RFC 9113), so also such as no library sends.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::connect;
use crate::harness::Server;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RESET: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
pub(super) const ACK: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

pub(super) struct Speaker(pub(super) TcpStream);

impl Speaker {
    /// Connects, with settings of its own: identifier and value.
    pub(super) fn new(server: &Server, settings: &[(u16, u32)]) -> Self {
        let mut speaker = Self(connect(server));
        speaker.0.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        let setting =
            |(id, value): &(u16, u32)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
        let settings: Vec<u8> = settings.iter().flat_map(setting).collect();
        speaker.send(SETTINGS, 0, 0, &settings).unwrap();
        speaker
    }

    pub(super) fn send(
        &mut self,
        kind: u8,
        flags: u8,
        stream: u32,
        payload: &[u8],
    ) -> std::io::Result<()> {
        self.0.write_all(&frame(kind, flags, stream, payload))
    }

    /// Asks for a path.
    pub(super) fn get(&mut self, stream: u32, path: &str) -> std::io::Result<()> {
        self.send(HEADERS, END_STREAM | END_HEADERS, stream, &head(path))
    }

    /// The next frame; `None` if the server has hung up, or says nothing for ten seconds.
    pub(super) fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        self.0.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// The next frame of this kind. Pings are answered meanwhile.
    pub(super) fn wait(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.next()?;
            if frame.kind == PING && frame.flags & ACK == 0 {
                self.send(PING, ACK, 0, &frame.payload).ok()?;
            }
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }
}

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The head of a GET, by HPACK without compression (RFC 7541, 6.2.2 and appendix A).
pub(super) fn head(path: &str) -> Vec<u8> {
    // :method GET, :scheme http; then :path and :authority by the names' numbers.
    let mut head = vec![0x82, 0x86, 0x04];
    // Lengths from 127 on take more bytes (5.1).
    match path.len() {
        length @ 0..127 => head.push(u8::try_from(length).unwrap()),
        length => head.extend([127, u8::try_from(length - 127).unwrap()]),
    }
    head.extend(path.as_bytes());
    head.extend([0x01, 1, b'h']);
    head
}
