//! The pictures in the book are those that the program draws.

use std::process::Command;

use crate::harness::{repository, run};

/// With versions of packages that may be older than the offline set's: the graphs are
/// kept beside the pictures.
#[test]
fn the_book_has_the_pictures_that_the_program_draws() {
    run(Command::new(repository().join("checks/pictures.sh"))
        .arg("--check")
        .env("NIXERY", env!("CARGO_BIN_EXE_nixery")));
}
