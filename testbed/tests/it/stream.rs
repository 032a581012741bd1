//! A seeded stream of JSON messages with all that a feed can do: duplicates, disorder from seconds to days, corrections,
//! cancels, conflicts, and every accepted spelling of a number and of a time.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, FixedOffset, SecondsFormat};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// What a stream is like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Feed {
    /// The same seed gives the same messages.
    pub(crate) seed: u64,
    /// Trades, of which some are told several times.
    pub(crate) trades: usize,
    /// Whether two messages may contradict each other, of which the first by offset stays.
    pub(crate) conflicts: bool,
}

/// One message.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// The symbol, and the key of the record.
    pub(crate) symbol: &'static str,
    /// The value of the record.
    pub(crate) payload: String,
}

/// The symbols, each with a kind of numbers of its own.
pub(crate) const SYMBOLS: [&str; 7] = [
    "AMZN", "BIG", "BTC-USD", "DUST", "SIM.ODD", "WIDE", "penny_1",
];

/// 2023-12-11, a Monday; the stream reaches into February, over a year's end.
const BEGIN: i64 = 1_702_252_800_000_000;
const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3600 * SECOND;

struct Trade {
    symbol: usize,
    time: i64,
    sequence: i64,
}

impl Feed {
    /// The messages, in the order in which they are published.
    pub(crate) fn messages(self) -> Vec<Message> {
        let mut random = StdRng::seed_from_u64(self.seed.wrapping_add(other_seed()));
        let mut messages: Vec<(usize, Message)> = Vec::new();
        for (number, trade) in trades(self.trades, &mut random).iter().enumerate() {
            let (price, size) = amounts(trade.symbol, &mut random);
            let place = number + delay(self.trades, &mut random);
            let mut tell = |place: usize,
                            price: &str,
                            size: &str,
                            revision: u32,
                            cancelled: bool,
                            random: &mut StdRng| {
                let payload = payload(trade, price, size, revision, cancelled, random);
                messages.push((
                    place,
                    Message {
                        symbol: SYMBOLS[trade.symbol],
                        payload,
                    },
                ));
            };
            tell(place, &price, &size, 0, false, &mut random);
            while random.random_bool(0.08) {
                let later = number + delay(self.trades, &mut random);
                tell(later, &price, &size, 0, false, &mut random);
            }
            if self.conflicts && random.random_bool(0.004) {
                let later = number + delay(self.trades, &mut random);
                let (other, _) = amounts(trade.symbol, &mut random);
                tell(later, &other, &size, 0, false, &mut random);
            }
            // Corrections and cancels may overtake what they correct and each other.
            let mut revision = 0;
            while random.random_bool(0.07) {
                revision += random.random_range(1..3_u32);
                let (price, size) = amounts(trade.symbol, &mut random);
                let later = number + delay(self.trades, &mut random);
                tell(later, &price, &size, revision, false, &mut random);
                if random.random_bool(0.2) {
                    let later = number + delay(self.trades, &mut random);
                    tell(later, &price, &size, revision, true, &mut random);
                }
            }
            if random.random_bool(0.04) {
                let later = number + delay(self.trades, &mut random);
                tell(later, &price, &size, 0, true, &mut random);
            }
        }
        messages.sort_by_key(|(place, _)| *place);
        messages.into_iter().map(|(_, message)| message).collect()
    }
}

/// Added to every seed: `TESTBED_SEED=7 cargo test …` runs the tests on other feeds than usual.
fn other_seed() -> u64 {
    let text = std::env::var("TESTBED_SEED").unwrap_or_default();
    if text.is_empty() {
        0
    } else {
        text.parse().unwrap()
    }
}

/// Writes messages to a file, one a line, for the oracle.
pub(crate) fn write(messages: &[Message], folder: &Path) -> PathBuf {
    let payloads: Vec<&str> = messages
        .iter()
        .map(|message| message.payload.as_str())
        .collect();
    write_lines(&payloads, folder)
}

/// Writes the values of messages to a file, one a line, for the oracle.
pub(crate) fn write_lines(payloads: &[impl AsRef<str>], folder: &Path) -> PathBuf {
    let file = folder.join("messages.jsonl");
    let lines: Vec<&str> = payloads.iter().map(AsRef::as_ref).collect();
    std::fs::write(&file, lines.join("\n")).unwrap();
    file
}

