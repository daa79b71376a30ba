//! The reference of the configuration is made of the settings in the code.

use std::env;
use std::fmt::Write as _;
use std::fs;

use nixery::config::settings::{SETTINGS, Setting};

use crate::harness::repository;

const PAGE: &str = "book/src/reference/configuration.md";
const HEAD: &str = "| key | variable | default | meaning |\n| --- | --- | --- | --- |\n";
/// What comes behind the sections of the tables.
const AFTER: &str = "\n## The state directory\n";

fn table_of(setting: &Setting) -> &'static str {
    setting.key.split_once('.').unwrap().0
}

/// The names of the tables, in the order of the code, each once.
fn tables() -> Vec<&'static str> {
    let mut tables: Vec<&str> = Vec::new();
    for table in SETTINGS.iter().map(table_of) {
        if !tables.contains(&table) {
            tables.push(table);
        }
    }
    tables
}

fn row(setting: &Setting) -> String {
    let Setting { key, variable, default, help, .. } = *setting;
    assert!(!default.contains('|') && !help.contains('|'), "{key}: | ends a cell");
    assert!(help.ends_with(['.', ')']), "{key}: its meaning is not whole sentences: {help}");
    let default = match default {
        "" => String::new(),
        constant if !constant.contains([' ', '`', '[']) => format!(" `{constant}`"),
        words => format!(" {words}"),
    };
    format!("| `{key}` | `{variable}` |{default} | {help} |\n")
}

fn rendered(table: &str) -> String {
    let rows = SETTINGS.iter().filter(|setting| table_of(setting) == table).map(row);
    HEAD.to_owned() + &rows.collect::<String>()
}

/// `page` with the tables as they are in the code, and a section for each that has none.
/// What else is written there stays.
fn renewed(page: &str) -> String {
    let mut page = page.to_owned();
    for table in tables() {
        let heading = format!("### `[{table}]`\n");
        if !page.contains(&heading) {
            let end = page.find(AFTER).unwrap();
            page.insert_str(end, &format!("\n{heading}\n{HEAD}"));
        }
        let section = page.find(&heading).unwrap() + heading.len();
        let begin = page[section..].find(HEAD).map(|at| section + at);
        let begin = begin.unwrap_or_else(|| panic!("{heading} has no table: {HEAD}"));
        let rows = page[begin..].split_inclusive('\n').take_while(|line| line.starts_with('|'));
        let end = begin + rows.map(str::len).sum::<usize>();
        page.replace_range(begin..end, &rendered(table));
    }
    page
}

#[test]
fn the_tables_are_those_of_the_code() {
    let path = repository().join(PAGE);
    let page = fs::read_to_string(&path).unwrap();
    let wanted = renewed(&page);
    if env::var_os("NIXERY_WRITE_BOOK").is_some() {
        fs::write(&path, &wanted).unwrap();
    } else {
        let mut differences = String::new();
        for line in wanted.lines().filter(|&line| !page.lines().any(|other| other == line)) {
            writeln!(differences, "in the code: {line}").unwrap();
        }
        for line in page.lines().filter(|&line| !wanted.lines().any(|other| other == line)) {
            writeln!(differences, "on the page: {line}").unwrap();
        }
        assert!(
            page == wanted,
            "{PAGE} differs from config/settings.rs; NIXERY_WRITE_BOOK=1 writes it\n{differences}"
        );
    }

    let sections: Vec<&str> =
        wanted.lines().filter_map(|line| line.strip_prefix("### `[")?.strip_suffix("]`")).collect();
    assert_eq!(sections, tables(), "sections of {PAGE}, and tables of settings in their order");
}

#[test]
fn a_setting_that_is_new_or_gone_is_seen() {
    // Whatever is on the page now, so that this holds while it is being written.
    let page = renewed(&fs::read_to_string(repository().join(PAGE)).unwrap());
    let [first, .., last] = SETTINGS else { panic!("there are no settings") };
    let without = page.replace(&row(first), "");
    assert!(without != page, "{} has no row", first.key);
    assert!(renewed(&without) == page, "the row of {} doesn't come again", first.key);

    let unknown = row(&Setting { key: "server.unknown", ..*first });
    let with_more = page.replace(&row(first), &(row(first) + &unknown));
    assert!(renewed(&with_more) == page, "a row of no setting stays");

    // A whole section: it comes again behind the others, with nothing but its table.
    let table = table_of(last);
    let begin = page.find(&format!("\n### `[{table}]`\n")).unwrap();
    let end = page.find(AFTER).unwrap();
    let cut = format!("{}{}", &page[..begin], &page[end..]);
    let section = format!("\n### `[{table}]`\n\n{}{AFTER}", rendered(table));
    assert!(renewed(&cut).contains(&section), "the section of {table} doesn't come again");
}
