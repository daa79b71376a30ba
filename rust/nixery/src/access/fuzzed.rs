//! Whatever clients present, and files of users and rules say, is read or refused.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use regex::{Regex, bytes};

use super::{ANONYMOUS, Caller, Passwords, Presented, Right, Rule, Rules, Tokens};
use crate::fuzz::parser;
use crate::image::{ALWAYS, ImageName, ImageSpec, SHELL};
use crate::platform::Platform;

#[test]
fn authorization() {
    let seeds = [
        format!("Basic {}", STANDARD.encode("ann:open sesame")),
        format!("Bearer basic.{}", URL_SAFE_NO_PAD.encode("ann:open sesame")),
        "Bearer anonymous".to_owned(),
        "Bearer 0123456789abcdef".to_owned(),
        "Basic Og==".to_owned(),
    ];
    parser("Authorization", seeds).words(["Basic ", "Bearer ", "basic.", "Og==", "==", ":"]).run(
        |input| Presented::parse(input).ok(),
        |_, presented| {
            // What is exchanged for a token means the same.
            let Some(presented) = presented.filter(|it| *it != Presented::Nothing) else { return };
            let exchanged = format!("Bearer {}", presented.token());
            assert_eq!(Presented::parse(exchanged.as_bytes()), Ok(presented));
        },
    );
}

#[test]
fn rules() {
    let seeds = [
        "anonymous may pull",
        "* may build",
        "ann, ci may build corp.* git **.x",
        "ann may pull git",
    ];
    parser("access rules", seeds)
        .words([" may ", "pull", "build", "**", "*.", ", "])
        .factor(256)
        .run(
            |input| {
                std::str::from_utf8(input).ok()?.parse::<Rule>().map_err(|e| e.to_string()).ok()
            },
            |_, rule| {
                let Some(rule) = rule else { return };
                let printed = rule.to_string();
                assert_eq!(printed.parse::<Rule>().map(|rule| rule.to_string()), Ok(printed));
            },
        );
}

/// Lines: a user, or nothing; the name of an image; rules.
fn question(input: &[u8]) -> Option<(&str, ImageSpec, Vec<&str>)> {
    let mut lines = std::str::from_utf8(input).ok()?.lines();
    let (user, name) = (lines.next()?, lines.next()?.parse::<ImageName>().ok()?);
    Some((user, name.expand(Platform::Amd64).ok()?, lines.collect()))
}

/// What a pattern says of a name, which is ASCII, written as a regular expression: as the
/// book has it, and without a look at how [`Rules`] do it.
fn expression(pattern: &str) -> bytes::Regex {
    let (mut text, mut rest) = (String::new(), pattern.to_lowercase());
    while let Some(first) = rest.chars().next() {
        let (taken, meaning) = match first {
            '*' if rest.starts_with("**.") => (3, "([^.]+[.])*".to_owned()),
            '*' if rest == "**" => (2, "[^.]+([.][^.]+)*".to_owned()),
            '*' => (1, "[^.]*".to_owned()),
            '?' => (1, "[^.]".to_owned()),
            '[' => {
                let is_not = rest[1..].starts_with('!');
                let begin = 1 + usize::from(is_not);
                // The first one is never the end.
                let first = rest[begin..].chars().next().unwrap().len_utf8();
                let end = begin + first + rest[begin + first..].find(']').unwrap();
                (end + 1, one_of(&rest[begin..end], is_not))
            }
            other if other.is_ascii() => (1, format!("\\x{:02x}", other as u32)),
            other => (other.len_utf8(), NOTHING.to_owned()),
        };
        text.push_str(&meaning);
        rest.drain(..taken);
    }
    let text = format!(r"(?s-u)\A(?:{text})\z");
    bytes::RegexBuilder::new(&text).size_limit(64 << 20).build().unwrap()
}

const NOTHING: &str = r"[^\x00-\xff]";

/// One character of these, or one of all others; never a dot.
fn one_of(listed: &str, is_not: bool) -> String {
    let (mut ranges, listed) = (String::new(), listed.chars().collect::<Vec<_>>());
    let mut rest = &listed[..];
    while let [from, after @ ..] = rest {
        let (to, after) = match after {
            ['-', to, after @ ..] => (to, after),
            _ => (from, after),
        };
        // Backwards there is nothing between them.
        let (from, to) = (*from as u32, (*to as u32).min(0x7f));
        if from <= to {
            let _ = write!(ranges, "\\x{from:02x}-\\x{to:02x}");
        }
        rest = after;
    }
    match (is_not, ranges.is_empty()) {
        (false, true) => NOTHING.to_owned(),
        (false, false) => format!("[[{ranges}]&&[^.]]"),
        (true, _) => format!("[^.{ranges}]"),
    }
}

