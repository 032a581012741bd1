//! What is published in a chaos run: a market's trades, told as badly as they can be.
//!
//! The same seed gives the same messages in the same order. Messages that contradict each other (one identity, one
//! revision, two prices) are all sent to one partition, whose offsets say which one came first; all others may go to any.

use std::collections::BTreeMap;

use anyhow::Result;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::{Encoding, Tick};

/// The topic of JSON messages.
pub(super) const TICKS: &str = "ticks";
/// The topic that Kafka compacts; its keys are identities, so that only repetitions go.
pub(super) const COMPACTED: &str = "compacted";
/// The topic of Avro messages.
pub(super) const AVRO: &str = "avro";

/// Symbols that are there from the start, with their zones.
pub(super) const SYMBOLS: [(&str, &str); 6] = [
    ("AMZN", "America/New_York"),
    ("BTC-USD", "UTC"),
    ("DAX", "Europe/Berlin"),
    ("NIFTY", "Asia/Kolkata"),
    ("WIDE", "UTC"),
    ("penny_1", "UTC"),
];

const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3600 * SECOND;
const DAY: i64 = 24 * HOUR;
/// What a run's trades reach over: weeks and months end in it.
const SPAN: i64 = 60 * DAY;

/// A message to be sent.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) topic: &'static str,
    pub(super) partition: i32,
    pub(super) key: String,
    /// Nothing is a tombstone.
    pub(super) payload: Option<Vec<u8>>,
    /// What it is, for the summary.
    pub(super) kind: &'static str,
}

/// What a feed is like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) seed: u64,
    /// How many trades are to reach over the [`SPAN`].
    pub(super) trades: f64,
    /// Whether there is a topic of Avro messages.
    pub(super) avro: bool,
    /// Partitions of the topics but [`TICKS`].
    pub(super) partitions: i32,
}

/// The messages of a run, without an end.
#[derive(Debug)]
pub(super) struct Feed {
    plan: Plan,
    random: StdRng,
    symbols: Vec<String>,
    /// Event time of the market.
    clock: i64,
    now: i64,
    sequence: i64,
    turn: u64,
    /// Messages by the turn in which they are due.
    due: BTreeMap<(u64, u64), Message>,
    number: u64,
    /// Partitions of [`TICKS`] now.
    pub(super) partitions: i32,
    /// The id of the schema that Avro messages are written with.
    pub(super) schema_id: u32,
}

impl Feed {
    /// A feed whose market has come to `now`, microseconds since 1970, after so many trades.
    pub(super) fn new(plan: Plan, now: i64, partitions: i32, schema_id: u32) -> Self {
        Self {
            plan,
            random: StdRng::seed_from_u64(plan.seed),
            symbols: SYMBOLS.iter().map(|(name, _)| (*name).to_owned()).collect(),
            clock: now - SPAN,
            now,
            sequence: 0,
            turn: 0,
            due: BTreeMap::new(),
            number: 0,
            partitions,
            schema_id,
        }
    }

    /// The next message.
    ///
    /// # Errors
    ///
    /// When a tick cannot be encoded.
    pub(super) fn next(&mut self) -> Result<Message> {
        loop {
            self.turn += 1;
            if let Some(first) = self.due.first_entry()
                && first.key().0 <= self.turn
            {
                return Ok(first.remove());
            }
            if self.random.random_bool(0.006) {
                let garbage = self.garbage();
                self.later(0, garbage);
            } else {
                self.trade()?;
            }
        }
    }

    /// What is still due: repetitions, corrections and cancels of trades that have been told.
    pub(super) fn rest(self) -> impl Iterator<Item = Message> {
        self.due.into_values()
    }

    fn later(&mut self, most: u64, message: Message) {
        let delay = if most == 0 {
            0
        } else {
            self.random.random_range(0..most)
        };
        self.number += 1;
        self.due.insert((self.turn + delay, self.number), message);
    }

