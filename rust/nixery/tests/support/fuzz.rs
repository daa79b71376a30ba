//! Fuzzing of parsers, by proptest: good inputs that were changed, pieces of such
//! inputs in any order, and any bytes at all.
//!
//! What every parser must do: not panic, and take memory in proportion to its input.
//! What it must do besides, its own test says. `NIXERY_FUZZ_CASES` is the number of
//! cases for each parser; `checks/fuzz.sh` sets it to a million.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Instant;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{TestError, TestRunner};

/// Cases where nothing says how many: the whole of them takes seconds.
const CASES: u32 = 2_000;

/// Longest input in bytes. Some changes repeat parts of it.
const MAX_LENGTH: usize = 64 << 10;

/// What parsers may take whatever the input is, unless they say otherwise: texts of
/// errors, small tables.
const BASE: usize = 16 << 10;

/// Put into inputs of every kind: where text, numbers, paths and nesting have edges.
const WORDS: [&[u8]; 40] = [
    b"",
    b"\0",
    b"\xff",
    b"\xc3",
    b"\xef\xbb\xbf",
    "é".as_bytes(),
    "😀".as_bytes(),
    "\u{202e}".as_bytes(),
    "İ".as_bytes(),
    "\u{2028}".as_bytes(),
    b"%2f",
    b"%00",
    b"%ff",
    b"%",
    b"..",
    b"/",
    b"//",
    b"\r\n",
    b"\n",
    b" ",
    b"\t",
    b"\"",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"null",
    b"true",
    b"{}",
    b"[]",
    b"[",
    b"{",
    b":",
    b",",
    b"=",
    b"-1",
    b"1e400",
    b"0x10",
    b"NaN",
    b"18446744073709551615",
    b"18446744073709551616",
];

/// Put in place of numbers.
const NUMBERS: [&[u8]; 12] = [
    b"0",
    b"-0",
    b"1",
    b"-1",
    b"007",
    b"0.5",
    b"1e5",
    b"4294967296",
    b"9223372036854775808",
    b"18446744073709551615",
    b"18446744073709551616",
    b"99999999999999999999999999999999999999999",
];

/// What begins nesting, in JSON, TOML and patterns.
const OPENERS: [&[u8]; 4] = [b"[", b"{\"a\":", b"a={a=", b"(["];

/// What parts of inputs stand between.
const SEPARATORS: [u8; 6] = *b",\n/ &;";

/// Shown as text where it fails.
#[derive(Clone)]
struct Input(Vec<u8>);

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

/// A parser, and inputs that it takes.
pub(crate) struct Fuzz {
    name: &'static str,
    seeds: Vec<Vec<u8>>,
    words: Vec<Vec<u8>>,
    base: usize,
    factor: usize,
    quick: u32,
}

/// What one kind of input cost at most.
#[derive(Default)]
struct Measured {
    accepted: u32,
    cases: u32,
    /// Bytes of the case that took most, and of its input.
    peak: (u64, usize),
}

/// A parser that is to be fuzzed, with good inputs.
pub(crate) fn parser<S: AsRef<[u8]>>(
    name: &'static str,
    seeds: impl IntoIterator<Item = S>,
) -> Fuzz {
    let seeds = seeds.into_iter().map(|seed| seed.as_ref().to_vec()).collect();
    let words = WORDS.iter().map(|word| word.to_vec()).collect();
    Fuzz { name, seeds, words, base: BASE, factor: 16, quick: CASES }
}

