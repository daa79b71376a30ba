//! The list of store paths that a channel has.

use std::collections::HashSet;
use std::io::{self, Read};
use std::str;

use lzma_rust2::XzReader;
use thiserror::Error;

use crate::store_path::BaseName;

/// Largest list in bytes, decompressed; 120,000 paths have about 9 MB.
const MAX_SIZE: u64 = 256 << 20;

/// Most memory for decompressing in KiB: what `xz -9` needs, twice.
const MAX_MEMORY: u32 = 128 << 10;

/// How every file of xz begins. Source: "The .xz File Format", 2.1.1.1.
const XZ_MAGIC: &[u8] = b"\xfd7zXZ\0";

/// Why something is not a list of store paths.
#[derive(Debug, Error)]
pub enum ListError {
    /// It says that it is xz, but can't be decompressed.
    #[error("can't decompress it")]
    Xz(#[from] io::Error),
    /// Far more than there are packages.
    #[error("it has over {MAX_SIZE} bytes")]
    TooLarge,
    /// Not text.
    #[error("it is not UTF-8")]
    Encoding(#[from] str::Utf8Error),
    /// A line that is something else.
    #[error("line {line} is not a store path")]
    Line {
        /// Number of the line, from 1.
        line: usize,
    },
    /// Nothing is in it.
    #[error("it is empty")]
    Empty,
}

/// The paths of a list, one in a line, each once; compressed by xz or not.
pub fn parse(content: &[u8]) -> Result<HashSet<BaseName>, ListError> {
    let decompressed;
    let content = if content.starts_with(XZ_MAGIC) {
        decompressed = decompress(content)?;
        &decompressed
    } else {
        content
    };
    let mut paths = HashSet::new();
    for (index, line) in str::from_utf8(content)?.lines().enumerate() {
        if !line.is_empty() {
            paths.insert(BaseName::of_path(line).ok_or(ListError::Line { line: index + 1 })?);
        }
    }
    if paths.is_empty() { Err(ListError::Empty) } else { Ok(paths) }
}

fn decompress(content: &[u8]) -> Result<Vec<u8>, ListError> {
    let mut text = Vec::new();
    let reader = XzReader::new_mem_limit(content, true, MAX_MEMORY);
    reader.take(MAX_SIZE + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_SIZE { Err(ListError::TooLarge) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store_path::tests::base;

    const LIST: &str = "\
/nix/store/00000000000000000000000000000000-bash-5.2
/nix/store/11111111111111111111111111111111-jq-1.7

/nix/store/00000000000000000000000000000000-bash-5.2
";

    /// `LIST` as `xz -9` compresses it.
    const COMPRESSED: &[u8] = include_bytes!("list/test.xz");

    #[test]
    fn reads_lists_plain_and_compressed() {
        let paths = HashSet::from([base('0', "bash-5.2"), base('1', "jq-1.7")]);
        assert_eq!(parse(LIST.as_bytes()).unwrap(), paths);
        assert_eq!(parse(COMPRESSED).unwrap(), paths);
        // As pixz and others write them, and `cat` makes them.
        assert_eq!(parse(&[COMPRESSED, COMPRESSED].concat()).unwrap(), paths);
    }

    #[test]
    fn refuses_what_is_none() {
        let page = format!("{LIST}<html>\n");
        assert!(matches!(parse(page.as_bytes()), Err(ListError::Line { line: 5 })));
        assert!(matches!(parse(b""), Err(ListError::Empty)));
        assert!(matches!(parse(b"\n\n"), Err(ListError::Empty)));
        assert!(matches!(parse(b"\xff"), Err(ListError::Encoding(_))));
        for length in XZ_MAGIC.len()..COMPRESSED.len() {
            assert!(matches!(parse(&COMPRESSED[..length]), Err(ListError::Xz(_))), "{length}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(content: Vec<u8>, index in 0..COMPRESSED.len(), byte: u8) {
            let _ = parse(&content);
            let mut damaged = COMPRESSED.to_vec();
            damaged[index] = byte;
            let _ = parse(&damaged);
        }
    }

    #[test]
    fn fuzzed() {
        let words = ["/nix/store/", "\n", "\r\n"];
        crate::fuzz::parser("lists of store paths", [LIST]).words(words).factor(24).run(
            |input| parse(input).map_err(|error| error.to_string()).ok(),
            |input, paths| {
                let Some(paths) = paths else { return };
                let text = String::from_utf8_lossy(input).into_owned();
                assert!(paths.iter().all(|path| text.contains(path.as_str())));
            },
        );
    }

    /// Its dictionary is as large as the file says, up to the bound.
    #[test]
    fn fuzzed_compressed() {
        let twice = [COMPRESSED, COMPRESSED].concat();
        let most = (MAX_MEMORY as usize) << 10;
        crate::fuzz::parser("compressed lists", [COMPRESSED, &twice])
            .words([XZ_MAGIC, b"YZ", b"\0\0\0\0", b"\x01\x00", b"\xe0", b"\x21\x01"])
            .base(most)
            .factor(16 << 10)
            .run(
                |input| {
                    input.starts_with(XZ_MAGIC).then_some(())?;
                    parse(input).map_err(|error| error.to_string()).ok()
                },
                |_, paths| assert!(paths.is_none_or(|paths| !paths.is_empty())),
            );
    }
}