/// Bursts of trades, hours apart; some at the same microsecond, some exactly at the bounds of minutes, hours and days.
fn trades(count: usize, random: &mut StdRng) -> Vec<Trade> {
    // One trade in a hundred comes after a pause, which makes some sixty days.
    let pause = 60 * 24 * HOUR / i64::try_from(count / 100 + 1).unwrap();
    let mut time = BEGIN;
    let mut sequence = 0;
    let mut trade = |_| {
        time += match random.random_range(0..100) {
            0 => random.random_range(1..2 * pause),
            1..20 => 0,
            _ => random.random_range(1..3 * SECOND),
        };
        let unit = [60 * SECOND, HOUR, 24 * HOUR][random.random_range(0..3)];
        let at = match random.random_range(0..200) {
            0 => time - time % unit,
            1 => time - time % unit - 1,
            _ => time,
        };
        sequence += random.random_range(1..4);
        // Numbers may fall while time rises, be 0, negative or as far apart as they can be.
        let number = match random.random_range(0..100) {
            0 => -sequence,
            1 => i64::MIN + sequence,
            2 => i64::MAX - sequence,
            _ => sequence,
        };
        Trade {
            symbol: random.random_range(0..SYMBOLS.len()),
            time: at,
            sequence: number,
        }
    };
    let mut all: Vec<Trade> = (0..count).map(&mut trade).collect();
    all[0].sequence = 0;
    all
}

/// By how many trades a message is late: mostly none, else by seconds, hours or days.
fn delay(trades: usize, random: &mut StdRng) -> usize {
    match random.random_range(0..100) {
        0..70 => 0,
        70..88 => random.random_range(0..40),
        88..97 => random.random_range(0..=trades / 20),
        _ => random.random_range(0..=trades),
    }
}

/// A price and a size of the kind that a symbol has.
fn amounts(symbol: usize, random: &mut StdRng) -> (String, String) {
    match SYMBOLS[symbol] {
        // 28 digits, the most there can be: without decimals, and with the most decimals.
        "BIG" => (digits(28, random), digits(28, random)),
        "WIDE" => (
            format!("{}.{}", digits(10, random), digits(18, random)),
            format!("{}.{}", digits(10, random), digits(18, random)),
        ),
        "BTC-USD" => (
            format!("4{}.{:02}", digits(4, random), random.random_range(0..100)),
            format!("0.{:08}", random.random_range(0..100_000_000)),
        ),
        "DUST" => (
            format!("0.00000{}", digits(6, random)),
            format!("{}.5", digits(7, random)),
        ),
        "SIM.ODD" => {
            let decimals = random.random_range(1..15);
            (
                format!("{}.{}", digits(3, random), digits(decimals, random)),
                random.random_range(0..3).to_string(),
            )
        }
        "penny_1" => (
            format!("0.{:04}", random.random_range(1..10_000)),
            "0".to_owned(),
        ),
        _ => (
            format!("95.{:03}", random.random_range(0..1000)),
            (100 * random.random_range(0..50)).to_string(),
        ),
    }
}

/// So many digits, the first of them not 0.
fn digits(count: usize, random: &mut StdRng) -> String {
    let digit =
        |place| char::from(random.random_range(if place == 0 { b'1' } else { b'0' }..=b'9'));
    (0..count).map(digit).collect()
}

/// The JSON object, in one of its accepted spellings.
fn payload(
    trade: &Trade,
    price: &str,
    size: &str,
    revision: u32,
    cancelled: bool,
    random: &mut StdRng,
) -> String {
    let mut text = String::from("{");
    if random.random_bool(0.1) {
        text.push_str(r#""venue":{"name":"X","lots":[1,2]},"#);
    }
    write!(
        text,
        r#""symbol":"{}","event_time":{}"#,
        SYMBOLS[trade.symbol],
        spell_time(trade.time, random)
    )
    .unwrap();
    write!(text, r#","sequence":{}"#, trade.sequence).unwrap();
    write!(
        text,
        r#","price":{},"size":{}"#,
        spell(price, random),
        spell(size, random)
    )
    .unwrap();
    if revision > 0 || random.random_bool(0.1) {
        write!(text, r#","revision":{revision}"#).unwrap();
    }
    if cancelled || random.random_bool(0.1) {
        write!(text, r#","cancelled":{cancelled}"#).unwrap();
    }
    text.push('}');
    text
}

/// The same number as a string or a JSON number, with zeros behind or an exponent.
fn spell(number: &str, random: &mut StdRng) -> String {
    match random.random_range(0..10) {
        0..6 => format!("\"{number}\""),
        6 | 7 => number.to_owned(),
        8 if number.contains('.') => format!("\"{number}00\""),
        8 => format!("{number}.000"),
        _ => {
            let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
            let digits = format!("{whole}{decimals}");
            let digits = digits.trim_start_matches('0');
            let digits = if digits.is_empty() { "0" } else { digits };
            format!("{digits}e-{}", decimals.len())
        }
    }
}

/// The same time as an integer or as RFC 3339, in another offset or with digits below a microsecond.
fn spell_time(time: i64, random: &mut StdRng) -> String {
    let utc = DateTime::from_timestamp_micros(time).unwrap();
    match random.random_range(0..10) {
        0..6 => format!("\"{}\"", utc.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
        6 | 7 => time.to_string(),
        8 => format!(
            "\"{}\"",
            utc.with_timezone(&FixedOffset::east_opt(19_800).unwrap())
                .to_rfc3339_opts(SecondsFormat::Micros, true)
        ),
        _ => format!(
            "\"{}{:03}Z\"",
            utc.format("%Y-%m-%dT%H:%M:%S%.6f"),
            random.random_range(0..1000)
        ),
    }
}
