use proptest::prelude::*;

use super::*;

fn spec(name: &str) -> ImageSpec {
    name.parse::<ImageName>().unwrap().expand(Platform::Amd64).unwrap()
}

fn packages(name: &str) -> Vec<String> {
    spec(name).packages().map(str::to_owned).collect()
}

#[test]
fn attributes_are_written_as_they_are_looked_up() {
    for (attribute, component) in [
        ("git", Some("git")),
        ("python3Packages", Some("python3packages")),
        ("_7zz", Some("7zz")),
        ("gtk+", None),
        ("_private", None),
        ("a.b", None),
        ("trailing_", None),
        ("", None),
    ] {
        assert_eq!(component_of(attribute).as_deref(), component, "{attribute}");
    }
}

#[test]
fn expands_meta_packages_that_lead_the_name() {
    assert_eq!(packages("git"), ["cacert", "git", "iana-etc"]);
    assert_eq!(
        packages("shell/jq"),
        ["bashInteractive", "cacert", "coreutils", "iana-etc", "jq", "moreutils", "nano"]
    );
    assert_eq!(spec("arm64/shell/jq").platform(), Platform::Arm64);
    assert_eq!(spec("shell/arm64/jq"), spec("arm64/shell/jq"));
    assert!(packages("git/shell").contains(&"shell".to_owned()), "only leading ones are meta");
    assert_eq!(packages("arm64"), ["cacert", "iana-etc"]);
}

#[test]
fn refuses_two_platforms() {
    let name: ImageName = "arm64/amd64/git".parse().unwrap();
    assert_eq!(name.expand(Platform::Amd64), Err(InvalidName::TwoPlatforms));
    assert_eq!(spec("arm64/arm64/git"), spec("arm64/git"));
}

#[test]
fn order_and_repetition_make_no_difference() {
    assert_eq!(spec("git/htop"), spec("htop/git/htop"));
}

#[test]
fn knows_whether_a_shell_was_asked_for() {
    for (name, expected) in
        [("shell", true), ("git/bash", true), ("bashinteractive", true), ("git", false)]
    {
        assert_eq!(spec(name).has_shell(), expected, "{name}");
    }
}

#[test]
fn refuses_what_the_specification_does_not_allow() {
    let long = "a".repeat(256);
    for wrong in [
        "", "/", "a//b", "/a", "a/", "Git", "a b", "a.", ".a", "a..b", "a___b", "-a", "a-", "..",
        "a/../b", "é", "a%2fb", "a:b", "a\0", &long,
    ] {
        assert!(wrong.parse::<ImageName>().is_err(), "{wrong:?} was accepted");
    }
    for right in ["a", "0ad", "a.b", "a_b", "a__b", "a---b", "python3packages.requests", "x/y/z"] {
        assert!(right.parse::<ImageName>().is_ok(), "{right:?} was refused");
    }
    // It said "single '.', '_' or '-'", although the two last of `right` are accepted.
    let error = "a___b".parse::<ImageName>().unwrap_err().to_string();
    assert!(error.ends_with("one '.', one or two '_', or any number of '-' between them"));
}

proptest! {
    #[test]
    fn names_round_trip(name in "[a-z0-9]{1,8}([._-][a-z0-9]{1,5}){0,2}(/[a-z0-9]{1,8}(__[a-z0-9]{1,4})?){0,5}") {
        let parsed: ImageName = name.parse().unwrap();
        prop_assert_eq!(parsed.to_string(), name);
        prop_assert_eq!(parsed.to_string().parse::<ImageName>().unwrap(), parsed);
    }

    #[test]
    fn any_string_is_accepted_or_refused_as_the_grammar_says(name in "[a-c._/A-]{0,12}") {
        let grammar = regex::Regex::new(
            r"\A[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*\z",
        ).unwrap();
        prop_assert_eq!(name.parse::<ImageName>().is_ok(), grammar.is_match(&name));
    }

    #[test]
    fn no_order_of_the_packages_matters(
        mut names in proptest::collection::vec("[a-z]{1,6}[0-9]", 1..6),
        seed in any::<usize>(),
    ) {
        let before = spec(&names.join("/"));
        let by = seed % names.len();
        names.rotate_left(by);
        names.reverse();
        prop_assert_eq!(spec(&names.join("/")), before);
    }
}

#[test]
fn fuzzed() {
    let grammar = regex::Regex::new(
        r"\A[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*\z",
    )
    .unwrap();
    let seeds = [
        "git",
        "shell/git/htop",
        "arm64/shell/python3packages.requests",
        "amd64/arm64/x",
        "a__b/a---b/0ad",
        "shell/shell/arm64",
    ];
    crate::fuzz::parser("image names", seeds).words(["shell", "arm64", "__", "-", "."]).run(
        |input| {
            let text = std::str::from_utf8(input).ok()?;
            let name = text.parse::<ImageName>();
            let _ = name.as_ref().map_err(ToString::to_string);
            let name = name.ok()?;
            let spec = name.expand(Platform::Amd64);
            Some((name, spec))
        },
        |input, parsed| {
            let text = std::str::from_utf8(input).unwrap_or("\0");
            let is_name = text.len() <= MAX_NAME_LENGTH && grammar.is_match(text);
            assert_eq!(parsed.is_some(), is_name);
            let Some((name, spec)) = parsed else { return };
            assert_eq!(name.as_str(), text);
            match spec {
                // What is said twice is as if said once.
                Ok(spec) => {
                    let last = text.rsplit('/').next().unwrap();
                    let twice = ImageName(format!("{text}/{last}"));
                    assert_eq!(twice.expand(Platform::Amd64), Ok(spec));
                }
                Err(error) => assert_eq!(error, InvalidName::TwoPlatforms),
            }
        },
    );
}
