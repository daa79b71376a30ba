//! Asking a git repository which commit a branch or tag is at.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::error::PinError;
use crate::counters;
use crate::process::{self, Output, Program};
use crate::source::{is_commit, without_credentials};

/// How long a repository may take to answer.
const LIMIT: Duration = Duration::from_mins(1);

/// Questions at the same time: each is a process, and a connection.
const AT_ONCE: usize = 4;

/// Questions of clients that may wait for that.
const QUEUE: usize = 200;

/// Lines that git says and that are kept, to tell why it failed.
const LINES: usize = 20;

/// Asks repositories.
#[derive(Debug)]
pub(super) struct Remote {
    shutdown: CancellationToken,
    places: Semaphore,
    waiting: AtomicUsize,
    /// Of those who follow what is known: clients can't keep them from it.
    followers: Semaphore,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// A client waits for the answer.
    Client,
    /// Nobody waits.
    Follower,
}

/// Where a name leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Found {
    pub(super) commit: String,
    /// In full, such as `refs/heads/main`, if it is of a form that the builder knows.
    pub(super) reference: Option<String>,
}

impl Remote {
    pub(super) fn new(shutdown: CancellationToken) -> Self {
        Self {
            shutdown,
            places: Semaphore::new(AT_ONCE),
            waiting: AtomicUsize::new(0),
            followers: Semaphore::new(AT_ONCE),
        }
    }

    /// Which commit a branch or a tag is at (an annotated tag's commit, not the tag's
    /// own object); that of the default branch without a name. A branch goes first
    /// where both have the name. Credentials are those of Git and SSH in the
    /// environment.
    pub(super) async fn ask(
        &self,
        url: &str,
        name: Option<&str>,
        asker: Asker,
    ) -> Result<Found, PinError> {
        // Never closed, so acquiring can't fail.
        let _place = if asker == Asker::Follower {
            self.followers.acquire().await
        } else {
            if self.waiting.fetch_add(1, Ordering::SeqCst) >= QUEUE {
                self.waiting.fetch_sub(1, Ordering::SeqCst);
                return Err(PinError::Busy);
            }
            let place = self.places.acquire().await;
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            place
        };
        if self.shutdown.is_cancelled() {
            return Err(PinError::ShuttingDown);
        }
        let result = self.run(url, name).await;
        counters::source_asked(matches!(result, Ok(_) | Err(PinError::NotFound { .. })));
        result
    }

    async fn run(&self, url: &str, name: Option<&str>) -> Result<Found, PinError> {
        let mut command = Program::new("git");
        // The URL can't be taken for an option, and the patterns begin with refs/.
        command.args(["ls-remote", "--symref", "--", url]).args(patterns(name));
        command.env("LC_ALL", "C").env("GIT_TERMINAL_PROMPT", "0");
        let mut said = Vec::new();
        let log = |line: &str| {
            tracing::debug!(target: "git", "{}", without_credentials(line));
            if said.len() < LINES {
                said.push(line.to_owned());
            }
        };
        let output = process::run(command, &[], LIMIT, &self.shutdown, log).await;
        let shown = without_credentials(url);
        let unavailable = |why: &str| PinError::Unavailable {
            message: format!("the repository {shown} could not be asked: {why}"),
        };
        match output.map_err(|error| PinError::Git(Arc::new(error)))? {
            Output::ShutDown => Err(PinError::ShuttingDown),
            Output::TimedOut => {
                Err(unavailable(&format!("no answer within {} seconds", LIMIT.as_secs())))
            }
            Output::Ended { status, .. } if !status.success() => {
                Err(unavailable(&without_credentials(&reason(&said, &status.to_string()))))
            }
            Output::Ended { stdout, .. } => {
                let answer = String::from_utf8_lossy(&stdout);
                let found = find(&answer, name).ok_or_else(|| {
                    let what = name.map_or("default branch".to_owned(), |name| {
                        format!("branch or tag {name}")
                    });
                    PinError::NotFound { message: format!("there is no {what} in {shown}") }
                })?;
                if is_commit(&found.commit) {
                    return Ok(found);
                }
                Err(unavailable("its commits are not told by SHA-1 hashes of 40 digits"))
            }
        }
    }
}

/// What git is asked for. It matches the ends of names too.
fn patterns(name: Option<&str>) -> Vec<String> {
    match name {
        None => vec!["HEAD".to_owned()],
        Some(name) => vec![
            format!("refs/heads/{name}"),
            format!("refs/tags/{name}^{{}}"),
            format!("refs/tags/{name}"),
        ],
    }
}

