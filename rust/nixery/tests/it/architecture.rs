//! Data flows one way through the modules of the server.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules in layers: each may use only modules of lower layers, and those
/// that stand beside it where that is said.
const LAYERS: [&[&str]; 10] = [
    &["main"],
    &["serve"],
    &["http", "config", "popularity", "telemetry"],
    &["assemble", "gc", "catalogue"],
    &["pin"],
    &["cache"],
    &["nix", "archive"],
    &["storage"],
    &["process", "flights", "concurrent", "systemd", "disk", "places", "small_file"],
    &[
        "access",
        "layers",
        "oci",
        "image",
        "source",
        "platform",
        "store_path",
        "error_chain",
        "counters",
    ],
];

/// Arrows within one layer.
const BESIDE: [(&str, &str); 10] = [
    ("telemetry", "config"),
    ("layers", "store_path"),
    ("image", "platform"),
    ("oci", "platform"),
    ("layers", "oci"),
    ("source", "platform"),
    ("source", "image"),
    ("image", "source"),
    ("source", "store_path"),
    ("access", "image"),
];

/// What pure modules don't use.
const IMPURE: [&str; 6] = ["tokio", "axum", "std::fs", "std::net", "std::process", "std::env::var"];

fn layer(module: &str) -> usize {
    LAYERS
        .iter()
        .position(|modules| modules.contains(&module))
        .unwrap_or_else(|| panic!("the module {module} is in no layer: put it into one"))
}

/// Every source file with the module at the top that it belongs to; tests left
/// out, which may use what they like.
fn sources() -> Vec<(String, PathBuf)> {
    fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, files);
            } else {
                files.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    let is_test = |file: &Path| {
        let name = file.file_name().unwrap().to_str().unwrap();
        ["tests.rs", "fuzzed.rs", "contract.rs", "fixture.rs", "generated.rs"].contains(&name)
            || file.parent().unwrap().ends_with("tests")
    };
    files
        .into_iter()
        .filter(|file| !is_test(file))
        .map(|file| {
            let relative = file.strip_prefix(&root).unwrap();
            let top = relative.components().next().unwrap().as_os_str().to_str().unwrap();
            (top.trim_end_matches(".rs").to_owned(), file)
        })
        .filter(|(module, _)| module != "lib")
        .collect()
}

/// The code of a file without its tests and comments.
fn code(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    code.lines().filter(is_code).collect::<Vec<_>>().join("\n")
}

#[test]
fn arrows_point_down() {
    let arrow = regex::Regex::new(r"(?-u:\b)(?:crate|nixery)::(\{[^}]*\}|[a-z_]+)").unwrap();
    let mut seen = BTreeSet::new();
    for (module, file) in sources() {
        for found in arrow.captures_iter(&code(&file)) {
            let names = found[1].trim_matches(['{', '}']);
            for used in names.split(',').map(|name| name.trim().split(':').next().unwrap()) {
                let beside = BESIDE.contains(&(module.as_str(), used));
                let allowed = used == module || beside || layer(&module) < layer(used);
                assert!(allowed, "{} uses {used}", file.display());
                seen.insert((module.clone(), used.to_owned()));
            }
        }
    }
    // The test would pass if it found no arrows at all.
    for (from, to) in [("main", "config"), ("http", "assemble"), ("assemble", "nix")] {
        assert!(seen.contains(&(from.to_owned(), to.to_owned())), "{from} → {to} not seen");
    }
}

#[test]
fn the_lowest_modules_are_pure() {
    for (module, file) in sources() {
        if layer(&module) == LAYERS.len() - 1 {
            let code = code(&file);
            for impure in IMPURE {
                assert!(!code.contains(impure), "{} uses {impure}", file.display());
            }
        }
    }
}

#[test]
fn only_main_and_what_puts_things_together_read_the_configuration() {
    for (module, file) in sources() {
        if !["main", "serve", "telemetry", "config"].contains(&module.as_str()) {
            assert!(!code(&file).contains("crate::config"), "{}", file.display());
        }
    }
}
