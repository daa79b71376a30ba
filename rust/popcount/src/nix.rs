//! The closure of store paths of this machine, as Nix knows it.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use serde::Deserialize;
use thiserror::Error;
use tokio::process::Command;

use crate::narinfo::Narinfo;
use crate::store_path::BaseName;

/// Asks nobody else, and works where new commands are not enabled.
const OPTIONS: [&str; 6] = [
    "--extra-experimental-features",
    "nix-command",
    "--offline",
    "path-info",
    "--json",
    "--recursive",
];

/// Newer versions warn without it, and 2.8 doesn't know it.
const NEWER: [&str; 2] = ["--json-format", "1"];

/// Why there is no closure.
#[derive(Debug, Error)]
pub enum NixError {
    /// A path that can't be made absolute.
    #[error("can't use {path}")]
    Path {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something that is there, but not in a store.
    #[error("{path} is not in the Nix store: expected a store path, or a link to one")]
    NotInStore {
        /// The path.
        path: PathBuf,
    },
    /// There is no Nix, or it can't be run.
    #[error("can't run nix; it must be on PATH")]
    Run(#[source] io::Error),
    /// It has said why itself.
    #[error("nix path-info failed ({status}); what it says stands above")]
    Failed {
        /// How it ended.
        status: ExitStatus,
    },
    /// It speaks another language than any version that is known.
    #[error("nix path-info prints something that is not understood")]
    Json(#[from] serde_json::Error),
    /// A path that is none.
    #[error("nix path-info prints {path:?}, which is not a store path")]
    StorePath {
        /// What it prints.
        path: String,
    },
}

/// What `nix path-info` prints: Nix 2.34 with format 2; with format 1, or 2.26;
/// and 2.8.
#[derive(Deserialize)]
#[serde(untagged)]
enum PathInfo {
    Wrapped { info: HashMap<String, Info> },
    Map(HashMap<String, Info>),
    List(Vec<Listed>),
}

#[derive(Deserialize)]
struct Info {
    references: Vec<String>,
}

#[derive(Deserialize)]
struct Listed {
    path: String,
    references: Vec<String>,
}

/// All that `paths` need, each once, with what it refers to. A path may be a link to
/// one, or something in one.
pub async fn closure(paths: &[PathBuf]) -> Result<Vec<Narinfo>, NixError> {
    // What looks like a name would be a flake's.
    let absolute = |path: &PathBuf| {
        std::path::absolute(path).map_err(|source| NixError::Path { path: path.clone(), source })
    };
    let paths = paths.iter().map(absolute).collect::<Result<Vec<_>, _>>()?;
    if let Some(path) = paths.iter().find(|path| is_elsewhere(path)) {
        return Err(NixError::NotInStore { path: path.clone() });
    }
    let output = match path_info(&NEWER, &paths, Stdio::null()).await {
        Err(NixError::Failed { .. }) => path_info(&[], &paths, Stdio::inherit()).await?,
        result => result?,
    };
    parse(&output)
}

/// Whether something is there, and not in a store, of which Nix would say that it is no flake.
fn is_elsewhere(path: &Path) -> bool {
    path.canonicalize().is_ok_and(|path| {
        !path.components().any(|component| {
            component.as_os_str().to_str().is_some_and(|name| BaseName::new(name).is_some())
        })
    })
}

async fn path_info(
    options: &[&str],
    paths: &[impl AsRef<Path>],
    errors: Stdio,
) -> Result<Vec<u8>, NixError> {
    let mut command = Command::new("nix");
    command.args(OPTIONS).args(options).args(paths.iter().map(AsRef::as_ref));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors).kill_on_drop(true);
    // Not `output`, which would take what it says of errors too.
    let child = command.spawn().map_err(NixError::Run)?;
    let output = child.wait_with_output().await.map_err(NixError::Run)?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(NixError::Failed { status: output.status })
    }
}

fn parse(json: &[u8]) -> Result<Vec<Narinfo>, NixError> {
    let entries: Vec<(String, Vec<String>)> = match serde_json::from_slice(json)? {
        PathInfo::Wrapped { info } | PathInfo::Map(info) => {
            info.into_iter().map(|(path, info)| (path, info.references)).collect()
        }
        PathInfo::List(list) => {
            list.into_iter().map(|listed| (listed.path, listed.references)).collect()
        }
    };
    let narinfo = |(path, references): (String, Vec<String>)| {
        let references = references.iter().map(|path| base_name(path)).collect::<Result<_, _>>()?;
        Ok(Narinfo { path: base_name(&path)?, references })
    };
    entries.into_iter().map(narinfo).collect()
}

/// Of a whole path, or of what is a base name already, as in format 2.
fn base_name(path: &str) -> Result<BaseName, NixError> {
    let found = BaseName::of_path(path).or_else(|| BaseName::new(path));
    found.ok_or_else(|| NixError::StorePath { path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store_path::tests::base;

    const BASH: &str = "00000000000000000000000000000000-bash-5.2";
    const GLIBC: &str = "11111111111111111111111111111111-glibc-2.40";

    #[test]
    fn reads_what_each_version_prints() {
        let store = "/nix/store/";
        let shapes = [
            format!(
                r#"[{{"path":"{store}{BASH}","narSize":1,"references":["{store}{GLIBC}"]}},
                    {{"path":"{store}{GLIBC}","narSize":1,"references":[]}}]"#
            ),
            format!(
                r#"{{"{store}{BASH}":{{"narSize":1,"references":["{store}{GLIBC}"]}},
                    "{store}{GLIBC}":{{"narSize":1,"references":[]}}}}"#
            ),
            format!(
                r#"{{"info":{{"{BASH}":{{"narSize":1,"references":["{GLIBC}"]}},
                    "{GLIBC}":{{"narSize":1,"references":[]}}}},"storeDir":"/nix/store","version":2}}"#
            ),
        ];
        let (bash, glibc) = (base('0', "bash-5.2"), base('1', "glibc-2.40"));
        for shape in shapes {
            let mut closure = parse(shape.as_bytes()).unwrap();
            closure.sort_by(|one, other| one.path.as_str().cmp(other.path.as_str()));
            let expected = [
                Narinfo { path: bash.clone(), references: vec![glibc.clone()] },
                Narinfo { path: glibc.clone(), references: vec![] },
            ];
            assert_eq!(closure, expected, "{shape}");
        }
    }

    #[test]
    fn refuses_what_no_version_prints() {
        for wrong in ["", "7", "[7]", r#"{"/nix/store/x":null}"#, r#"{"info":7}"#] {
            assert!(matches!(parse(wrong.as_bytes()), Err(NixError::Json(_))), "{wrong}");
        }
        let wrong = r#"{"bash":{"references":[]}}"#;
        assert!(matches!(parse(wrong.as_bytes()), Err(NixError::StorePath { .. })));
    }

    #[test]
    fn fuzzed() {
        let node =
            format!(r#""/nix/store/{BASH}":{{"narSize":1,"references":["/nix/store/{GLIBC}"]}}"#);
        let seeds = [
            format!(r#"[{{"path":"/nix/store/{BASH}","narSize":1,"references":["/x/{GLIBC}"]}}]"#),
            format!("{{{node}}}"),
            format!(r#"{{"info":{{{node}}},"storeDir":"/nix/store","version":2}}"#),
        ];
        let words = [&node[..], r#""references":["#, r#""path":"#, r#""info":"#];
        crate::fuzz::parser("nix path-info", seeds).words(words).factor(96).quick(1000).run(
            |input| parse(input).map_err(|error| error.to_string()).ok(),
            |input, parsed| assert!(parsed.is_none_or(|all| all.len() <= input.len())),
        );
    }
}
