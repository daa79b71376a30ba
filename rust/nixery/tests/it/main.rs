//! Tests of the real server with the real builder, real Nix and real packages.
//!
//! They need Nix, and what `checks/debian-packages/prepare.sh` needs; see
//! CONTRIBUTING.md. Nothing is skipped where that is missing: the tests fail.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on fails")]

mod architecture;
mod book;
mod bucket;
mod builds;
mod catalogue;
mod concurrency;
mod crashes;
mod failures;
mod gc;
mod harness;
mod images;
mod metrics;
mod protocol;
mod reproducible;
mod sharing;
mod soak;
mod sources;
mod storage;
mod systemd;
mod tags;
