//! A package set that moves: a git repository, with commits now and then.

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use super::{Random, at_length};
use crate::harness::{Repository, Source, debian};

/// What image names are made of in every run. `moving` is another with each commit.
const SMALL: [&str; 7] = ["one", "two", "three", "four", "five", "moving", "beside"];

/// And in long ones.
const REAL: [&str; 6] = ["jq", "htop", "nano", "git", "coreutils", "bashinteractive"];

/// The repository, and the commits that it has had.
pub(super) struct Moving {
    repository: Repository,
    commits: Mutex<Vec<String>>,
    real: bool,
}

impl Moving {
    pub(super) fn new() -> Self {
        let real = at_length();
        let moving =
            Self { repository: Repository::of_fixtures(), commits: Mutex::default(), real };
        let fixtures = moving.repository.path().join("default.nix");
        fs::rename(fixtures, moving.repository.path().join("fixtures.nix")).unwrap();
        if real {
            let Source::Path(set) = debian() else { unreachable!("it is a directory") };
            copy_set(&set, &moving.repository.path().join("debian"));
        }
        moving.commit();
        moving
    }

    pub(super) fn source(&self) -> Source {
        self.repository.source()
    }

    /// Moves the branch on.
    pub(super) fn commit(&self) {
        let mut commits = self.commits.lock().unwrap();
        let number = commits.len();
        let debian = if self.real { "import ./debian { inherit system; }" } else { "{ }" };
        let package = |name: &str, version: usize, needs: &str| {
            format!(
                "{name} = derivation {{ name = \"{name}-{version}\"; system = \
                 builtins.currentSystem; builder = \"/bin/sh\"; PATH = \"/usr/bin:/bin\"; args = \
                 [ \"-c\" \"mkdir -p $out/bin; seq {version} 90000 > $out/bin/{name}; echo \
                 {needs} >> $out/bin/{name}\" ]; }} // {{ type = \"derivation\"; }};"
            )
        };
        // A store of its own for each run would have to be filled first; so what moves has
        // other content in each process.
        let version = usize::try_from(std::process::id()).unwrap() * 1000 % 80_000 + number;
        let content = format!(
            "{{ system ? builtins.currentSystem, ... }}: let fixtures = import ./fixtures.nix {{ }}; \
             moving = rec {{ {} {} }}; in {debian} // fixtures // moving",
            package("moving", version, ""),
            package("beside", version / 5, "${fixtures.one}"),
        );
        commits.push(self.repository.commit(&content));
    }

    pub(super) fn commits(&self) -> usize {
        self.commits.lock().unwrap().len()
    }

    /// A tag: mostly one that moves, otherwise a commit of the last few.
    pub(super) fn tag(&self, random: &mut Random) -> String {
        match random.below(4) {
            0 | 1 => "latest".to_owned(),
            2 => "trunk".to_owned(),
            _ => {
                let commits = self.commits.lock().unwrap();
                random.of(&commits[commits.len().saturating_sub(3)..]).clone()
            }
        }
    }

    /// The name of an image of one to three packages.
    pub(super) fn image(&self, random: &mut Random) -> String {
        if random.below(20) == 0 {
            return "large".to_owned();
        }
        let mut all = SMALL.to_vec();
        if self.real {
            all.extend(REAL);
        }
        let mut packages: Vec<&str> = (0..=random.below(3)).map(|_| *random.of(&all)).collect();
        packages.sort_unstable();
        packages.dedup();
        if self.real && random.below(4) == 0 {
            packages.insert(0, "shell");
        }
        packages.join("/")
    }
}

/// The files of the offline set that Nix reads; the packages stay where they are.
fn copy_set(set: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(set).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
}
