//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use clap::builder::RangedU64ValueParser;
use reqwest::Url;

use crate::channel::{Channel, base_url};
use crate::http::HttpConfig;

const EXIT_STATUSES: &str = "\
Exit status: 0 if the table is complete, 1 if there is none, 2 if the command line is wrong.
What was fetched is kept: after a failure or an interruption, the same command goes on.";

/// Counts for each package of a channel how many others refer to it, from what a binary
/// cache knows of them. The table, in JSON, is what Nixery's layers follow.
#[derive(Debug, Parser)]
#[command(name = "nixery-popcount", version, after_help = EXIT_STATUSES)]
pub struct Arguments {
    /// Channel such as nixos-unstable, or a list of store paths, plain or xz: a URL (http,
    /// https, file), or a path with a slash in it
    #[arg(required_unless_present = "from_store")]
    pub channel: Option<Channel>,

    /// Count the closure of these store paths instead, as the Nix on PATH knows it
    #[arg(long, value_name = "PATH", num_args = 1.., conflicts_with_all = FOR_CHANNELS)]
    pub from_store: Vec<PathBuf>,

    /// Write the table to this file, whole or not at all, and not to standard output
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Binary cache that has the packages
    #[arg(long, value_name = "URL", default_value = "https://cache.nixos.org", value_parser = base_url)]
    pub cache: Url,

    /// Server that has the lists of channels, at CHANNEL/store-paths.xz
    #[arg(long, value_name = "URL", default_value = "https://channels.nixos.org", value_parser = base_url)]
    pub channels: Url,

    /// Directory for what was fetched [default: ~/.cache/nixery-popcount]
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,

    /// Requests at a time
    #[arg(long, value_name = "N", default_value = "64", value_parser = number(1, 1024))]
    pub concurrency: u32,

    /// How often a request that failed is made again, after longer and longer pauses
    #[arg(long, value_name = "N", default_value = "5", value_parser = number(0, 20))]
    pub retries: u32,

    /// Seconds that an answer may take
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = number(1, 3600))]
    pub timeout: u32,
}

/// What plays no part with `--from-store`.
const FOR_CHANNELS: [&str; 7] =
    ["channel", "cache", "channels", "state", "concurrency", "retries", "timeout"];

fn number(least: u64, most: u64) -> RangedU64ValueParser<u32> {
    RangedU64ValueParser::new().range(least..=most)
}

impl Arguments {
    /// How requests are made.
    pub fn http(&self) -> HttpConfig {
        HttpConfig {
            timeout: Duration::from_secs(self.timeout.into()),
            retries: self.retries,
            connections: self.concurrency(),
        }
    }

    /// How many requests are made at a time.
    pub fn concurrency(&self) -> usize {
        // Never more than 1024.
        self.concurrency as usize
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;

    fn parse(line: &str) -> Result<Arguments, ErrorKind> {
        let words = ["nixery-popcount"].into_iter().chain(line.split_whitespace());
        Arguments::try_parse_from(words).map_err(|error| error.kind())
    }

    #[test]
    fn command_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn takes_a_channel_or_store_paths() {
        let arguments = parse("nixos-unstable").unwrap();
        assert_eq!(arguments.channel, Some(Channel::Name("nixos-unstable".to_owned())));
        assert_eq!(arguments.cache.as_str(), "https://cache.nixos.org/");
        assert_eq!((arguments.concurrency, arguments.retries, arguments.timeout), (64, 5, 30));
        let arguments = parse("--from-store a b --output c").unwrap();
        assert_eq!(arguments.from_store, [PathBuf::from("a"), PathBuf::from("b")]);
        assert_eq!(arguments.output, Some("c".into()));
    }

    #[test]
    fn refuses_what_makes_no_sense() {
        for (line, kind) in [
            ("", ErrorKind::MissingRequiredArgument),
            ("--from-store", ErrorKind::InvalidValue),
            ("nixos-unstable --from-store a", ErrorKind::ArgumentConflict),
            ("--from-store a --cache https://example.org", ErrorKind::ArgumentConflict),
            ("x --concurrency 0", ErrorKind::ValueValidation),
            ("x --concurrency 1025", ErrorKind::ValueValidation),
            ("x --timeout 0", ErrorKind::ValueValidation),
            ("x --retries=-1", ErrorKind::ValueValidation),
            ("x --cache s3://bucket", ErrorKind::ValueValidation),
            ("x y", ErrorKind::UnknownArgument),
        ] {
            assert_eq!(parse(line).unwrap_err(), kind, "{line}");
        }
    }
}