    fn trade(&mut self) -> Result<()> {
        if self.random.random_bool(0.0015) {
            self.symbols.push(format!("NEW.{}", self.symbols.len()));
        }
        self.advance();
        let index = self.random.random_range(0..self.symbols.len());
        self.sequence += self.random.random_range(1..3);
        let (time, kind) = self.time();
        let (price, size) = self.amounts(index);
        let symbol = self.symbols[index].clone();
        let first = Tick::new(symbol, time, self.sequence, price, size);
        let conflicts = self.random.random_bool(0.006);
        // One partition for all that is told of a trade that will be contradicted.
        let home = conflicts.then(|| self.random.random_range(0..self.partitions));

        let delay = if self.random.random_bool(0.1) { 60 } else { 0 };
        let message = self.message(&first, kind, index, home)?;
        if message.topic == COMPACTED {
            // Repetitions under one key, of which compaction leaves the last.
            for _ in 0..self.random.random_range(1..4) {
                let again = Message {
                    kind: "repetitions under one key",
                    ..message.clone()
                };
                self.later(300, again);
            }
        }
        self.later(delay, message);
        while self.random.random_bool(0.05) {
            let again = self.message(&first, "duplicates", index, home)?;
            self.later(3000, again);
        }
        if conflicts {
            let (price, _) = self.amounts(index);
            let other = Tick {
                price,
                ..first.clone()
            };
            let message = self.message(&other, "contradictions", index, home)?;
            self.later(1500, message);
        }
        let mut last = first.clone();
        while self.random.random_bool(0.05) {
            let (price, size) = self.amounts(index);
            let revision = last.revision + self.random.random_range(1..3);
            last = Tick {
                price,
                size,
                revision,
                ..first.clone()
            };
            let message = self.message(&last, "corrections", index, home)?;
            self.later(2000, message);
        }
        if self.random.random_bool(0.03) {
            let cancel = Tick {
                cancelled: true,
                ..last
            };
            let message = self.message(&cancel, "cancels", index, home)?;
            self.later(2000, message);
        }
        Ok(())
    }

