//! What was fetched, kept for the next run.
//!
//! One file for each cache, which only grows: a line for each store path, with its base
//! name and those of what it refers to, separated by spaces. A line is written at once and
//! counts when it is whole, so a run may be killed at any time.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::str;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;
use thiserror::Error;

use crate::http::shown;
use crate::narinfo::{self, Narinfo};
use crate::store_path::BaseName;

/// Name of the file. Who changes what is in it changes the number.
const FILE: &str = "references-1";

/// What stays as it is in the name of a cache's directory.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'-');

/// The records of one cache, for this process alone.
#[derive(Debug)]
pub struct State {
    file: File,
    path: PathBuf,
}

/// Why there is no state.
#[derive(Debug, Error)]
pub enum StateError {
    /// Nobody says where it is.
    #[error("there is neither XDG_CACHE_HOME nor HOME; --state names the directory of the state")]
    NoDirectory,
    /// Two runs would ask for the same.
    #[error("another run uses {path}; wait for it, or take another directory by --state")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It can't be read or written.
    #[error("can't {action} {path}; --state names the directory of the state")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The directory of a cache's state below `base`. Different caches have different ones.
pub fn directory(base: &Path, cache: &Url) -> PathBuf {
    base.join(utf8_percent_encode(&shown(cache).to_string(), KEPT).to_string())
}

/// Where state is unless `--state` says otherwise, given the two variables.
/// Source: XDG Base Directory Specification.
pub fn default_base(xdg_cache_home: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    let absolute = |path: &PathBuf| path.is_absolute();
    let cache = xdg_cache_home.filter(absolute);
    let cache = cache.or_else(|| Some(home.filter(absolute)?.join(".cache")))?;
    Some(cache.join("nixery-popcount"))
}

impl State {
    /// Opens, or begins, the state in `directory`, and calls `record` for all that is in it.
    ///
    /// A line that is damaged is as good as none.
    pub fn open(directory: &Path, record: impl FnMut(Narinfo)) -> Result<Self, StateError> {
        let io = |action, path: &Path| {
            let path = path.to_owned();
            move |source| StateError::Io { action, path, source }
        };
        fs::create_dir_all(directory).map_err(io("make", directory))?;
        let path = directory.join(FILE);
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).open(&path);
        let file = file.map_err(io("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StateError::InUse { path }),
            Err(TryLockError::Error(source)) => return Err(io("lock", &path)(source)),
        }
        let end = read(&mut BufReader::new(&file), record).map_err(io("read", &path))?;
        // A line that was begun would take the next one with it.
        file.set_len(end).map_err(io("write", &path))?;
        Ok(Self { file, path })
    }

