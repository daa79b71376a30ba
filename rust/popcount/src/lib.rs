//! Counts for each package of a channel how many others refer to it: the popularity
//! table that Nixery groups store paths into layers by.
//!
//! `main` puts the parts together: a list of store paths ([`channel`], [`list`]), what a
//! binary cache ([`cache`], [`http`], [`retry`], [`narinfo`]) or the Nix of this machine
//! ([`nix`]) knows of them, what is known from before ([`state`]), and the table
//! ([`count`], [`output`]).

pub mod arguments;
pub mod cache;
pub mod channel;
pub mod count;
pub mod error_chain;
#[cfg(test)]
#[path = "../../nixery/tests/support/fuzz.rs"]
mod fuzz;
pub mod http;
pub mod list;
pub mod narinfo;
pub mod nix;
pub mod output;
pub mod progress;
pub mod retry;
pub mod state;
pub mod store_path;
