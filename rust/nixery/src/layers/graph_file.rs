//! A closure graph with its roots, as a file for looking at layers.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Closure;
use crate::store_path::StorePath;

/// A closure and the packages it was made for. In JSON either
/// `{"roots": [path…], "graph": [node…]}` or the builder's reply,
/// `{"packages": [{"path": …}…], "graph": [node…]}`; further keys are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Document")]
pub struct GraphFile {
    /// Store paths of the image's packages.
    pub roots: Vec<StorePath>,
    /// Everything they need.
    #[serde(rename = "graph")]
    pub closure: Closure,
}

/// Why a JSON document with a graph is not a graph file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum GraphFileError {
    /// Neither form of roots.
    #[error("the graph has no roots: expected \"roots\" (a list of store paths) or \"packages\"")]
    NoRoots,
    /// Both forms of roots.
    #[error("the graph has both \"roots\" and \"packages\": leave one of them out")]
    TwoKindsOfRoots,
}

#[derive(Deserialize)]
struct Document {
    roots: Option<Vec<StorePath>>,
    packages: Option<Vec<Package>>,
    graph: Closure,
}

#[derive(Deserialize)]
struct Package {
    path: StorePath,
}

impl TryFrom<Document> for GraphFile {
    type Error = GraphFileError;

    fn try_from(document: Document) -> Result<Self, Self::Error> {
        let roots = match (document.roots, document.packages) {
            (Some(roots), None) => roots,
            (None, Some(packages)) => packages.into_iter().map(|package| package.path).collect(),
            (None, None) => return Err(GraphFileError::NoRoots),
            (Some(_), Some(_)) => return Err(GraphFileError::TwoKindsOfRoots),
        };
        Ok(Self { roots, closure: document.graph })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::tests::path;
    use crate::layers::{Popularity, group};

    const PATH: &str = "/nix/store/00000000000000000000000000000000-a-1";

    #[test]
    fn reads_both_forms() {
        let graph = format!(
            r#""graph":[{{"path":"{PATH}","nar_size":7,"references":["{PATH}"],"deriver":null}}]"#
        );
        for roots in [
            format!(r#""roots":["{PATH}"]"#),
            format!(r#""packages":[{{"attribute":"a","path":"{PATH}"}}]"#),
        ] {
            let file: GraphFile = serde_json::from_str(&format!("{{{roots},{graph}}}")).unwrap();
            assert_eq!(file.roots, [path("a-1")]);
            assert_eq!(file.closure.total_nar_size(), 7);

            let written = serde_json::to_string(&file).unwrap();
            assert_eq!(serde_json::from_str::<GraphFile>(&written).unwrap(), file);
        }
    }

    #[test]
    fn wants_exactly_one_kind_of_roots() {
        let read = |json: &str| serde_json::from_str::<GraphFile>(json).unwrap_err().to_string();
        assert!(read(r#"{"graph":[]}"#).contains("no roots"));
        assert!(read(r#"{"graph":[],"roots":[],"packages":[]}"#).contains("both"));
    }

    #[test]
    fn fuzzed() {
        let node = |name: char, references: &str| {
            let path = PATH.replace("-a-1", &format!("-{name}-1"));
            format!(
                r#"{{"path":"{path}","nar_size":7,"references":[{references}],"deriver":null}}"#
            )
        };
        let other = PATH.replace("-a-1", "-b-1");
        let both =
            [node('a', &format!("\"{other}\",\"{PATH}\"")), node('b', &format!("\"{PATH}\""))];
        let graph = both.join(",");
        let seeds = [
            format!(r#"{{"roots":["{PATH}"],"graph":[{graph}]}}"#),
            format!(r#"{{"packages":[{{"attribute":"a","path":"{PATH}"}}],"graph":[{graph}]}}"#),
        ];
        let words = [PATH, &other, &both[0], &both[1], r#""nar_size":"#, r#""references":"#];
        crate::fuzz::parser("closure graphs", seeds).words(words).factor(64).run(
            |input| serde_json::from_slice::<GraphFile>(input).map_err(|e| e.to_string()).ok(),
            |_, parsed| {
                let Some(file) = parsed else { return };
                let text = serde_json::to_vec(&file).unwrap();
                assert_eq!(serde_json::from_slice::<GraphFile>(&text).unwrap(), file);
                assert_eq!(Closure::new(file.closure.nodes().to_vec()).as_ref(), Ok(&file.closure));
                assert_eq!(Closure::merge([&file.closure, &file.closure]), file.closure);
                let nodes = file.closure.nodes();
                assert!(nodes.windows(2).all(|pair| pair[0].path < pair[1].path));
                // Whatever graph it is, each path comes into one layer.
                let layers = group(&file.closure, &file.roots, &Popularity::empty(), 5);
                let are_there = file.roots.iter().all(|root| file.closure.contains(root));
                assert_eq!(layers.is_ok(), are_there);
                let Ok(layers) = layers else { return };
                let mut paths: Vec<_> = layers.iter().flat_map(|layer| &layer.paths).collect();
                paths.sort_unstable();
                assert!(layers.len() <= 5 && paths.into_iter().eq(nodes.iter().map(|n| &n.path)));
            },
        );
    }
}