    /// Adds a record. It is there for the next run as soon as this returns.
    pub fn append(&mut self, narinfo: &Narinfo) -> Result<(), StateError> {
        let mut line = narinfo.path.as_str().to_owned();
        for reference in &narinfo.references {
            line.push(' ');
            line.push_str(reference.as_str());
        }
        line.push('\n');
        let written = self.file.write_all(line.as_bytes());
        written.map_err(|source| StateError::Io {
            action: "write",
            path: self.path.clone(),
            source,
        })
    }
}

/// Where the last whole line ends, in bytes.
fn read(reader: &mut impl BufRead, mut record: impl FnMut(Narinfo)) -> io::Result<u64> {
    let (mut position, mut end) = (0, 0);
    let mut line = Vec::new();
    loop {
        line.clear();
        // What is longer than any record comes in pieces, none of which is one.
        let starts_line = position == end;
        let length = reader.take(narinfo::MAX_SIZE as u64).read_until(b'\n', &mut line)?;
        if length == 0 {
            return Ok(end);
        }
        position += length as u64;
        if line.pop_if(|last| *last == b'\n').is_some() {
            end = position;
            if let Some(narinfo) = parse(&line).filter(|_| starts_line) {
                record(narinfo);
            }
        }
    }
}

fn parse(line: &[u8]) -> Option<Narinfo> {
    let mut names = str::from_utf8(line).ok()?.split(' ').map(BaseName::new);
    let path = names.next()??;
    Some(Narinfo { path, references: names.collect::<Option<_>>()? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tempfile::tempdir;

    use super::*;
    use crate::store_path::tests::base;

    fn narinfo(digit: char, references: &[char]) -> Narinfo {
        let references = references.iter().map(|digit| base(*digit, "b-2")).collect();
        Narinfo { path: base(digit, "a-1"), references }
    }

    fn records(directory: &Path) -> Vec<Narinfo> {
        let mut records = Vec::new();
        State::open(directory, |record| records.push(record)).unwrap();
        records
    }

    #[test]
    fn keeps_what_is_added() {
        let directory = tempdir().unwrap();
        let below = directory.path().join("not/there/yet");
        let expected = [narinfo('1', &[]), narinfo('2', &['1', '3'])];
        let mut state = State::open(&below, |_| panic!("nothing is in it")).unwrap();
        for record in &expected {
            state.append(record).unwrap();
        }
        drop(state);
        assert_eq!(records(&below), expected);
    }

    #[test]
    fn only_one_run_at_a_time() {
        let directory = tempdir().unwrap();
        let state = State::open(directory.path(), |_| ()).unwrap();
        let error = State::open(directory.path(), |_| ()).unwrap_err();
        assert!(matches!(error, StateError::InUse { .. }), "{error}");
        drop(state);
        State::open(directory.path(), |_| ()).unwrap();
    }

    #[test]
    fn damaged_lines_are_as_good_as_none() {
        let directory = tempdir().unwrap();
        let good = format!("{} {}\n", base('1', "a-1").as_str(), base('2', "b-2").as_str());
        let long = format!("{}{}", " ".repeat(narinfo::MAX_SIZE), good);
        let zeros = format!("{}\0\0\0\n", good.trim_end());
        let twice = good.replace(' ', "  ");
        let content = [&zeros, &good, "\n", &long, &twice, "x\n", &good].concat();
        fs::write(directory.path().join(FILE), content).unwrap();
        assert_eq!(records(directory.path()), [narinfo('1', &['2']), narinfo('1', &['2'])]);
    }

    #[test]
    fn places() {
        let url = |text: &str| Url::parse(text).unwrap();
        let place = directory(Path::new("/s"), &url("https://me:secret@cache.nixos.org"));
        assert_eq!(place, Path::new("/s/https%3A%2F%2Fcache.nixos.org%2F"));
        assert_ne!(directory(Path::new("/s"), &url("http://cache.nixos.org")), place);
        let default = |xdg: &str, home: &str| default_base(Some(xdg.into()), Some(home.into()));
        assert_eq!(default("/c", "/h"), Some("/c/nixery-popcount".into()));
        // Relative ones are invalid, and to be ignored.
        assert_eq!(default("c", "/h"), Some("/h/.cache/nixery-popcount".into()));
        assert_eq!(default("", "h"), None);
    }

    proptest! {
        #[test]
        fn survives_being_cut_anywhere(
            kept in prop::collection::vec(
                ("[0-9a-z]", prop::collection::vec("[0-9a-z]", 0..4)), 1..5,
            ),
            cut: prop::sample::Index,
        ) {
            let directory = tempdir().unwrap();
            let digit = |text: &String| text.chars().next().unwrap();
            let kept: Vec<_> = kept.iter().map(|(path, references)| {
                narinfo(digit(path), &references.iter().map(digit).collect::<Vec<_>>())
            }).collect();
            let mut state = State::open(directory.path(), |_| ()).unwrap();
            let mut ends = Vec::new();
            for record in &kept {
                state.append(record).unwrap();
                ends.push(state.file.metadata().unwrap().len());
            }
            let length = cut.index(usize::try_from(*ends.last().unwrap()).unwrap() + 1) as u64;
            state.file.set_len(length).unwrap();
            drop(state);

            let whole = ends.iter().filter(|end| **end <= length).count();
            prop_assert_eq!(&records(directory.path()), &kept[..whole]);
            let next = narinfo('n', &['m']);
            State::open(directory.path(), |_| ()).unwrap().append(&next).unwrap();
            let expected = [&kept[..whole], &[next]].concat();
            prop_assert_eq!(records(directory.path()), expected);
        }
    }

    #[test]
    fn fuzzed() {
        let line = format!("{} {}\n", base('1', "a-1").as_str(), base('2', "b-2").as_str());
        crate::fuzz::parser("kept references", [line.repeat(3)]).words([" ", "\n", &line]).run(
            |input| {
                let mut records = Vec::new();
                let end = read(&mut &input[..], |record| records.push(record)).unwrap();
                Some((records, end))
            },
            |input, parsed| {
                let (records, end) = parsed.unwrap();
                let whole = input.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                assert_eq!(end, whole as u64);
                let text = String::from_utf8_lossy(input);
                assert!(records.iter().all(|record| text.contains(record.path.as_str())));
            },
        );
    }
}
