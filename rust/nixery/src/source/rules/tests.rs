use super::*;
use crate::source::Nixpkgs;

const COMMIT: &str = "21a67dc470149f337cecafbe965d8d252a390518";

fn patterns(texts: &[&str]) -> Vec<NamePattern> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn at(source: &Source, rules: &TagRules, tag: &str) -> Result<SourceAt, String> {
    source.at(&tag.parse().unwrap(), rules).map_err(|error| error.to_string())
}

#[test]
fn tags_of_nixpkgs_are_channels_and_commits_that_are_allowed() {
    let source =
        Source::Channel { channel: "nixpkgs-unstable".to_owned(), nixpkgs: Nixpkgs::default() };
    let default = TagRules::default();
    let commits = TagRules { allow_commits: Some(true), ..TagRules::default() };
    let own = TagRules { channels: patterns(&["staging-*", "*.lock", "*..*"]), ..commits.clone() };
    let none = TagRules { channels: Vec::new(), ..TagRules::default() };
    let old = "21a67dc";
    for (rules, tag, expected) in [
        (&default, "latest", Some("nixpkgs-unstable")),
        (&default, "nixpkgs-unstable", Some("nixpkgs-unstable")),
        (&default, "nixos-26.05", Some("nixos-26.05")),
        (&default, "26.05", Some("nixos-26.05")),
        (&default, "26.05-small", Some("nixos-26.05-small")),
        (&default, "unstable", Some("nixos-unstable")),
        (&default, "nixos-unstable-small", Some("nixos-unstable-small")),
        (&default, "master", None),
        (&default, "nixos-26.05-evil", None),
        (&default, "nixos-2x.05", None),
        (&default, "26.5", None),
        (&default, COMMIT, None),
        (&default, old, None),
        (&commits, COMMIT, Some(COMMIT)),
        (&commits, old, None),
        (&commits, "master", None),
        (&own, "staging-next", Some("staging-next")),
        (&own, "26.05", None),
        (&own, "x.lock", None),
        (&own, "x..y", None),
        (&none, "26.05", None),
        (&none, "latest", Some("nixpkgs-unstable")),
    ] {
        let channel = match at(&source, rules, tag) {
            Ok(SourceAt::Channel { channel, .. }) => Some(channel),
            _ => None,
        };
        assert_eq!(channel.as_deref(), expected, "{tag}");
    }
}

#[test]
fn tags_of_a_repository_are_branches_tags_and_commits_that_are_allowed() {
    let source = Source::Repository("https://example.org/pkgs".to_owned());
    let all = TagRules::default();
    let some = TagRules { references: Some(patterns(&["v*", "main"])), ..TagRules::default() };
    let and_commits = TagRules { allow_commits: Some(true), ..some.clone() };
    let no_commits = TagRules { allow_commits: Some(false), ..TagRules::default() };
    let any = TagRules { references: Some(patterns(&["*"])), ..TagRules::default() };
    let reference = |name: &str| Some((Some(name.to_owned()), None));
    let commit = Some((None, Some(COMMIT.to_owned())));
    for (rules, tag, expected) in [
        (&all, "latest", Some((None, None))),
        (&all, "v1.0", reference("v1.0")),
        (&all, COMMIT, commit.clone()),
        (&all, &COMMIT[1..], reference(&COMMIT[1..])),
        (&all, "a..b", None),
        (&all, "a.", None),
        (&all, "a.lock", None),
        (&some, "latest", Some((None, None))),
        (&some, "v1.0", reference("v1.0")),
        (&some, "main", reference("main")),
        (&some, "maintenance", None),
        (&some, COMMIT, None),
        (&and_commits, COMMIT, commit),
        (&no_commits, COMMIT, None),
        (&any, COMMIT, None),
        (&any, "main", reference("main")),
    ] {
        let chosen = match at(&source, rules, tag) {
            Ok(SourceAt::Git { reference, revision, .. }) => Some((reference, revision)),
            _ => None,
        };
        assert_eq!(chosen, expected, "{tag}");
    }
}

#[test]
fn a_path_has_only_latest() {
    let source = Source::Path("/p".into());
    assert!(at(&source, &TagRules::default(), "latest").is_ok());
    let error = at(&source, &TagRules::default(), "other").unwrap_err();
    assert_eq!(error, "there is no tag \"other\" here: expected \"latest\"");
}

#[test]
fn what_is_possible_is_said() {
    let source = Source::Channel { channel: "c".to_owned(), nixpkgs: Nixpkgs::default() };
    let rules = TagRules { channels: patterns(&["nixos-*"]), ..TagRules::default() };
    let error = at(&source, &rules, COMMIT).unwrap_err();
    assert!(error.ends_with(
        "expected \"latest\", or a channel of nixpkgs like nixos-* (\"nixos-\" may be left out)"
    ));
    let rules = TagRules { allow_commits: Some(true), ..rules };
    assert!(at(&source, &rules, "x").unwrap_err().ends_with(", or a full commit of 40 digits"));
}

#[test]
fn patterns_are_checked() {
    for wrong in ["", "a[", "***"] {
        let error = wrong.parse::<NamePattern>().unwrap_err().to_string();
        assert!(error.starts_with(&format!("{wrong:?} is not a pattern")), "{error}");
    }
}

#[test]
fn fuzzed() {
    let seeds = ["nixos-[0-9][0-9].[0-9][0-9]", "*", "release-*", "v?.*", "[!a-z]*", "**/x"];
    let names = ["nixos-26.05", "release-1", "v1.2", "", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"];
    crate::fuzz::parser("patterns of tags", seeds)
        .words(["*a*a*a*", "[", "]", "[!", "-", "?"])
        .factor(160)
        .run(
            |input| {
                let text = std::str::from_utf8(input).ok()?;
                let pattern =
                    text.parse::<NamePattern>().map_err(|error| error.to_string()).ok()?;
                let matched = names.map(|name| pattern.matches(name));
                Some((pattern, matched))
            },
            |input, parsed| {
                let Some((pattern, matched)) = parsed else { return };
                assert_eq!(pattern.as_str().as_bytes(), input);
                assert_eq!(pattern.as_str().parse::<NamePattern>(), Ok(pattern.clone()));
                if input == b"*" {
                    assert_eq!(matched, [true; 5]);
                }
            },
        );
}
