//! Whatever clients present, and files of users and rules say, is read or refused.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::{Passwords, Presented, Rule, Tokens};
use crate::fuzz::parser;

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
