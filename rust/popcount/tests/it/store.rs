//! Real packages, a binary cache of them, and what Nix itself knows of who refers to what.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const PACKAGES: [&str; 4] = ["bashInteractive", "coreutils", "git", "jq"];

/// Some packages and all that they need.
pub(crate) struct Store {
    /// The packages' store paths.
    pub(crate) packages: Vec<String>,
    /// The closure, in no order that means something.
    pub(crate) closure: Vec<String>,
    /// A directory that is a binary cache of the closure.
    pub(crate) cache: PathBuf,
}

/// Made once.
pub(crate) fn store() -> &'static Store {
    static STORE: OnceLock<Store> = OnceLock::new();
    STORE.get_or_init(|| {
        let set = package_set();
        let mut build = nix("nix-build");
        build.arg("--no-out-link").arg(set);
        let packages = lines(build.args(PACKAGES.iter().flat_map(|name| ["-A", name])));
        let closure = lines(nix("nix-store").arg("-qR").args(&packages));
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("popcount-cache");
        let url = format!("file://{}?compression=none", cache.display());
        let mut copy = nix("nix");
        copy.args(["--extra-experimental-features", "nix-command", "copy", "--to", &url]);
        lines(copy.args(&packages));
        Store { packages, closure, cache }
    })
}

/// The offline package set: prepared where `NIXERY_TEST_PACKAGES` doesn't name one that is.
fn package_set() -> PathBuf {
    env::var_os("NIXERY_TEST_PACKAGES").map_or_else(
        || {
            let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian-packages");
            let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
            let script = repository.join("checks/debian-packages/prepare.sh");
            lines(Command::new(script).arg(&directory));
            directory
        },
        PathBuf::from,
    )
}

/// A Nix program, without a network or users to build as unless the caller has set it up.
fn nix(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("NIX_CONFIG", nix_config()).env("NIX_PATH", "");
    command
}

pub(crate) fn nix_config() -> String {
    env::var("NIX_CONFIG")
        .unwrap_or_else(|_| "sandbox = false\nsubstituters =\nbuild-users-group =\n".to_owned())
}

fn lines(command: &mut Command) -> Vec<String> {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {errors}", output.status);
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// What the table has to be where only the store paths `referrers` are looked at: reckoned
/// from the other end than the program does, and with package names as Nix splits them.
pub(crate) fn expected(referrers: &[String]) -> BTreeMap<String, u64> {
    let closure = &store().closure;
    let packages = package_names(closure);
    let mut who: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for path in closure {
        for referrer in lines(nix("nix-store").args(["-q", "--referrers", path])) {
            if referrers.contains(&referrer) && packages[&referrer] != packages[path] {
                for key in [name(path), &packages[path]] {
                    who.entry(key).or_default().insert(referrer.clone());
                }
            }
        }
    }
    who.into_iter().map(|(key, who)| (key.to_owned(), who.len() as u64)).collect()
}

fn package_names(paths: &[String]) -> HashMap<String, String> {
    let names = serde_json::to_string(&paths.iter().map(|path| name(path)).collect::<Vec<_>>());
    let expression = format!(
        "map (name: (builtins.parseDrvName name).name) (builtins.fromJSON {:?})",
        names.unwrap()
    );
    let mut evaluate = nix("nix-instantiate");
    evaluate.args(["--eval", "--strict", "--json", "-E", &expression]);
    let packages: Vec<String> = serde_json::from_str(&lines(&mut evaluate).concat()).unwrap();
    paths.iter().cloned().zip(packages).collect()
}

/// The name in a store path, with version.
fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap().split_once('-').unwrap().1
}

/// What a cache calls a store path.
pub(crate) fn narinfo(path: &str) -> String {
    format!("/{}.narinfo", &path.rsplit('/').next().unwrap()[..32])
}
