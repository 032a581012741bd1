//! Messages in small numbers, which shrink well, and what a plain loop makes of them.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveTime, TimeZone as _, Timelike as _, Utc};
use chrono_tz::Tz;
use common::tick::{EventTime, Price, Size, Tick, TickKey};
use proptest::prelude::*;

/// Zones of whole hours, of half hours, and one that shifts by half an hour; clocks change in March and April.
pub(super) const SYMBOLS: [(&str, Tz); 4] = [
    ("A", Tz::UTC),
    ("B", Tz::America__New_York),
    ("C", Tz::Asia__Kolkata),
    ("D", Tz::Australia__Lord_Howe),
];
/// Ten minutes before 2024-02-29 begins in each of these zones, in seconds: a minute, a day and mostly an hour end soon.
const STARTS: [i64; 4] = [1_709_164_200, 1_709_182_200, 1_709_144_400, 1_709_124_600];

/// A message. Price and size follow from the others, so that there are no conflicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Message {
    /// Index into [`SYMBOLS`].
    pub(super) symbol: usize,
    /// Below 40 steps of 37 s: several to a minute now and then, over an hour's and a day's end. Above,
    /// steps of 9 h 41 min over 40 days.
    pub(super) time: i64,
    pub(super) sequence: i64,
    pub(super) revision: i32,
    pub(super) cancelled: bool,
}

/// Up to so many messages, many of them of the same ticks.
pub(super) fn messages(most: usize) -> impl Strategy<Value = Vec<Message>> {
    let message = (
        0..SYMBOLS.len(),
        prop_oneof![4 => 0_i64..40, 1 => 40_i64..140],
        0_i64..3,
        0_i32..3,
        prop::bool::weighted(0.15),
    )
        .prop_map(|(symbol, time, sequence, revision, cancelled)| Message {
            symbol,
            time,
            sequence,
            revision,
            cancelled,
        });
    proptest::collection::vec(message, 1..most)
}

impl Message {
    fn micros(self) -> i64 {
        let seconds = if self.time < 40 {
            self.time * 37
        } else {
            (self.time - 40) * 34_860
        };
        (STARTS[self.symbol] + seconds) * 1_000_000
    }

    fn price(self) -> i64 {
        100 + (self.time * 31 + self.sequence * 17 + i64::from(self.revision) * 7) % 50
    }

    pub(super) fn tick(self) -> (&'static str, Tick) {
        let tick = Tick {
            key: TickKey {
                event_time: EventTime::from_micros(self.micros()),
                sequence: self.sequence,
            },
            price: Price::new(self.price().to_string().parse().unwrap()).unwrap(),
            size: Size::new("3".parse().unwrap()).unwrap(),
            revision: self.revision,
            cancelled: self.cancelled,
        };
        (SYMBOLS[self.symbol].0, tick)
    }
}

/// Ticks of messages, for a batch.
pub(super) fn ticks_of(messages: &[Message]) -> Vec<(&'static str, Tick)> {
    messages.iter().map(|message| message.tick()).collect()
}

/// Which messages count, in the order of the view `ticks`.
pub(super) fn those_that_count(messages: &[Message]) -> Vec<Message> {
    let mut best: BTreeMap<(usize, i64, i64), Message> = BTreeMap::new();
    for message in messages {
        let key = (message.symbol, message.micros(), message.sequence);
        let held = best.entry(key).or_insert(*message);
        if (message.revision, message.cancelled) > (held.revision, held.cancelled) {
            *held = *message;
        }
    }
    best.into_values()
        .filter(|message| !message.cancelled)
        .collect()
}

/// A tick's line in the words of the test's query, without its revision.
pub(super) fn line_of(message: &Message) -> String {
    let at = DateTime::from_timestamp_micros(message.micros()).unwrap();
    format!(
        "{} {} {} {} 3",
        SYMBOLS[message.symbol].0,
        at.format("%Y-%m-%d %H:%M:%S%.6f"),
        message.sequence,
        message.price()
    )
}

/// Candles in the words of the tests' queries; `label` names the bucket of an instant.
pub(super) fn candles(messages: &[Message], label: fn(DateTime<Utc>, Tz) -> String) -> Vec<String> {
    let mut buckets: BTreeMap<(usize, String), Vec<i64>> = BTreeMap::new();
    for message in messages {
        let at = DateTime::from_timestamp_micros(message.micros()).unwrap();
        let label = label(at, SYMBOLS[message.symbol].1);
        buckets
            .entry((message.symbol, label))
            .or_default()
            .push(message.price());
    }
    buckets
        .into_iter()
        .map(|((symbol, label), prices)| {
            let (high, low) = (prices.iter().max().unwrap(), prices.iter().min().unwrap());
            let (open, close) = (prices[0], prices[prices.len() - 1]);
            let sum: i64 = prices.iter().sum();
            format!(
                "{} {label} {open} {high} {low} {close} {} {} {}",
                SYMBOLS[symbol].0,
                3 * prices.len(),
                3 * sum,
                prices.len()
            )
        })
        .collect()
}

pub(super) fn minute(at: DateTime<Utc>, _: Tz) -> String {
    at.format("%m-%d %H:%M").to_string()
}

pub(super) fn hour(at: DateTime<Utc>, _: Tz) -> String {
    format!("{} {:02}:00", at.format("%m-%d"), at.hour())
}

/// The local date, and its first instant in UTC. Midnight exists in all these zones.
pub(super) fn day(at: DateTime<Utc>, zone: Tz) -> String {
    let date = at.with_timezone(&zone).date_naive();
    let midnight = date.and_time(NaiveTime::MIN);
    let start = zone.from_local_datetime(&midnight).earliest().unwrap();
    format!("{date} {}", start.to_utc().format("%m-%d %H:%M"))
}
