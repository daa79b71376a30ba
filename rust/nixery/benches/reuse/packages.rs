//! The package set, as a git repository.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;

/// Makes a repository below `scratch` of the package set that `NIXERY_BENCH_SET` names,
/// or else of the offline one, which is prepared if need be; and has Nix build all
/// `packages` of it.
pub(crate) fn repository(scratch: &Path, packages: &[&str]) -> Result<PathBuf> {
    let set = match std::env::var_os("NIXERY_BENCH_SET") {
        Some(set) => PathBuf::from(set),
        None => offline_set()?,
    };
    let repository = scratch.join("repository");
    fs::create_dir(&repository)?;
    for entry in fs::read_dir(&set)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), repository.join(entry.file_name()))?;
        }
    }
    let git = |arguments: &[&str]| {
        let settings = ["-c", "user.name=Bench", "-c", "user.email=bench@example.org"];
        run(Command::new("git").arg("-C").arg(&repository).args(settings).args(arguments))
    };
    git(&["init", "-q"])?;
    git(&["add", "."])?;
    git(&["commit", "-q", "-m", "the package set"])?;
    eprintln!("having Nix build the packages");
    let names = packages.iter().flat_map(|name| ["-A", name]);
    run(Command::new("nix-build").arg("--no-out-link").arg(&repository).args(names))?;
    Ok(repository)
}

fn offline_set() -> Result<PathBuf> {
    let set = Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian-packages");
    let prepare = Path::new(env!("CARGO_MANIFEST_DIR"));
    let prepare = prepare.join("../../checks/debian-packages/prepare.sh");
    run(Command::new(prepare).arg(&set))?;
    Ok(set)
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?}: {}: {said}", output.status).into())
}