/// Against a second reading of the rules.
#[test]
fn what_rules_allow() {
    let words = r"[, \t\r]+";
    let rule = format!(r"\A[, \t\r]*([^, \t\r].*?){words}may{words}(pull|build)(?:{words}(.*))?\z");
    let rule = Regex::new(&rule).unwrap();
    let split = |text: &str| -> Vec<String> {
        let words = text.split([',', ' ', '\t', '\r']).filter(|word| !word.is_empty());
        words.map(str::to_owned).collect()
    };
    let seeds = [
        "ann\nshell/git/corp.tool\nann, ci may build corp.* git\n* may pull shell",
        "\ngit\nanonymous may pull\nann may build",
        "ann\npython3packages.pkgs.secret/a.b\nann may pull python3packages.** **.b\n",
        "may\narm64/git-lfs/x1\nmay may build git-[a-m]?[!0-9]* x?",
    ];
    parser("what rules allow", seeds)
        .words([" may ", "pull", "build", "**.", "**", "*.", ", ", "\n", "[!", "[a-z]", "shell"])
        .factor(1024)
        .quick(500)
        .run(
            |input| {
                let (user, spec, rules) = question(input)?;
                let rules = rules.iter().map(|rule| rule.parse().ok()).collect::<Option<_>>()?;
                let caller = match user {
                    "" => Caller::Anonymous,
                    user => Caller::User(user.into()),
                };
                let rules = Rules::new(rules);
                let allow = |right| rules.allow(&caller, right, &spec);
                Some([Right::Pull, Right::Build].map(allow))
            },
            |input, answers| {
                let Some(answers) = answers else { return };
                let (user, spec, rules) = question(input).unwrap();
                for (right, answer) in ["pull", "build"].into_iter().zip(answers) {
                    let mut patterns = Vec::new();
                    for text in &rules {
                        let parts = rule.captures(text).unwrap();
                        let is_for = |who: &String| {
                            let is_user = !user.is_empty() && (who == "*" || who == user);
                            who == ANONYMOUS || is_user
                        };
                        let gives = &parts[2] == "build" || right == "pull";
                        if gives && split(&parts[1]).iter().any(is_for) {
                            let listed =
                                parts.get(3).map_or(Vec::new(), |list| split(list.as_str()));
                            let all = listed.is_empty().then(|| "**".to_owned());
                            patterns.extend(listed.into_iter().chain(all));
                        }
                    }
                    let has = |package: &str| {
                        ALWAYS.contains(&package)
                            || patterns.iter().any(|pattern| {
                                pattern == "shell" && SHELL.contains(&package)
                                    || expression(pattern)
                                        .is_match(package.to_lowercase().as_bytes())
                            })
                    };
                    let refused = spec.packages().filter(|package| !has(package));
                    let refused: Vec<String> = refused.map(str::to_owned).collect();
                    let expected = match (patterns.is_empty(), refused.is_empty()) {
                        (true, _) => Err(Vec::new()),
                        (false, true) => Ok(()),
                        (false, false) => Err(refused),
                    };
                    assert_eq!(answer, expected, "{right}");
                }
            },
        );
}

#[test]
fn files_of_users() {
    let hash = "$2y$04$DHRNPAmxKk/F0y5E56evvOar7/QB3T.9dwwzjlJBju8rtQb2K2fZm";
    let seeds = [
        format!("# users\nann:{hash}\nbob:{hash}\r\n"),
        "ci:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae\n".to_owned(),
    ];
    let words = ["$2y$", "$apr1$", "{SHA}", ":", "\n", "#"];
    parser("files of passwords", seeds.clone()).words(words).run(
        |input| {
            std::str::from_utf8(input).ok()?.parse::<Passwords>().map_err(|e| e.to_string()).ok()
        },
        |_, _| {},
    );
    parser("files of tokens", seeds).words(words).run(
        |input| std::str::from_utf8(input).ok()?.parse::<Tokens>().map_err(|e| e.to_string()).ok(),
        |_, _| {},
    );
}