/// Finds the reference in what git printed: `COMMIT TAB NAME` in each line, and
/// `ref: TARGET TAB HEAD`.
fn find(answer: &str, name: Option<&str>) -> Option<Found> {
    let lines = answer.lines().filter_map(|line| line.split_once('\t'));
    let (targets, commits): (Vec<_>, Vec<_>) =
        lines.partition(|(first, _)| first.starts_with("ref: "));
    let commits: HashMap<&str, &str> =
        commits.into_iter().map(|(commit, name)| (name, commit)).collect();
    let at = |listed: &str, reference: &str| {
        let commit = (*commits.get(listed)?).to_owned();
        let is_plain = |c: u8| c.is_ascii_alphanumeric() || b"_./+-".contains(&c);
        let reference = Some(reference).filter(|name| name.bytes().all(is_plain));
        Some(Found { commit, reference: reference.map(str::to_owned) })
    };
    let Some(name) = name else {
        let target = targets.into_iter().find(|(_, name)| *name == "HEAD");
        let target = target.and_then(|(target, _)| target.strip_prefix("ref: "));
        return at("HEAD", target.unwrap_or("HEAD"));
    };
    let (branch, tag) = (format!("refs/heads/{name}"), format!("refs/tags/{name}"));
    at(&branch, &branch).or_else(|| at(&format!("{tag}^{{}}"), &tag)).or_else(|| at(&tag, &tag))
}

/// Why git failed, from what it said: the first thing that it calls fatal, or the last
/// thing at all.
fn reason(said: &[String], status: &str) -> String {
    let fatal = said.iter().find(|line| line.starts_with("fatal:") || line.starts_with("error:"));
    fatal.or(said.last()).cloned().unwrap_or_else(|| format!("git ended with {status}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_whole_names_only_and_branches_first() {
        let answer = "ref: refs/heads/main\tHEAD\n\
                      1\tHEAD\n\
                      2\trefs/heads/x/refs/heads/v1\n\
                      3\trefs/tags/v1\n\
                      4\trefs/tags/v1^{}\n\
                      5\trefs/heads/both\n\
                      6\trefs/tags/both\n\
                      7\trefs/tags/light\n";
        let found = |name| find(answer, name).map(|found| (found.commit, found.reference));
        let expected = |commit: &str, name: &str| Some((commit.to_owned(), Some(name.to_owned())));
        assert_eq!(found(None), expected("1", "refs/heads/main"));
        assert_eq!(found(Some("v1")), expected("4", "refs/tags/v1"));
        assert_eq!(found(Some("both")), expected("5", "refs/heads/both"));
        assert_eq!(found(Some("light")), expected("7", "refs/tags/light"));
        assert_eq!(found(Some("x")), None);
        let detached = find("1\tHEAD\n", None).unwrap();
        assert_eq!(detached.reference.as_deref(), Some("HEAD"));
        let odd = find("ref: refs/heads/main@2\tHEAD\n1\tHEAD\n", None).unwrap();
        assert_eq!(odd.reference, None, "the builder would refuse it");
        assert_eq!(find("", None), None);
        assert_eq!(find("garbage", Some("v1")), None);
    }

    #[test]
    fn says_why_git_failed() {
        let said = |lines: &[&str]| {
            let lines: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
            reason(&lines, "exit status: 128")
        };
        assert_eq!(said(&["Hello", "fatal: no", "And so on."]), "fatal: no");
        assert_eq!(said(&["ssh: refused", "closed"]), "closed");
        assert_eq!(said(&[]), "git ended with exit status: 128");
    }

    #[test]
    fn fuzzed() {
        let commit = "4fe8d07066f6ea82cda2b0c9ae7aee59b2d241b3";
        let seeds = [
            format!("ref: refs/heads/main\tHEAD\n{commit}\tHEAD\n"),
            format!("{commit}\trefs/heads/v1\n{commit}\trefs/tags/v1^{{}}\n"),
        ];
        crate::fuzz::parser("git ls-remote", seeds)
            .words(["\t", "refs/heads/v1", "ref: ", "^{}"])
            .factor(64)
            .run(
                |input| {
                    let answer = String::from_utf8_lossy(input);
                    Some((find(&answer, Some("v1")), find(&answer, None)))
                },
                |_, parsed| {
                    let (named, default) = parsed.unwrap();
                    for found in [named, default].into_iter().flatten() {
                        let is_plain = |c: u8| c.is_ascii_alphanumeric() || b"_./+-".contains(&c);
                        assert!(found.reference.is_none_or(|name| name.bytes().all(is_plain)));
                    }
                },
            );
    }
}
