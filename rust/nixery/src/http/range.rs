//! Ranges of bytes (RFC 9110, 14).

/// Which part of some content a client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Selection {
    /// All of it.
    Whole,
    /// From the first of these bytes up to the second, exclusive.
    Part(u64, u64),
    /// The range lies behind the end.
    NotSatisfiable,
}

/// What a `Range` header selects of `size` bytes. Anything malformed, other
/// units and lists of ranges select all, as the standard allows.
pub(super) fn select(header: Option<&str>, size: u64) -> Selection {
    let parse = |header: &str| {
        let (first, last) = header.strip_prefix("bytes=")?.trim().split_once('-')?;
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
            // More digits than fit mean a place behind any end.
            digits.then(|| text.parse().unwrap_or(u64::MAX))
        };
        match (first, last) {
            ("", suffix) => Some(match number(suffix)? {
                0 => Selection::NotSatisfiable,
                _ if size == 0 => Selection::NotSatisfiable,
                length => Selection::Part(size.saturating_sub(length), size),
            }),
            (first, last) => {
                let first = number(first)?;
                let last = if last.is_empty() { u64::MAX } else { number(last)? };
                if last < first {
                    return None;
                }
                Some(if first >= size {
                    Selection::NotSatisfiable
                } else {
                    Selection::Part(first, last.saturating_add(1).min(size))
                })
            }
        }
    };
    header.and_then(parse).unwrap_or(Selection::Whole)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Selection::{NotSatisfiable, Part, Whole};
    use super::*;

    #[test]
    fn follows_the_standard() {
        for (header, size, expected) in [
            ("bytes=0-0", 10, Part(0, 1)),
            ("bytes=2-5", 10, Part(2, 6)),
            ("bytes=2-", 10, Part(2, 10)),
            ("bytes=2-100", 10, Part(2, 10)),
            ("bytes=-3", 10, Part(7, 10)),
            ("bytes=-30", 10, Part(0, 10)),
            ("bytes=9-", 10, Part(9, 10)),
            ("bytes=10-", 10, NotSatisfiable),
            ("bytes=-0", 10, NotSatisfiable),
            ("bytes=0-", 0, NotSatisfiable),
            ("bytes=-1", 0, NotSatisfiable),
            ("bytes=99999999999999999999-", 10, NotSatisfiable),
            ("bytes=1-99999999999999999999", 10, Part(1, 10)),
            ("bytes=5-2", 10, Whole),
            ("bytes=0-1,3-4", 10, Whole),
            ("bytes=a-b", 10, Whole),
            ("bytes=+1-2", 10, Whole),
            ("bytes=-", 10, Whole),
            ("items=0-1", 10, Whole),
            ("", 10, Whole),
        ] {
            assert_eq!(select(Some(header), size), expected, "{header:?} of {size}");
        }
        assert_eq!(select(None, 10), Whole);
    }

    proptest! {
        #[test]
        fn never_selects_what_is_not_there(header in "(bytes=)?[0-9,\\-]{0,24}", size in any::<u64>()) {
            if let Part(start, end) = select(Some(&header), size) {
                prop_assert!(start < end && end <= size);
            }
        }
    }

    #[test]
    fn fuzzed() {
        const SIZE: u64 = 1000;
        let grammar = regex::Regex::new(r"\Abytes=([0-9]*)-([0-9]*)\z").unwrap();
        let seeds = ["bytes=0-0", "bytes=10-", "bytes=-10", "bytes=999-1000", "bytes=0-1,3-4"];
        crate::fuzz::parser("Range", seeds).words(["bytes=", "-", "items="]).run(
            |input| Some(select(Some(std::str::from_utf8(input).ok()?), SIZE)),
            |input, parsed| {
                let Some(selection) = parsed else { return };
                if let Part(start, end) = selection {
                    assert!(start < end && end <= SIZE);
                }
                // One well-formed range, by the words of RFC 9110, 14.1.2.
                let text = std::str::from_utf8(input).unwrap();
                let Some(range) = grammar.captures(text) else { return };
                let number = |text: &str| text.parse::<u128>().unwrap_or(u128::MAX);
                let size = u128::from(SIZE);
                let expected = match (&range[1], &range[2]) {
                    ("", "") => Whole,
                    ("", length) if number(length) == 0 => NotSatisfiable,
                    ("", length) => {
                        Part(u64::try_from(size - number(length).min(size)).unwrap(), SIZE)
                    }
                    (first, last) if !last.is_empty() && number(last) < number(first) => Whole,
                    (first, _) if number(first) >= size => NotSatisfiable,
                    (first, last) => {
                        let end =
                            if last.is_empty() { size } else { number(last).min(size - 1) + 1 };
                        let narrow = |number: u128| u64::try_from(number).unwrap();
                        Part(narrow(number(first)), narrow(end))
                    }
                };
                // Numbers that don't fit are all as large as can be.
                let fits = |text: &str| text.is_empty() || text.parse::<u64>().is_ok();
                if fits(&range[1]) && fits(&range[2]) {
                    assert_eq!(selection, expected);
                }
            },
        );
    }
}
