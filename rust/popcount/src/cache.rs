//! Binary caches, and reading them as a whole.

use std::collections::HashSet;

use futures_util::{StreamExt, stream};
use reqwest::Url;
use thiserror::Error;

use crate::error_chain::ErrorChain;
use crate::http::{Http, HttpError, Limits, shown};
use crate::narinfo::{self, Narinfo, NarinfoError};
use crate::progress::Progress;
use crate::state::{State, StateError};
use crate::store_path::BaseName;

/// After how many failures in a row there is no sense in going on: each has been tried
/// several times, and there are a hundred thousand more.
const GIVE_UP_AFTER: usize = 100;

/// How many failures are described; the rest are only counted.
const DESCRIBED: usize = 10;

/// After how many missing paths a cache that has had none yet must be the wrong one.
const WRONG_AFTER: usize = 1000;

/// A binary cache that is served by http or https.
/// Source: Nix manual, "HTTP Binary Cache Store".
#[derive(Debug)]
pub struct Cache<'a> {
    /// Its URL, with a slash at the end.
    pub url: &'a Url,
    /// How it is asked.
    pub http: &'a Http,
    /// How many requests are made at a time.
    pub concurrency: usize,
}

/// How many store paths there were of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Known from an earlier run.
    pub kept: usize,
    /// Fetched now.
    pub fetched: usize,
    /// Not in the cache.
    pub missing: usize,
    /// Could not be had.
    pub failed: usize,
}

/// Why not everything is known.
#[derive(Debug, Error)]
pub enum CacheError {
    /// Some of it could not be had.
    #[error("{failed} of {wanted} narinfos can't be had; run it again to go on with those")]
    Failed {
        /// How many not.
        failed: usize,
        /// Of how many.
        wanted: usize,
    },
    /// Nothing could be had for a while.
    #[error(
        "gave up on {url} after {GIVE_UP_AFTER} failures in a row, with {left} narinfos left; \
         run it again to go on with those"
    )]
    GaveUp {
        /// The cache.
        url: String,
        /// How many are left.
        left: usize,
    },
    /// It has no path of the list.
    #[error("{url} has none of {missing} store paths: --cache names another cache")]
    Nothing {
        /// The cache.
        url: String,
        /// How many were asked for.
        missing: usize,
    },
    /// What was fetched can't be kept.
    #[error("the state can't be used")]
    State(#[from] StateError),
}

/// Why one narinfo can't be had.
#[derive(Debug, Error)]
enum NarinfoFetchError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("{url} is not a narinfo")]
    Malformed { url: String, source: NarinfoError },
    #[error("{url} is about another store path, {other}")]
    Other { url: String, other: String },
}

impl Cache<'_> {
    /// Asks for all of `wanted`. What is had is added to `state`, and given to `found`.
    ///
    /// `kept` is how many others were known before. Fails unless each is had or missing.
    pub async fn read(
        &self,
        wanted: HashSet<BaseName>,
        kept: usize,
        state: &mut State,
        progress: &mut Progress,
        mut found: impl FnMut(&Narinfo),
    ) -> Result<Tally, CacheError> {
        let mut tally = Tally { kept, ..Tally::default() };
        let total = wanted.len();
        let mut failed_in_a_row = 0;
        let mut answers = stream::iter(wanted)
            .map(async |path| self.narinfo(&path).await)
            .buffer_unordered(self.concurrency);
        while let Some(answer) = answers.next().await {
            progress.step();
            match answer {
                Ok(Some(narinfo)) => {
                    state.append(&narinfo)?;
                    found(&narinfo);
                    tally.fetched += 1;
                    failed_in_a_row = 0;
                }
                Ok(None) => {
                    tally.missing += 1;
                    failed_in_a_row = 0;
                }
                Err(error) => {
                    tally.failed += 1;
                    failed_in_a_row += 1;
                    describe(&error, tally.failed, progress);
                }
            }
            if failed_in_a_row == GIVE_UP_AFTER {
                let left = total - tally.fetched - tally.missing;
                return Err(CacheError::GaveUp { url: shown(self.url).to_string(), left });
            }
            if tally.is_nothing() && tally.missing == WRONG_AFTER {
                break;
            }
        }
        self.judge(tally)
    }

    fn judge(&self, tally: Tally) -> Result<Tally, CacheError> {
        let Tally { missing, failed, .. } = tally;
        if failed > 0 {
            return Err(CacheError::Failed { failed, wanted: tally.total() });
        }
        if tally.is_nothing() && missing > 0 {
            return Err(CacheError::Nothing { url: shown(self.url).to_string(), missing });
        }
        Ok(tally)
    }

    async fn narinfo(&self, path: &BaseName) -> Result<Option<Narinfo>, NarinfoFetchError> {
        let url = self.narinfo_url(path);
        let limits = Limits { size: narinfo::MAX_SIZE, time: 1 };
        let Some(content) = self.http.get(&url, limits).await? else { return Ok(None) };
        let shown = || shown(&url).to_string();
        let narinfo = Narinfo::parse(&content)
            .map_err(|source| NarinfoFetchError::Malformed { url: shown(), source })?;
        if narinfo.path != *path {
            let other = narinfo.path.as_str().to_owned();
            return Err(NarinfoFetchError::Other { url: shown(), other });
        }
        Ok(Some(narinfo))
    }

    fn narinfo_url(&self, path: &BaseName) -> Url {
        let mut url = self.url.clone();
        url.set_path(&format!("{}{}.narinfo", url.path(), path.hash()));
        url
    }
}

impl Tally {
    /// How many there were together.
    pub fn total(&self) -> usize {
        self.kept + self.fetched + self.missing + self.failed
    }

    fn is_nothing(&self) -> bool {
        self.kept == 0 && self.fetched == 0
    }
}

fn describe(error: &NarinfoFetchError, number: usize, progress: &Progress) {
    if number <= DESCRIBED {
        progress.say(&ErrorChain(error));
    } else if number == DESCRIBED + 1 {
        progress.say(&"further failures are only counted");
    }
}
