//! Which package source was set, and what its tags may be.

use super::ConfigError;
use super::effective::{absolute, http_or_file_url};
use super::origin::Layers;
use super::raw::Source as Raw;
use crate::source::{NamePattern, Nixpkgs, Source, TagRules};

/// The one package source that is set.
pub(super) fn source(raw: &Raw, layers: &Layers) -> Result<Source, ConfigError> {
    let set = [
        ("source.channel", raw.channel.as_deref()),
        ("source.repo", raw.repo.as_deref()),
        ("source.path", raw.path.as_deref()),
    ];
    let set: Vec<(&str, &str)> =
        set.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    let source = match set[..] {
        [] => Err(ConfigError::NoSource),
        [(key, value)] => match key {
            "source.channel" => {
                let channel = channel(layers, value)?;
                Ok(Source::Channel { channel, nixpkgs: nixpkgs(raw, layers)? })
            }
            "source.repo" => {
                git_url(layers, key, value)?;
                Ok(Source::Repository(value.to_owned()))
            }
            _ => Ok(Source::Path(absolute(layers, key, value)?)),
        },
        _ => {
            let origins = set.iter().map(|(key, _)| layers.origin(key)).collect();
            Err(ConfigError::ManySources { origins })
        }
    }?;
    check_applicable(raw, &source, layers)?;
    Ok(source)
}

/// The name becomes a part of a URL, so it may have only what branches of
/// nixpkgs have.
fn channel(layers: &Layers, name: &str) -> Result<String, ConfigError> {
    let ok = name.bytes().all(|c| c.is_ascii_alphanumeric() || b"-._".contains(&c))
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && !name.contains("..");
    if ok {
        return Ok(name.to_owned());
    }
    let problem = format!(
        "found {name:?}, expected a branch of nixpkgs such as nixos-unstable, or a full commit"
    );
    Err(layers.invalid("source.channel", problem))
}

/// Where nixpkgs comes from, if not from GitHub.
fn nixpkgs(raw: &Raw, layers: &Layers) -> Result<Nixpkgs, ConfigError> {
    if let Some(url) = &raw.nixpkgs_repository {
        git_url(layers, "source.nixpkgs_repository", url)?;
    }
    if let Some(url) = &raw.nixpkgs_archive {
        http_or_file_url(layers, "source.nixpkgs_archive", url)?;
        if url.contains(['?', '#']) {
            let problem =
                format!("found {url:?}, expected a URL to which /COMMIT.tar.gz can be added");
            return Err(layers.invalid("source.nixpkgs_archive", problem));
        }
    }
    Ok(Nixpkgs { repository: raw.nixpkgs_repository.clone(), archive: raw.nixpkgs_archive.clone() })
}

/// A URL, an absolute path, or `host:path`. What is relative would mean something else
/// to each program that is run.
fn git_url(layers: &Layers, key: &str, url: &str) -> Result<(), ConfigError> {
    let host = url.split('/').next().unwrap_or_default();
    let is_remote = host.contains(':') && !host.starts_with(['-', ':']);
    if url.starts_with('/') || is_remote {
        return Ok(());
    }
    let problem = format!(
        "found {url:?}, expected the URL of a git repository, such as https://example.org/packages, \
         git@example.org:packages or an absolute path"
    );
    Err(layers.invalid(key, problem))
}

/// Settings that say nothing of this kind of source were meant to: most of them limit
/// what clients may choose.
fn check_applicable(raw: &Raw, source: &Source, layers: &Layers) -> Result<(), ConfigError> {
    const NIXPKGS: &str = "nixpkgs (source.channel)";
    const REPOSITORY: &str = "a git repository (source.repo)";
    const PATH: &str = "a directory (source.path)";
    let kind = match source {
        Source::Channel { .. } => NIXPKGS,
        Source::Repository(_) => REPOSITORY,
        Source::Path(_) => PATH,
    };
    let settings: [(&str, bool, &[&str]); 6] = [
        ("source.channels", raw.channels.is_some(), &[NIXPKGS]),
        ("source.nixpkgs_repository", raw.nixpkgs_repository.is_some(), &[NIXPKGS]),
        ("source.nixpkgs_archive", raw.nixpkgs_archive.is_some(), &[NIXPKGS]),
        ("source.references", raw.references.is_some(), &[REPOSITORY]),
        ("source.allow_commits", raw.allow_commits.is_some(), &[NIXPKGS, REPOSITORY]),
        ("source.fingerprint", raw.fingerprint.is_some(), &[PATH]),
    ];
    for (key, is_set, kinds) in settings {
        if is_set && !kinds.contains(&kind) {
            let problem = format!(
                "it is for {}, and packages come from {kind}: remove it",
                kinds.join(" or ")
            );
            return Err(layers.invalid(key, problem));
        }
    }
    Ok(())
}

/// Which tags choose something of it.
pub(super) fn tag_rules(raw: &Raw, layers: &Layers) -> Result<TagRules, ConfigError> {
    let patterns = |key: &str, texts: &[String]| {
        let parse = |text: &String| text.parse::<NamePattern>();
        let parsed: Result<Vec<_>, _> = texts.iter().map(parse).collect();
        parsed.map_err(|error| layers.invalid(key, error.to_string()))
    };
    let usual = TagRules::default();
    Ok(TagRules {
        channels: match &raw.channels {
            None => usual.channels,
            Some(texts) => patterns("source.channels", texts)?,
        },
        references: match &raw.references {
            None => usual.references,
            Some(texts) => Some(patterns("source.references", texts)?),
        },
        allow_commits: raw.allow_commits,
    })
}
