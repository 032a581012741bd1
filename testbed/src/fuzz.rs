//! Fuzzing on a stable toolchain: inputs that were good once, mutated in ways that know JSON, numbers and times.
//!
//! It is not guided by coverage, as `libFuzzer` is: it finds what a few changes to a good input bring about, and knows
//! nothing of the branches that it has not reached. Inputs that fail are kept as files, and every run begins with them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

/// How long each target is fuzzed unless `FUZZ_SECONDS` says otherwise: as part of the tests.
const SECONDS: f64 = 2.0;

/// What breaks parsers: bounds of numbers, times that few expect, and pieces of syntax.
const TOKENS: [&str; 48] = [
    "0",
    "-0",
    "-1",
    "1e400",
    "1e-400",
    "1E+5",
    "0.1",
    ".5",
    "5.",
    "+1",
    "00",
    "NaN",
    "-inf",
    "Infinity",
    "null",
    "true",
    "[]",
    "{}",
    "\"\"",
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "\u{0}",
    "\u{feff}",
    "é",
    "𝄞",
    "\t",
    "\r\n",
    " ",
    ",",
    ":",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "18446744073709551616",
    "9999999999999999999999999999",
    "10000000000000000000000000000",
    "0.0000000000000000001",
    "2147483648",
    "9999-12-31T23:59:59.999999999Z",
    "10000-01-01T00:00:00Z",
    "0000-00-00",
    "-0001-01-01T00:00:00Z",
    "2016-12-31T23:59:60Z",
    "2024-02-30T25:61:61+99:99",
    "1970-01-01T00:00:00-23:59",
    "%00",
];

/// Changes inputs by chance.
#[derive(Debug)]
pub struct Mutator {
    random: StdRng,
}

impl Mutator {
    /// The same seed makes the same changes.
    pub fn new(seed: u64) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
        }
    }

    /// One of the corpus after some changes.
    ///
    /// # Panics
    ///
    /// When the corpus is empty.
    pub fn next(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let Some(start) = corpus.choose(&mut self.random) else {
            panic!("an empty corpus");
        };
        let mut bytes = start.clone();
        for _ in 0..self.random.random_range(1..6) {
            let other = corpus.choose(&mut self.random).unwrap_or(start);
            self.change(&mut bytes, other);
        }
        bytes.truncate(64 * 1024);
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        let random = &mut self.random;
        let at = random.random_range(0..=bytes.len());
        let end = random.random_range(at..=bytes.len().min(at + 32));
        match random.random_range(0..10) {
            // One bit, one byte.
            0 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
            1 if at < bytes.len() => bytes[at] = random.random(),
            2 => bytes.insert(at, random.random()),
            // A piece goes, comes twice, or many times: depth and length.
            3 => drop(bytes.drain(at..end)),
            4 => {
                let piece = bytes[at..end].to_vec();
                let times = [1, 2, 100][random.random_range(0..3)];
                bytes.splice(at..at, piece.repeat(times));
            }
            5 => bytes.truncate(at),
            // Another input from there on.
            6 => {
                let from = random.random_range(0..=other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            // A number, a word or a string becomes something that breaks parsers.
            _ => {
                let token = TOKENS.choose(random).copied().unwrap_or_default();
                let (from, to) = if random.random_bool(0.7) {
                    word(bytes, at)
                } else {
                    (at, at)
                };
                bytes.splice(from..to, token.bytes());
            }
        }
    }
}

/// The bounds of the word or number around a place.
fn word(bytes: &[u8], at: usize) -> (usize, usize) {
    let part = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.:_".contains(byte);
    let from = bytes[..at]
        .iter()
        .rposition(|byte| !part(byte))
        .map_or(0, |place| place + 1);
    let to = bytes[at..]
        .iter()
        .position(|byte| !part(byte))
        .map_or(bytes.len(), |place| at + place);
    (from, to)
}

/// For how long a target is to be fuzzed.
///
/// # Panics
///
/// When `FUZZ_SECONDS` is no number.
pub fn budget() -> Duration {
    let text = std::env::var("FUZZ_SECONDS").unwrap_or_default();
    let seconds = if text.is_empty() {
        SECONDS
    } else {
        text.parse()
            .unwrap_or_else(|_| panic!("FUZZ_SECONDS is no number: {text:?}"))
    };
    Duration::from_secs_f64(seconds)
}

/// A seed for this run: `FUZZ_SEED`, or one that differs from run to run.
///
/// # Panics
///
/// When `FUZZ_SEED` is no number.
pub fn seed() -> u64 {
    let text = std::env::var("FUZZ_SEED").unwrap_or_default();
    if text.is_empty() {
        return rand::rng().random();
    }
    text.parse()
        .unwrap_or_else(|_| panic!("FUZZ_SEED is no number: {text:?}"))
}

/// The inputs that a folder keeps; none where there is no such folder.
///
/// # Panics
///
/// When a file cannot be read.
pub fn kept(folder: &Path) -> Vec<Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    let read = |file| std::fs::read(file).unwrap_or_else(|error| panic!("a kept input: {error}"));
    files.into_iter().map(read).collect()
}

