//! The benchmark's feed: an hour of trades, in order of time, the same for the same seed.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::Bench;
use crate::tick::Tick;

const HOUR: i64 = 3_600_000_000;

/// A trade in small numbers: price and size in hundredths and units.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trade {
    pub(super) symbol: u16,
    /// Microseconds since 1970.
    pub(super) time: i64,
    pub(super) sequence: i64,
    pub(super) cents: i64,
    pub(super) size: i64,
}

impl Trade {
    pub(super) fn message(&self) -> Tick {
        let price = format!("{}.{:02}", self.cents / 100, self.cents % 100);
        let symbol = format!("BENCH.{:03}", self.symbol);
        Tick::new(
            symbol,
            self.time,
            self.sequence,
            price,
            self.size.to_string(),
        )
    }
}

/// An iterator of trades, without an end; `ticks` of them make an hour.
pub(super) struct Feed {
    random: StdRng,
    /// Cumulated weights of the symbols: 1/1, 1/2, 1/3 …
    weights: Vec<f64>,
    prices: Vec<i64>,
    sequences: Vec<i64>,
    next: u32,
    /// Microseconds since 1970.
    start: i64,
    /// Trades an hour.
    hour: u32,
}

impl Feed {
    pub(super) fn new(options: &Bench) -> Self {
        let mut random = StdRng::seed_from_u64(options.seed);
        let mut sum = 0.0;
        let weights = (1..=options.symbols)
            .map(|rank| {
                sum += 1.0 / f64::from(rank);
                sum
            })
            .collect();
        let prices = (0..options.symbols)
            .map(|_| random.random_range(500..50_000))
            .collect();
        Self {
            random,
            weights,
            prices,
            sequences: vec![0; usize::from(options.symbols)],
            next: 0,
            start: options.start.timestamp_micros(),
            hour: options.ticks,
        }
    }
}

impl Iterator for Feed {
    type Item = Trade;

    fn next(&mut self) -> Option<Trade> {
        let number = i64::from(self.next);
        self.next += 1;
        let last = self.weights.last().copied().unwrap_or_default();
        let drawn = self.random.random_range(0.0..last);
        let symbol = self.weights.partition_point(|weight| *weight <= drawn);
        self.prices[symbol] = (self.prices[symbol] + self.random.random_range(-3..=3)).max(1);
        self.sequences[symbol] += 1;
        Some(Trade {
            symbol: u16::try_from(symbol).unwrap_or(u16::MAX),
            time: self.start + number * HOUR / i64::from(self.hour),
            sequence: self.sequences[symbol],
            cents: self.prices[symbol],
            size: self.random.random_range(1..=20) * 100,
        })
    }
}
