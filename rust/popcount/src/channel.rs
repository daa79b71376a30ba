//! Channels, and the lists of their store paths.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use reqwest::Url;
use thiserror::Error;

use crate::http::{Http, HttpError, Limits, shown};
use crate::list::{self, ListError};
use crate::store_path::BaseName;

/// Of a list as it is sent; 120,000 paths have about 9 MB, and less when compressed.
const LIMITS: Limits = Limits { size: 64 << 20, time: 10 };

/// What is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Channel {
    /// A channel by its name, such as `nixos-unstable`.
    Name(String),
    /// A list at an http or https URL.
    Url(Url),
    /// A list in a file.
    File(PathBuf),
}

/// Why an argument is no channel, or no base URL.
#[derive(Debug, Error)]
pub enum ArgumentError {
    /// Not a URL.
    #[error("not a URL")]
    Url(#[source] <Url as FromStr>::Err),
    /// A URL of a kind that isn't read.
    #[error("expected a URL that begins with {expected}")]
    Scheme {
        /// What it may begin with.
        expected: &'static str,
    },
    /// A URL with what would be lost.
    #[error("expected a URL without ? and #")]
    Query,
    /// Not a name of a channel.
    #[error(
        "expected a channel such as nixos-unstable, a URL, or the path of a file, with a slash"
    )]
    Name,
}

/// Why there is no list of a channel's store paths.
#[derive(Debug, Error)]
pub enum ChannelError {
    /// It can't be fetched.
    #[error("can't fetch the list of store paths")]
    Http(#[from] HttpError),
    /// The server has none there.
    #[error("there is no list of store paths at {url}")]
    Absent {
        /// The URL, without credentials.
        url: String,
    },
    /// The file can't be read.
    #[error("can't read {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no such channel, but a file.
    #[error("{name} is taken for the name of a channel: the file of that name is ./{name}")]
    NotTheFile {
        /// What was given.
        name: String,
        /// Why there is no list of the channel.
        source: Box<ChannelError>,
    },
    /// It is something else.
    #[error("{place} is not a list of store paths")]
    Malformed {
        /// URL or file.
        place: String,
        /// Why.
        source: ListError,
    },
}

impl FromStr for Channel {
    type Err = ArgumentError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains("://") {
            let url = Url::parse(text).map_err(ArgumentError::Url)?;
            let expected = "http://, https:// or file:///";
            return match url.scheme() {
                "http" | "https" => Ok(Self::Url(url)),
                "file" => match url.to_file_path() {
                    Ok(path) => Ok(Self::File(path)),
                    Err(()) => Err(ArgumentError::Scheme { expected }),
                },
                _ => Err(ArgumentError::Scheme { expected }),
            };
        }
        if text.contains('/') {
            return Ok(Self::File(text.into()));
        }
        let allowed = |c: u8| c.is_ascii_alphanumeric() || b"._-".contains(&c);
        if text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.bytes().all(allowed) {
            Ok(Self::Name(text.to_owned()))
        } else {
            Err(ArgumentError::Name)
        }
    }
}

/// Reads the URL of a server's directory, below which there are files.
pub fn base_url(text: &str) -> Result<Url, ArgumentError> {
    let mut url = Url::parse(text).map_err(ArgumentError::Url)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(ArgumentError::Scheme { expected: "http:// or https://" });
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(ArgumentError::Query);
    }
    url.set_path(&format!("{}/", url.path().trim_end_matches('/')));
    Ok(url)
}

impl Channel {
    /// The store paths of its list. `channels` is where channels have theirs.
    pub async fn store_paths(
        &self,
        http: &Http,
        channels: &Url,
    ) -> Result<HashSet<BaseName>, ChannelError> {
        let (place, content) = match self {
            Self::Name(name) => {
                let mut url = channels.clone();
                url.set_path(&format!("{}{name}/store-paths.xz", url.path()));
                fetch(http, &url).await.map_err(|error| {
                    if Path::new(name).is_file() {
                        ChannelError::NotTheFile { name: name.clone(), source: Box::new(error) }
                    } else {
                        error
                    }
                })?
            }
            Self::Url(url) => fetch(http, url).await?,
            Self::File(path) => {
                let content = fs::read(path)
                    .map_err(|source| ChannelError::File { path: path.clone(), source })?;
                (path.display().to_string(), content)
            }
        };
        list::parse(&content).map_err(|source| ChannelError::Malformed { place, source })
    }
}

async fn fetch(http: &Http, url: &Url) -> Result<(String, Vec<u8>), ChannelError> {
    let place = shown(url).to_string();
    match http.get(url, LIMITS).await? {
        Some(content) => Ok((place, content)),
        None => Err(ChannelError::Absent { url: place }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_names_from_urls_and_files() {
        let url = |text: &str| Channel::Url(Url::parse(text).unwrap());
        for (text, channel) in [
            ("nixos-unstable", Channel::Name("nixos-unstable".to_owned())),
            ("nixos-26.05-small", Channel::Name("nixos-26.05-small".to_owned())),
            ("./list", Channel::File("./list".into())),
            ("/tmp/store-paths.xz", Channel::File("/tmp/store-paths.xz".into())),
            ("file:///tmp/a%20b", Channel::File("/tmp/a b".into())),
            ("https://example.org/list?a=b", url("https://example.org/list?a=b")),
        ] {
            assert_eq!(text.parse::<Channel>().unwrap(), channel, "{text}");
        }
        for wrong in ["", ".", "..", "nixos unstable", "ftp://x/y", "file://host/x", "http://"] {
            assert!(wrong.parse::<Channel>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn base_urls_are_directories() {
        for (text, url) in [
            ("https://cache.nixos.org", "https://cache.nixos.org/"),
            ("http://localhost:8080/a//", "http://localhost:8080/a/"),
            ("https://me:secret@example.org/nix", "https://me:secret@example.org/nix/"),
        ] {
            assert_eq!(base_url(text).unwrap().as_str(), url);
        }
        for wrong in
            ["cache.nixos.org", "s3://bucket", "file:///nix", "https://x/?a", "https://x/#a"]
        {
            assert!(base_url(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn fuzzed() {
        let seeds =
            ["nixos-unstable", "./list", "file:///tmp/a%20b", "https://u:p@[::1]:80/l?a=b#c"];
        crate::fuzz::parser("channels and URLs", seeds).words(["://", "http", "file://", "@"]).run(
            |input| {
                let text = std::str::from_utf8(input).ok()?;
                let base = base_url(text).ok();
                let channel = text.parse::<Channel>().map_err(|error| error.to_string()).ok();
                Some((channel?, base))
            },
            |_, parsed| {
                let Some((channel, base)) = parsed else { return };
                if let Channel::Name(name) = channel {
                    assert!(!name.contains('/') && !name.starts_with('.'));
                }
                assert!(base.is_none_or(|base| base.path().ends_with('/')));
            },
        );
    }
}