impl Fuzz {
    /// Words that mean something to this parser.
    pub(crate) fn words<S: AsRef<[u8]>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.words.extend(words.into_iter().map(|word| word.as_ref().to_vec()));
        self
    }

    /// How many bytes it may take whatever the input is.
    pub(crate) fn base(mut self, base: usize) -> Self {
        self.base = base;
        self
    }

    /// How many bytes it may take for each byte of the input.
    pub(crate) fn factor(mut self, factor: usize) -> Self {
        self.factor = factor;
        self
    }

    /// Fewer cases than usual, where each takes long.
    pub(crate) fn quick(mut self, cases: u32) -> Self {
        self.quick = cases;
        self
    }

    /// Calls `parse`, whose memory is counted, and `check` with what it gave: `None` for
    /// what was refused.
    pub(crate) fn run<T>(
        self,
        parse: impl Fn(&[u8]) -> Option<T>,
        check: impl Fn(&[u8], Option<T>),
    ) {
        let asked = std::env::var("NIXERY_FUZZ_CASES").ok();
        let cases = asked.as_ref().map_or(self.quick, |cases| cases.parse().unwrap());
        let config = ProptestConfig {
            cases,
            failure_persistence: None,
            max_shrink_iters: 20_000,
            ..ProptestConfig::default()
        };
        let (begin, so_far) = (Instant::now(), std::cell::RefCell::new(Measured::default()));
        let result = TestRunner::new(config).run(&self.inputs(), |Input(input)| {
            let (parsed, bytes) = measured(&parse, &input);
            let mut so_far = so_far.borrow_mut();
            so_far.cases += 1;
            so_far.accepted += u32::from(parsed.is_some());
            so_far.peak = so_far.peak.max((bytes, input.len()));
            let bound = self.bound(&input);
            prop_assert!(
                bytes <= bound,
                "{bytes} bytes were taken for an input of {}: {bound} were to do",
                input.len()
            );
            drop(so_far);
            check(&input, parsed);
            Ok(())
        });
        match result {
            Ok(()) => {}
            Err(TestError::Fail(reason, input)) => {
                panic!("{}: {reason}, with {input:?}", self.name);
            }
            Err(TestError::Abort(reason)) => panic!("{}: {reason}", self.name),
        }
        if asked.is_some() {
            let Measured { accepted, cases, peak } = so_far.into_inner();
            let percent = u64::from(accepted) * 100 / u64::from(cases.max(1));
            println!(
                "| {} | {cases} | {percent} % | {:.0} s | {} B of {} B | 0 |",
                self.name,
                begin.elapsed().as_secs_f64(),
                peak.0,
                peak.1,
            );
        }
    }

    /// How many bytes may be taken for this input.
    fn bound(&self, input: &[u8]) -> u64 {
        (self.base + self.factor * input.len()) as u64
    }

    fn inputs(&self) -> impl Strategy<Value = Input> + use<> {
        let change = || (0_u8..12, any::<u32>(), any::<u32>(), any::<u16>());
        let (seeds, words) = (self.seeds.clone(), self.words.clone());
        let changed = (any::<u32>(), vec(change(), 0..5)).prop_map(move |(seed, changes)| {
            let mut input = pick(&seeds, seed).clone();
            for (kind, a, b, c) in changes {
                apply(&mut input, kind, (a, b, c), &seeds, &words);
                input.truncate(MAX_LENGTH);
            }
            Input(input)
        });
        let (seeds, words) = (self.seeds.clone(), self.words.clone());
        let pieces = vec((any::<u32>(), any::<u32>(), any::<u8>()), 0..12);
        let pieces = pieces.prop_map(move |pieces| {
            let piece = |&(a, b, length): &(u32, u32, u8)| {
                if length < 160 {
                    return pick(&words, a).clone();
                }
                let seed = pick(&seeds, a);
                let start = at(seed.len(), b);
                seed[start..(start + usize::from(length % 32)).min(seed.len())].to_vec()
            };
            Input(pieces.iter().flat_map(piece).collect())
        });
        let bytes = vec(any::<u8>(), 0..200).prop_map(Input);
        prop_oneof![14 => changed, 4 => pieces, 1 => bytes]
    }
}

/// What comes of an input, and the most memory that it takes meanwhile, in bytes.
fn measured<T>(parse: impl Fn(&[u8]) -> Option<T>, input: &[u8]) -> (Option<T>, u64) {
    let mut outcome = None;
    let memory = allocation_counter::measure(|| {
        // The counter would be confused by a panic on its way through.
        outcome = Some(catch_unwind(AssertUnwindSafe(|| parse(input))));
    });
    let parsed = outcome.unwrap().unwrap_or_else(|panic| resume_unwind(panic));
    (parsed, memory.bytes_max)
}

fn pick<T>(from: &[T], number: u32) -> &T {
    &from[number as usize % from.len()]
}

/// A position in, or at the end of, so many bytes.
fn at(length: usize, number: u32) -> usize {
    number as usize % (length + 1)
}

/// Mostly few, sometimes many.
fn times(number: u16) -> usize {
    usize::from(if number.is_multiple_of(64) { number >> 5 } else { 1 + number % 4 })
}

fn apply(
    input: &mut Vec<u8>,
    kind: u8,
    (a, b, c): (u32, u32, u16),
    seeds: &[Vec<u8>],
    words: &[Vec<u8>],
) {
    let start = at(input.len(), a);
    let end = start + at((input.len() - start).min(64), b);
    match kind {
        // One bit.
        0 if start < input.len() => input[start] ^= 1 << (b % 8),
        // One byte.
        1 if start < input.len() => input[start] = c.to_le_bytes()[0],
        2 => input.truncate(start),
        3 => drop(input.drain(start..end)),
        4 => drop(input.splice(start..start, pick(words, b).iter().copied())),
        5 => drop(input.splice(start..end, pick(words, u32::from(c)).iter().copied())),
        // The same again.
        6 => {
            let part = input[start..end].repeat(times(c));
            input.splice(start..start, part);
        }
        // The end of another one.
        7 => {
            let other = pick(seeds, b);
            input.truncate(start);
            input.extend_from_slice(&other[at(other.len(), u32::from(c))..]);
        }
        // Another number.
        8 => {
            let digit = |&index: &usize| input[index].is_ascii_digit();
            if let Some(start) = (start..input.len()).find(digit) {
                let end = (start..input.len()).find(|index| !digit(index)).unwrap_or(input.len());
                input.splice(start..end, pick(&NUMBERS, b).iter().copied());
            }
        }
        9 => drop(input.splice(start..start, pick(&OPENERS, b).repeat(times(c)))),
        // A member of a list, a line, a component: twice, or often.
        10 => {
            let separator = *pick(&SEPARATORS, b);
            let after = |&index: &usize| input[index] == separator;
            if let Some(begin) = (start..input.len()).find(after) {
                let next = (begin + 1..input.len()).find(after).unwrap_or(input.len());
                let part = input[begin..next].repeat(times(c));
                input.splice(begin..begin, part);
            }
        }
        // Another case, for letters.
        _ => input[start..end].iter_mut().for_each(|byte| {
            if byte.is_ascii_alphabetic() {
                *byte ^= 0x20;
            }
        }),
    }
}
