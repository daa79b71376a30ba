//! Lines out of a stream of bytes, as they come.

use std::mem;

/// Longest line that is passed on, in bytes; the rest of a longer one is
/// dropped.
const MAX_LINE: usize = 4096;

/// Splits what is pushed into lines.
#[derive(Default)]
pub(super) struct Lines {
    line: Vec<u8>,
}

impl Lines {
    /// Takes `bytes` and calls `emit` for each line that they complete.
    /// Carriage returns end lines too: progress bars use them.
    pub(super) fn push(&mut self, bytes: &[u8], mut emit: impl FnMut(&str)) {
        for part in bytes.split_inclusive(|&c| matches!(c, b'\n' | b'\r')) {
            let (text, ended) = match part {
                [text @ .., b'\n' | b'\r'] => (text, true),
                text => (text, false),
            };
            let room = MAX_LINE.saturating_sub(self.line.len());
            self.line.extend_from_slice(&text[..text.len().min(room)]);
            if ended {
                self.finish(&mut emit);
            }
        }
    }

    /// Emits what is left.
    pub(super) fn finish(&mut self, mut emit: impl FnMut(&str)) {
        let line = mem::take(&mut self.line);
        let text = without_escapes(&String::from_utf8_lossy(&line));
        if !text.trim().is_empty() {
            emit(text.trim_end());
        }
    }
}

/// Removes terminal control sequences and other control characters but ends of lines, which
/// have no business in a log.
pub(crate) fn without_escapes(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        if c == '\u{1b}' {
            if characters.next_if_eq(&'[').is_some() {
                // A sequence ends with a byte from 0x40 to 0x7e (ECMA-48, 5.4).
                characters.by_ref().find(|c| ('@'..='~').contains(c));
            }
        } else if c == '\t' || c == '\n' || !(c.is_control() || turns_text(c)) {
            plain.push(c);
        }
    }
    plain
}

/// Whether a character has those after it stand elsewhere than they were printed (Unicode
/// standard annex 9, "Directional Formatting Characters"; annex 14, class BK).
pub(crate) fn turns_text(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let mut found = Vec::new();
        let mut lines = Lines::default();
        for piece in pieces {
            lines.push(piece, |line| found.push(line.to_owned()));
        }
        lines.finish(|line| found.push(line.to_owned()));
        found
    }

    #[test]
    fn lines_are_whole_however_they_arrive() {
        assert_eq!(lines(&[b"on", b"e\ntw", b"o\r\nthree"]), ["one", "two", "three"]);
    }

    #[test]
    fn control_sequences_are_removed() {
        assert_eq!(lines(&[b"\x1b[31;1merror:\x1b[0m a\x07b\tc\n"]), ["error: ab\tc"]);
        assert_eq!(lines(&["see gnp.\u{202e}exe\u{2066}".as_bytes()]), ["see gnp.exe"]);
        assert_eq!(
            lines(&["one\u{2028}two\u{2029}three\u{85}four".as_bytes()]),
            ["onetwothreefour"]
        );
    }

    #[test]
    fn long_and_malformed_lines_are_bounded() {
        let long = vec![b'x'; 1_000_000];
        let found = lines(&[&long, b"\n\xff\n"]);
        assert_eq!(found[0].len(), MAX_LINE);
        assert_eq!(found[1], "\u{fffd}");
    }

    #[test]
    fn fuzzed() {
        let seeds = [
            "these 3 paths will be fetched\ncopying path\r[1/2] building\r\n",
            "\u{1b}[31;1merror:\u{1b}[0m no such thing\n",
        ];
        crate::fuzz::parser("lines of a log", seeds)
            .words(["\u{1b}[", "\u{1b}", "\r", "m"])
            .factor(80)
            .run(
                |input| {
                    let (mut lines, mut whole, mut bytes) =
                        (Lines::default(), Vec::new(), Vec::new());
                    lines.push(input, |line| whole.push(line.to_owned()));
                    lines.finish(|line| whole.push(line.to_owned()));
                    // In pieces, as pipes have them, it comes to the same. Short lines are larger
                    // in memory, and kept twice.
                    for piece in input.chunks(7) {
                        lines.push(piece, |line| bytes.push(line.to_owned()));
                    }
                    lines.finish(|line| bytes.push(line.to_owned()));
                    assert_eq!(whole, bytes);
                    Some(whole)
                },
                |_, lines| {
                    for line in lines.unwrap() {
                        assert!(!line.is_empty());
                        assert!(line.chars().all(|c| c == '\t' || !c.is_control()), "{line:?}");
                        // Bytes that aren't UTF-8 become three.
                        assert!(line.len() <= 3 * MAX_LINE);
                    }
                },
            );
    }
}