/// Keeps an input in a folder, under a name made of what is in it.
///
/// # Panics
///
/// When it cannot be written.
pub fn keep(folder: &Path, input: &[u8]) -> std::path::PathBuf {
    let hash = input.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let file = folder.join(format!("{hash:016x}"));
    let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&file, input));
    written.unwrap_or_else(|error| panic!("{} cannot be kept: {error}", file.display()));
    file
}

/// Gives `target` every kept input, the corpus, and then mutations until the time is up; returns how many. An input at
/// which it panics is kept in `folder`.
///
/// # Panics
///
/// When the target does; the message names the file.
pub fn fuzz(name: &str, folder: &Path, corpus: &[Vec<u8>], target: impl Fn(&[u8])) -> u64 {
    let seed = seed();
    let mut mutator = Mutator::new(seed);
    let (begun, budget) = (Instant::now(), budget());
    let mut inputs = 0;
    let mut give = |input: &[u8]| {
        inputs += 1;
        if catch_unwind(AssertUnwindSafe(|| target(input))).is_err() {
            let file = keep(folder, input);
            panic!(
                "{name} panics at an input (seed {seed}), which is kept: commit {}",
                file.display()
            );
        }
    };
    for input in kept(folder).iter().chain(corpus) {
        give(input);
    }
    while begun.elapsed() < budget {
        give(&mutator.next(corpus));
    }
    println!(
        "{name}: {inputs} inputs in {:.1} s, seed {seed}",
        begun.elapsed().as_secs_f64()
    );
    inputs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corpus() -> Vec<Vec<u8>> {
        vec![
            br#"{"price":"95.455002","size":100}"#.to_vec(),
            b"[1,2]".to_vec(),
        ]
    }

    #[test]
    fn same_seed_makes_the_same_inputs_and_most_differ_from_the_corpus() {
        let inputs = |seed| {
            let mut mutator = Mutator::new(seed);
            (0..200)
                .map(|_| mutator.next(&corpus()))
                .collect::<Vec<_>>()
        };
        assert_eq!(inputs(1), inputs(1));
        let new = inputs(1)
            .iter()
            .filter(|input| !corpus().contains(input))
            .count();
        assert!(new > 150, "{new} of 200");
    }

    #[test]
    fn planted_fault_is_found_and_kept() {
        // GIVEN a target that cannot bear a price of null
        let folder = std::env::temp_dir().join(format!("testbed-fuzz-{}", std::process::id()));
        let target =
            |input: &[u8]| assert!(!input.windows(12).any(|window| window == br#""price":null"#));
        // WHEN it is fuzzed again and again
        let found =
            (0..20).any(|_| catch_unwind(|| fuzz("planted", &folder, &corpus(), target)).is_err());
        // THEN the input is found, and a later run begins with it
        assert!(found);
        let inputs = kept(&folder);
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(inputs.len(), 1);
        assert!(catch_unwind(|| target(&inputs[0])).is_err());
    }
}
