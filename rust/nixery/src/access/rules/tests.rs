use proptest::prelude::*;

use super::*;
use crate::image::ImageName;
use crate::platform::Platform;

fn rules(texts: &[&str]) -> Rules {
    Rules::new(texts.iter().map(|text| text.parse().unwrap()).collect())
}

fn allow(rules: &Rules, user: &str, right: Right, image: &str) -> Result<(), Vec<String>> {
    let caller = match user {
        "" => Caller::Anonymous,
        user => Caller::User(user.into()),
    };
    let spec = image.parse::<ImageName>().unwrap().expand(Platform::Amd64).unwrap();
    rules.allow(&caller, right, &spec)
}

#[test]
fn who_may_build_may_pull_and_what_anonymous_may_all_may() {
    let rules = rules(&["anonymous may pull", "ann may build git", "* may pull"]);
    for (user, right, image, allowed) in [
        ("", Right::Pull, "htop", true),
        ("", Right::Build, "git", false),
        ("ann", Right::Build, "git", true),
        ("ann", Right::Pull, "htop", true),
        ("ann", Right::Build, "git/htop", false),
        ("bob", Right::Pull, "htop", true),
        ("bob", Right::Build, "git", false),
    ] {
        assert_eq!(allow(&rules, user, right, image).is_ok(), allowed, "{user} {right:?} {image}");
    }
}

#[test]
fn every_package_must_be_allowed_in_whatever_order_it_is_asked_for() {
    let rules = rules(&["ann may build corp.*", "ann may build git, shell"]);
    let build = |image: &str| allow(&rules, "ann", Right::Build, image);
    assert_eq!(build("corp.tool/git"), Ok(()));
    assert_eq!(build("shell/git"), Ok(()));
    assert_eq!(build("arm64/shell"), Ok(()));
    for image in ["git/htop", "htop/git", "shell/htop", "htop/shell"] {
        assert_eq!(build(image), Err(vec!["htop".to_owned()]), "{image}");
    }
    assert_eq!(allow(&rules, "bob", Right::Pull, "arm64"), Err(Vec::new()));
}

#[test]
fn what_is_no_rule_is_refused_with_what_would_be_one() {
    for (text, expected) in [
        ("", "expected WHO may pull"),
        ("may pull", "expected WHO may pull"),
        ("ann may", "expected WHO may pull"),
        ("ann may push", "expected WHO may pull"),
        ("ann: may pull", "is not the name of a user"),
        ("ann may pull corp/tool", "no slashes"),
        ("ann may pull a**", "not a pattern of packages"),
        ("ann may pull [a", "not a pattern of packages"),
        // It was taken for `corp.**`, and `**.` for everything.
        ("ann may pull corp.**.", "nothing between two dots"),
        ("ann may pull **.", "nothing between two dots"),
        ("ann may pull, bob may build git", "separated by a semicolon"),
        ("ann may pull\nmay pull", "separated by a semicolon"),
    ] {
        let error = text.parse::<Rule>().unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    let odd: Rule = "may may build may git build".parse().unwrap();
    assert_eq!(odd.to_string(), "may may build may git build");
}

proptest! {
    #[test]
    fn any_text_is_a_rule_that_is_written_as_itself_or_none(
        text in r"([a-z*?.@\[\]/,é]{0,5}[ ,]{0,2}(may )?(pull|build)? ?){0,6}",
    ) {
        if let Ok(rule) = text.parse::<Rule>() {
            prop_assert_eq!(rule.to_string().parse::<Rule>(), Ok(rule));
        }
    }

    #[test]
    fn no_text_at_all_is_too_much(text in any::<String>()) {
        let _ = text.parse::<Rule>();
    }

    #[test]
    fn the_order_of_a_name_makes_no_difference(
        mut names in proptest::collection::vec("[a-c]{1,2}(\\.[a-c])?", 1..5),
        pattern in "[a-c*?.]{1,4}",
    ) {
        let Ok(rule) = format!("ann may build {pattern}").parse::<Rule>() else { return Ok(()) };
        let rules = Rules::new(vec![rule]);
        let before = allow(&rules, "ann", Right::Pull, &names.join("/"));
        names.reverse();
        prop_assert_eq!(allow(&rules, "ann", Right::Pull, &names.join("/")), before);
    }
}
