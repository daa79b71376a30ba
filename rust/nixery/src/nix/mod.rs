//! The builder: the program that has Nix make the packages of an image.
//!
//! What passes between the two is described in the book, "The builder's
//! protocol"; nothing else in the server knows of Nix.

mod error;
mod protocol;
mod roots;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

pub use error::NixError;
pub use protocol::{Evaluation, Kind, Missing, Package, RefusalReason};
pub use roots::{BuildRoots, Roots};

use crate::counters;
use crate::layers::Closure;
use crate::process::{self, Limits, Output, Program};
use crate::source::{SourceAt, without_credentials};
use crate::store_path::StorePath;
use protocol::{Kinds, Names, Reply, Request, Success, Wanted};

/// The builder's name on PATH.
const PROGRAM: &str = "nixery-prepare-image";

/// Lines of one call that go to the server's log; the rest is dropped. A build may print
/// gigabytes.
const LOGGED_LINES: usize = 10_000;

/// Calls the builder.
#[derive(Debug)]
pub struct Builder {
    timeout: Duration,
    isolation: Isolation,
    roots: Roots,
    shutdown: CancellationToken,
}

/// What the builder may do, and package sets, which may be other people's.
#[derive(Clone, Debug, Default)]
pub struct Isolation {
    /// What it may take from the server.
    pub limits: Limits,
    /// Environment variables that it gets besides the usual ones.
    pub environment: Vec<String>,
    /// What an evaluation may do.
    pub evaluation: Evaluation,
}

/// Packages, or store paths, in the Nix store.
#[derive(Debug)]
pub struct Prepared {
    /// The packages that were asked for.
    pub packages: Vec<Package>,
    /// What was asked for and everything that it needs.
    pub closure: Closure,
    /// Keeps all of it in the store for as long as this lives.
    pub roots: BuildRoots,
}

impl Builder {
    /// Calls will take at most `timeout`, and end early when `shutdown` is
    /// cancelled.
    pub fn new(
        timeout: Duration,
        isolation: Isolation,
        roots: Roots,
        shutdown: CancellationToken,
    ) -> Self {
        Self { timeout, isolation, roots, shutdown }
    }

    fn program(&self) -> Program {
        Program::supervised(PROGRAM, self.isolation.limits, &self.isolation.environment)
    }

    /// Checks that the builder can be run, for the server to say at its start
    /// rather than to its first client.
    pub async fn check(&self) -> Result<(), NixError> {
        let mut command = self.program();
        command.arg("--check");
        let limit = Duration::from_secs(10);
        let mut said = String::new();
        let log = |line: &str| line.clone_into(&mut said);
        let output = process::run(command, &[], limit, &self.shutdown, log).await?;
        match output {
            Output::Ended { status, .. } if status.success() => Ok(()),
            _ => Err(NixError::BuilderBroken {
                problem: format!("{PROGRAM} --check did not succeed: {said}"),
            }),
        }
    }

    /// Has Nix fetch or build packages of `source`.
    ///
    /// Nix's log goes to the server's as it appears, with `image`, the name
    /// that the client used; and line by line to `log`, without credentials.
    pub async fn prepare(
        &self,
        image: &str,
        source: &SourceAt,
        system: &str,
        packages: &[&str],
        log: impl Fn(&str),
    ) -> Result<Prepared, NixError> {
        let wanted =
            Wanted::Packages { source, system, packages, evaluation: &self.isolation.evaluation };
        let prepared = self.run(image, wanted, "packages", log).await?;
        // One answer for each question, in whatever order.
        let answered: HashSet<&str> =
            prepared.packages.iter().map(|package| package.request.as_str()).collect();
        match packages.iter().find(|name| !answered.contains(*name)) {
            None => Ok(prepared),
            Some(name) => Err(NixError::BuilderBroken {
                problem: format!("its reply says nothing about the package {name}"),
            }),
        }
    }

    /// Has Nix fetch store paths that were there before, or build them where it
    /// remembers how, and keeps them.
    pub async fn realise(
        &self,
        image: &str,
        paths: &[StorePath],
        log: impl Fn(&str),
    ) -> Result<Prepared, NixError> {
        self.run(image, Wanted::Paths { paths }, "paths", log).await
    }

