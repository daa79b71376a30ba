//! What the tests share: packages, a server, a client.

mod client;
mod packages;
mod server;

pub(crate) use client::{Response, digest_of, get, head, request, run};
pub(crate) use packages::{Source, debian, fixtures, git, nix_config};
pub(crate) use server::{Server, Setup};
