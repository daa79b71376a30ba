//! Tests of the real program against a binary cache that Nix has made of real packages.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on fails")]

mod counts;
mod failures;
mod program;
mod resuming;
mod server;
mod store;