    /// Moves the market's clock: bursts, with a pause now and then.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "a pause of some hours"
    )]
    fn advance(&mut self) {
        let pause = (SPAN as f64 / (self.plan.trades / 100.0).max(1.0)) as i64;
        self.clock += match self.random.random_range(0..100) {
            0 => self.random.random_range(1..2 * pause),
            1..20 => 0,
            _ => self.random.random_range(1..3 * SECOND),
        };
        self.clock = self.clock.min(self.now);
    }

    fn time(&mut self) -> (i64, &'static str) {
        let unit = [60 * SECOND, HOUR, DAY][self.random.random_range(0..3)];
        match self.random.random_range(0..100) {
            0..2 => (
                self.clock - self.random.random_range(0..9 * DAY),
                "days late",
            ),
            2..9 => (
                self.clock - self.random.random_range(0..3 * HOUR),
                "hours out of order",
            ),
            9 => (self.clock - self.clock % unit, "trades"),
            10 => (self.clock - self.clock % unit - 1, "trades"),
            _ => (self.clock, "trades"),
        }
    }

    fn amounts(&mut self, index: usize) -> (String, String) {
        let random = &mut self.random;
        match index {
            1 => (
                format!(
                    "4{:04}.{:02}",
                    random.random_range(0..10_000),
                    random.random_range(0..100)
                ),
                format!("0.{:08}", random.random_range(0..100_000_000)),
            ),
            // 28 digits, 18 of them decimals: the widest there can be.
            4 => {
                let mut wide = || {
                    format!(
                        "{}.{:018}",
                        random.random_range(1_000_000_000_u64..10_000_000_000),
                        random.random_range(0..1_000_000_000_000_000_000_u64)
                    )
                };
                (wide(), wide())
            }
            5 => (
                format!("0.{:04}", random.random_range(1..10_000)),
                "0".to_owned(),
            ),
            _ => (
                format!("95.{:03}", random.random_range(0..1000)),
                (100 * random.random_range(0..50)).to_string(),
            ),
        }
    }

    /// A message of a tick, to `home` or to anywhere.
    fn message(
        &mut self,
        tick: &Tick,
        kind: &'static str,
        index: usize,
        home: Option<i32>,
    ) -> Result<Message> {
        let topic = match self.random.random_range(0..100) {
            _ if home.is_some() => TICKS,
            0..12 if self.plan.avro => AVRO,
            12..18 => COMPACTED,
            _ => TICKS,
        };
        let of_topic = if topic == TICKS {
            self.partitions
        } else {
            self.plan.partitions
        };
        let partition = match home {
            Some(home) => home,
            // A producer that does not keep a symbol to its partition.
            None if self.random.random_bool(0.2) => self.random.random_range(0..of_topic),
            None => i32::try_from(index)? % of_topic,
        };
        let encoding = if topic == AVRO {
            Encoding::Avro {
                schema_id: self.schema_id,
            }
        } else {
            Encoding::Json
        };
        let key = if topic == COMPACTED {
            let Tick {
                symbol,
                event_time,
                sequence,
                revision,
                cancelled,
                ..
            } = tick;
            format!("{symbol} {event_time} {sequence} {revision} {cancelled}")
        } else {
            tick.symbol.clone()
        };
        Ok(Message {
            topic,
            // Of one key, as compaction wants it.
            partition: if topic == COMPACTED {
                i32::try_from(tick.sequence.rem_euclid(i64::from(of_topic)))?
            } else {
                partition
            },
            key,
            payload: Some(encoding.encode(tick)?),
            kind,
        })
    }

    /// A message that is no tick.
    fn garbage(&mut self) -> Message {
        let sequence = self.sequence;
        let with = |field: &str, value: &str| {
            let fields = [
                ("symbol", r#""AMZN""#),
                ("event_time", r#""2024-01-15T12:00:00Z""#),
                ("sequence", "1"),
                ("price", r#""10""#),
                ("size", r#""1""#),
            ];
            let fields = fields.map(|(name, good)| {
                let value = if name == field { value } else { good };
                format!(r#""{name}":{value}"#)
            });
            format!("{{{}}}", fields.join(",")).into_bytes()
        };
        let (topic, payload) = match self.random.random_range(0..17) {
            0 => (TICKS, Some(b"nonsense".to_vec())),
            1 => (TICKS, Some(br#"["AMZN",1]"#.to_vec())),
            2 => (TICKS, Some(vec![])),
            3 => (TICKS, Some(br#"{"symbol":"AMZN"}"#.to_vec())),
            4 => (TICKS, Some(with("price", "null"))),
            5 => (TICKS, Some(with("price", r#""1,5""#))),
            6 => (TICKS, Some(with("sequence", r#""1""#))),
            7 => (TICKS, Some(with("event_time", r#""yesterday""#))),
            8 => (TICKS, Some(with("event_time", r#""1969-12-31T23:59:59Z""#))),
            9 => (TICKS, Some(with("event_time", r#""2999-01-01T00:00:00Z""#))),
            10 => (TICKS, Some(with("price", r#""0""#))),
            11 => (TICKS, Some(with("size", r#""-5""#))),
            12 => (TICKS, Some(with("size", r#""NaN""#))),
            13 => (
                TICKS,
                Some(with("price", r#""12345678901234567890123456789""#)),
            ),
            14 => (TICKS, Some(with("symbol", r#""""#))),
            15 if self.plan.avro => (AVRO, Some(b"\x01not avro at all".to_vec())),
            _ => (TICKS, None),
        };
        let partitions = if topic == TICKS {
            self.partitions
        } else {
            self.plan.partitions
        };
        Message {
            topic,
            partition: self.random.random_range(0..partitions),
            key: format!("garbage {sequence}"),
            kind: if payload.is_some() {
                "garbage"
            } else {
                "tombstones"
            },
            payload,
        }
    }
}

#[cfg(test)]
mod tests;