    async fn run(
        &self,
        image: &str,
        wanted: Wanted<'_>,
        purpose: &'static str,
        log: impl Fn(&str),
    ) -> Result<Prepared, NixError> {
        if self.shutdown.is_cancelled() {
            return Err(NixError::ShuttingDown);
        }
        let roots = self.roots.create().map_err(NixError::Roots)?;
        let called = self.call(image, wanted, Some(roots.path()), purpose, self.timeout, log).await;
        called.map(|Success { packages, graph }| Prepared { packages, closure: graph, roots })
    }

    /// Asks which attribute names there are in a set of `source`; the empty name is the
    /// package set itself. Takes at most `limit`, and no longer than other calls.
    pub async fn names(
        &self,
        source: &SourceAt,
        system: &str,
        set: &str,
        limit: Duration,
    ) -> Result<Vec<String>, NixError> {
        let evaluation = &self.isolation.evaluation;
        let wanted = Wanted::Names { source, system, names_in: set, evaluation };
        let limit = self.timeout.min(limit);
        let called = self.call("", wanted, None, "names", limit, |_| {}).await;
        called.map(|Names { names }| names)
    }

    /// Asks what `names` of `source` are, given with the sets that they are in. Takes at
    /// most `limit`, and no longer than other calls. Fails if Nix fails at any of them.
    pub async fn kinds(
        &self,
        source: &SourceAt,
        system: &str,
        names: &[&str],
        limit: Duration,
    ) -> Result<HashMap<String, Kind>, NixError> {
        let evaluation = &self.isolation.evaluation;
        let wanted = Wanted::Kinds { source, system, kinds_of: names, evaluation };
        let limit = self.timeout.min(limit);
        let called = self.call("", wanted, None, "names", limit, |_| {}).await;
        called.map(|Kinds { kinds }| kinds)
    }

    async fn call<T: DeserializeOwned>(
        &self,
        image: &str,
        wanted: Wanted<'_>,
        roots: Option<&Path>,
        purpose: &'static str,
        limit: Duration,
        log: impl Fn(&str),
    ) -> Result<T, NixError> {
        let begin = Instant::now();
        let result = self.call_uncounted(image, wanted, roots, limit, log).await;
        counters::nix_ran(purpose, result.is_ok(), begin.elapsed());
        result
    }

    async fn call_uncounted<T: DeserializeOwned>(
        &self,
        image: &str,
        wanted: Wanted<'_>,
        roots: Option<&Path>,
        limit: Duration,
        log: impl Fn(&str),
    ) -> Result<T, NixError> {
        if self.shutdown.is_cancelled() {
            return Err(NixError::ShuttingDown);
        }
        let request = Request { protocol: protocol::VERSION, wanted, roots };
        // Fails only for paths that aren't UTF-8; the builder then says that its
        // request is empty.
        let request = serde_json::to_vec(&request).unwrap_or_default();
        let mut lines = 0;
        let log = |line: &str| {
            let line = without_credentials(line);
            lines += 1;
            if lines <= LOGGED_LINES {
                tracing::info!(target: "nix", image, "{line}");
            } else if lines == LOGGED_LINES + 1 {
                tracing::warn!(target: "nix", image, "more is printed than is logged");
            }
            log(&line);
        };
        let command = self.program();
        match process::run(command, &request, limit, &self.shutdown, log).await? {
            Output::TimedOut => Err(NixError::TimedOut { limit }),
            Output::ShutDown => Err(NixError::ShuttingDown),
            Output::Ended { status, stdout } => match Reply::parse(&stdout) {
                Ok(Reply::Failure(problem)) => Err(problem.into()),
                Ok(Reply::Success(result)) if status.success() => Ok(result),
                Ok(Reply::Success(_)) => Err(NixError::BuilderBroken {
                    problem: format!("it printed a result, but ended with {status}"),
                }),
                Err(error) => Err(NixError::BuilderBroken {
                    problem: format!("it ended with {status} and no valid reply: {error}"),
                }),
            },
        }
    }
}
