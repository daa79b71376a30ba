//! The documentation leads somewhere, and knows of every setting.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use nixery::config::settings::SETTINGS;
use regex::Regex;

use crate::harness::repository;

/// All pages: of the book, and those at the top of the repository.
fn pages() -> Vec<PathBuf> {
    fn collect(directory: &Path, pages: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, pages);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    let root = repository();
    let mut pages: Vec<PathBuf> =
        ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|name| root.join(name)).into();
    collect(&root.join("book/src"), &mut pages);
    pages
}

/// A page without its blocks of code.
fn prose(page: &Path) -> String {
    let text =
        fs::read_to_string(page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
    let mut is_code = false;
    let mut prose = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    prose
}

/// The anchors of a page's headings, as mdBook and GitHub make them of the text.
fn anchors(page: &Path) -> BTreeSet<String> {
    let link = Regex::new(r"\[([^\]]*)\]\([^)]*\)").unwrap();
    let prose = prose(page);
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let text = link.replace_all(line.trim_start_matches('#').trim(), "$1").to_lowercase();
            let kept = |c: &char| c.is_alphanumeric() || " -_".contains(*c);
            text.chars().filter(kept).map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

#[test]
fn links_lead_to_pages_and_headings_that_exist() {
    let link = Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for page in pages() {
        for found in link.captures_iter(&prose(&page)) {
            let target = &found[1];
            // The last two are pages of the server that serves the book.
            if target.contains("://")
                || target.starts_with("mailto:")
                || ["/", "/builds"].contains(&target)
            {
                continue;
            }
            seen += 1;
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file =
                if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            let is_there = file.exists() && (anchor.is_empty() || anchors(&file).contains(anchor));
            if !is_there {
                wrong.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 100, "only {seen} links were found");
}

#[test]
fn every_page_is_in_the_summary() {
    let summary = fs::read_to_string(repository().join("book/src/SUMMARY.md")).unwrap();
    let source = repository().join("book/src");
    for page in pages() {
        let Ok(name) = page.strip_prefix(&source) else { continue };
        let name = name.to_str().unwrap();
        assert!(name == "SUMMARY.md" || summary.contains(&format!("({name})")), "{name}");
    }
}

/// Other keys are let through there, but have no type and no description.
#[test]
fn every_setting_is_an_option_of_the_nixos_module() {
    let text = fs::read_to_string(repository().join("modules/settings.nix")).unwrap();
    for setting in SETTINGS {
        let (table, name) = setting.key.split_once('.').unwrap();
        let options = text.split(&format!("\n  {table} = {{\n")).nth(1);
        let options = options.and_then(|rest| rest.split("\n  };\n").next()).unwrap_or_default();
        assert!(options.contains(&format!("    {name} =")), "{} is missing", setting.key);
    }
}
