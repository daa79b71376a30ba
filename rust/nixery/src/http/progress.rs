//! How a build goes on, or went, for people.

use std::fmt::Write;

use super::builds::{BuildView, ErrorView, step};
use super::figures::{duration, time};
use super::layout::escape;
use crate::assemble::Progress;

/// What a build goes through, as states of [`BuildView`] and in words. `assets/build.js`
/// marks the one in progress.
const STEPS: [(&str, &str); 5] = [
    ("looking", "Look up"),
    ("waiting", "Wait for others"),
    ("nix", "Nix"),
    ("packing", "Pack and store"),
    ("made", "Made"),
];

/// A state in a word or two, with a mark before it.
pub(super) fn badge(state: &str) -> String {
    let word = match state {
        "looking" => "looking up",
        "nix" => "Nix",
        other => other,
    };
    format!("<strong class=\"badge {state}\">{word}</strong>")
}

/// Names and what they have, which is HTML.
pub(super) fn details(rows: &[(&str, String)]) -> String {
    let rows = rows.iter().fold(String::new(), |text, (name, value)| {
        text + "<div><dt>" + name + "</dt><dd>" + value + "</dd></div>\n"
    });
    format!("<dl class=\"details\">\n{rows}</dl>\n")
}

/// What a build is doing, or what came of it. `shows_packages`: they are listed elsewhere on
/// the page.
pub(super) fn progress(build: &Progress, view: &BuildView, shows_packages: bool) -> String {
    let took = duration(view.seconds);
    let mut text = match view.state {
        "made" => format!("<p id=\"state\" class=\"made\">{} in {took}</p>\n", badge("made")),
        "failed" => format!(
            "<p id=\"state\" class=\"failed\">{} after {took}</p>\n{}",
            badge("failed"),
            steps(step(build.state().step), "failed")
        ),
        state => format!(
            "<p><span id=\"state\" role=\"status\"><strong>{words}</strong></span> \
             <span id=\"seconds\">{took}</span></p>\n{steps}\
             <progress id=\"stored\" aria-label=\"Layers that are stored\" max=\"{layers}\" value=\"{stored}\"{hidden}></progress>\n",
            words = words(view),
            steps = steps(state, "current"),
            layers = view.layers.max(1),
            stored = view.layers_stored,
            hidden = if state == "packing" { "" } else { " hidden" },
        ),
    };
    if let Some(ErrorView { message, .. }) = &view.error {
        let _ = writeln!(text, "<pre class=\"error\">{}</pre>", escape(message));
    }
    let mut rows = Vec::new();
    if !shows_packages {
        rows.push(("Packages", escape(&view.packages.join(", "))));
    }
    rows.push(("Platform", view.platform.clone()));
    rows.push(("Packages from", escape(&view.source)));
    if let Some(begun) = &view.begun {
        rows.push(("Begun", time(begun)));
    }
    text + &details(&rows)
}

/// What is being done, in words; as in `assets/build.js`.
fn words(view: &BuildView) -> String {
    match view.state {
        "looking" => "looking up what is known of its packages".to_owned(),
        "waiting" => "waiting for other builds".to_owned(),
        "nix" => "Nix is fetching or building".to_owned(),
        _ => format!("packing: {} of {} layers are stored", view.layers_stored, view.layers),
    }
}

/// All steps, with those before `at` done, and it itself being `class`.
fn steps(at: &str, class: &str) -> String {
    let here = STEPS.iter().position(|(state, _)| *state == at).unwrap_or_default();
    let mut text = "<ol id=\"steps\" aria-label=\"Steps\">\n".to_owned();
    for (index, (state, name)) in STEPS.iter().enumerate() {
        let mark = match index.cmp(&here) {
            std::cmp::Ordering::Less => " class=\"done\"".to_owned(),
            std::cmp::Ordering::Equal => format!(" class=\"{class}\" aria-current=\"step\""),
            std::cmp::Ordering::Greater => String::new(),
        };
        let _ = writeln!(text, "<li data-state=\"{state}\"{mark}>{name}</li>");
    }
    text.push_str("</ol>\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_before_the_one_in_progress_are_done() {
        assert_eq!(
            steps("nix", "failed"),
            "<ol id=\"steps\" aria-label=\"Steps\">\n\
             <li data-state=\"looking\" class=\"done\">Look up</li>\n\
             <li data-state=\"waiting\" class=\"done\">Wait for others</li>\n\
             <li data-state=\"nix\" class=\"failed\" aria-current=\"step\">Nix</li>\n\
             <li data-state=\"packing\">Pack and store</li>\n\
             <li data-state=\"made\">Made</li>\n</ol>\n"
        );
    }
}
