//! Tests of the real server with the real builder, real Nix and real packages.
//!
//! They need Nix, and what `checks/debian-packages/prepare.sh` needs; see
//! CONTRIBUTING.md. Nothing is skipped where that is missing: the tests fail.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on fails")]

mod access;
mod api;
mod architecture;
mod book;
mod bucket;
mod builds;
mod catalogue;
mod concurrency;
mod conformance;
mod crashes;
mod disk;
mod errors_page;
mod failures;
mod gc;
mod harness;
mod hostile;
mod images;
mod isolation;
mod limits;
mod login;
mod metrics;
mod oddities;
mod package_sets;
mod pictures;
mod protocol;
mod reproducible;
mod settings_page;
mod sharing;
mod shutdown;
mod soak;
mod sources;
mod storage;
mod systemd;
mod tags;
mod transport;
