//! Ticks become candles of the three stored levels.
//!
//! Pure. Minutes and hours are UTC; a day is a day in the symbol's zone. Each level is folded from
//! the coarsest finer one that nests in its buckets.

use chrono_tz::Tz;
use common::calendar::{Anchor, Bucket, Grid, Level as Nesting};
use common::candle::Candle;
use common::interval::{Interval, Unit};
use common::tick::Tick;

/// In microseconds.
pub(crate) const MINUTE: i64 = 60_000_000;
/// In microseconds.
pub(crate) const HOUR: i64 = 60 * MINUTE;

/// A stored level, finest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// `candles_1m`
    Minute,
    /// `candles_1h`
    Hour,
    /// `candles_1d`
    Day,
}

impl Level {
    /// All, finest first.
    pub const ALL: [Self; 3] = [Self::Minute, Self::Hour, Self::Day];

    /// Its table.
    #[must_use]
    pub const fn table(self) -> &'static str {
        match self {
            Self::Minute => "candles_1m",
            Self::Hour => "candles_1h",
            Self::Day => "candles_1d",
        }
    }
}

/// What a bucket is aggregated from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parts {
    /// The ticks themselves.
    Ticks,
    /// Candles of a finer level.
    Candles(Level),
}

/// The buckets of one symbol, at every level.
#[derive(Debug)]
pub struct Buckets {
    days: Grid,
}

impl Buckets {
    /// The buckets of a symbol whose days are those of `zone`.
    ///
    /// # Panics
    /// Never: `1d` is an interval.
    #[must_use]
    pub fn new(zone: Tz) -> Self {
        let Ok(day) = Interval::new(1, Unit::Day) else {
            unreachable!("1d is an interval")
        };
        Self {
            days: Grid::new(day, zone, Anchor::Calendar),
        }
    }

    /// The zone of the days.
    #[must_use]
    pub const fn zone(&self) -> Tz {
        self.days.tz()
    }

    /// The bucket of `level` that holds an instant, in microseconds since 1970 (UTC).
    #[must_use]
    pub fn bucket(&self, level: Level, instant: i64) -> Bucket {
        let fixed = |length: i64| {
            let start = instant - instant.rem_euclid(length);
            Bucket {
                start,
                end: start + length,
            }
        };
        match level {
            Level::Minute => fixed(MINUTE),
            Level::Hour => fixed(HOUR),
            Level::Day => self.days.bucket(instant),
        }
    }

    /// What the buckets of `level` between two instants are aggregated from.
    #[must_use]
    pub fn parts(&self, level: Level, from: i64, to: i64) -> Parts {
        match level {
            Level::Minute => Parts::Ticks,
            Level::Hour => Parts::Candles(Level::Minute),
            Level::Day => match self.days.level(from, to) {
                Nesting::Hour => Parts::Candles(Level::Hour),
                Nesting::Minute => Parts::Candles(Level::Minute),
                Nesting::Tick => Parts::Ticks,
            },
        }
    }

    /// The candles of all levels, [`Level::ALL`] in order, of `ticks` in order of their keys.
    #[must_use]
    pub fn fold(&self, ticks: &[Tick]) -> [Vec<(Bucket, Candle)>; 3] {
        let (Some(first), Some(last)) = (ticks.first(), ticks.last()) else {
            return Default::default();
        };
        let of_ticks = |level| {
            let parts = ticks
                .iter()
                .map(|tick| (tick.key.event_time.micros(), Candle::of(tick)));
            gather(parts, |instant| self.bucket(level, instant))
        };
        let of_candles = |candles: &[(Bucket, Candle)], level| {
            let parts = candles
                .iter()
                .map(|(bucket, candle)| (bucket.start, candle.clone()));
            gather(parts, |instant| self.bucket(level, instant))
        };
        let minutes = of_ticks(Level::Minute);
        let hours = of_candles(&minutes, Level::Hour);
        let days = match self.parts(
            Level::Day,
            first.key.event_time.micros(),
            last.key.event_time.micros(),
        ) {
            Parts::Candles(Level::Hour) => of_candles(&hours, Level::Day),
            Parts::Candles(_) => of_candles(&minutes, Level::Day),
            Parts::Ticks => of_ticks(Level::Day),
        };
        [minutes, hours, days]
    }
}

/// Merges parts, in order of time, into the buckets they lie in.
pub fn gather(
    parts: impl Iterator<Item = (i64, Candle)>,
    bucket_of: impl Fn(i64) -> Bucket,
) -> Vec<(Bucket, Candle)> {
    let mut gathered: Vec<(Bucket, Candle)> = Vec::new();
    for (instant, part) in parts {
        match gathered.last_mut() {
            Some((bucket, candle)) if bucket.contains(instant) => candle.merge(&part),
            _ => gathered.push((bucket_of(instant), part)),
        }
    }
    gathered
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::tick::{EventTime, Price, Size, TickKey};
    use proptest::prelude::*;

    fn micros(time: &str) -> i64 {
        let time: chrono::DateTime<chrono::Utc> = time.parse().unwrap();
        time.timestamp_micros()
    }

    #[test]
    fn ticks_of_two_days_in_kathmandu_lie_in_buckets_that_are_written_here() {
        // GIVEN ticks around a midnight at 18:15 UTC
        let tick = |time: &str, price: &str| Tick {
            key: TickKey {
                event_time: EventTime::from_micros(micros(time)),
                sequence: 1,
            },
            price: Price::new(price.parse().unwrap()).unwrap(),
            size: Size::new("2".parse().unwrap()).unwrap(),
            revision: 0,
            cancelled: false,
        };
        let ticks = [
            tick("2024-03-04T18:14:59.999999Z", "10"),
            tick("2024-03-04T18:15:00Z", "12"),
            tick("2024-03-04T18:15:30Z", "9"),
            tick("2024-03-05T18:14:00Z", "11"),
        ];
        // WHEN they are folded
        let folded = Buckets::new(Tz::Asia__Kathmandu).fold(&ticks);
        // THEN each level is
        let shown = folded.map(|level| {
            let show = |(bucket, candle): (Bucket, Candle)| {
                let start = EventTime::from_micros(bucket.start);
                let prices = [
                    candle.open.price,
                    candle.high,
                    candle.low,
                    candle.close.price,
                ];
                let prices = prices.map(|price| price.to_string()).join(" ");
                format!("{start} {prices} {} {}", candle.volume, candle.turnover)
            };
            level.into_iter().map(show).collect::<Vec<_>>()
        });
        assert_eq!(
            shown[0],
            [
                "2024-03-04T18:14:00Z 10 10 10 10 2 20",
                "2024-03-04T18:15:00Z 12 12 9 9 4 42",
                "2024-03-05T18:14:00Z 11 11 11 11 2 22",
            ]
        );
        assert_eq!(
            shown[1],
            [
                "2024-03-04T18:00:00Z 10 12 9 9 6 62",
                "2024-03-05T18:00:00Z 11 11 11 11 2 22",
            ]
        );
        assert_eq!(
            shown[2],
            [
                "2024-03-03T18:15:00Z 10 10 10 10 2 20",
                "2024-03-04T18:15:00Z 12 12 9 11 6 64",
            ]
        );
    }

    proptest! {
        #[test]
        fn every_level_in_every_zone_is_the_aggregate_of_its_ticks(
            mut times in proptest::collection::vec(-3_000_000_000_000_000_i64..2_000_000_000_000_000, 1..60),
            near in 0_i64..2_000_000_000_000_000,
            zone in 0..chrono_tz::TZ_VARIANTS.len(),
        ) {
            // GIVEN ticks all over history, and many close together
            for (index, time) in times.iter_mut().enumerate().filter(|(index, _)| index % 3 != 0) {
                *time = near + (*time).rem_euclid(200 * HOUR) + i64::try_from(index).unwrap();
            }
            times.sort_unstable();
            times.dedup();
            let ticks: Vec<Tick> = times.iter().enumerate().map(|(index, time)| Tick {
                key: TickKey { event_time: EventTime::from_micros(*time), sequence: 0 },
                price: Price::new((index + 1).to_string().parse().unwrap()).unwrap(),
                size: Size::new("2".parse().unwrap()).unwrap(),
                revision: 0,
                cancelled: false,
            }).collect();
            let buckets = Buckets::new(chrono_tz::TZ_VARIANTS[zone]);

            // WHEN they are folded THEN each level equals a plain regrouping of the ticks
            for (level, candles) in Level::ALL.into_iter().zip(buckets.fold(&ticks)) {
                let mut expected: Vec<(Bucket, Vec<&Tick>)> = Vec::new();
                for tick in &ticks {
                    let bucket = buckets.bucket(level, tick.key.event_time.micros());
                    match expected.last_mut() {
                        Some((last, group)) if *last == bucket => group.push(tick),
                        _ => expected.push((bucket, vec![tick])),
                    }
                }
                prop_assert_eq!(candles.len(), expected.len());
                for ((bucket, candle), (expected_bucket, group)) in candles.iter().zip(expected) {
                    prop_assert_eq!(*bucket, expected_bucket);
                    let (first, last) = (group[0], group[group.len() - 1]);
                    prop_assert_eq!((candle.open.key, candle.close.key), (first.key, last.key));
                    prop_assert_eq!(candle.open.price, first.price.decimal());
                    prop_assert_eq!(candle.close.price, last.price.decimal());
                    // Prices rise from tick to tick, by 1.
                    prop_assert_eq!((candle.low, candle.high), (first.price.decimal(), last.price.decimal()));
                    prop_assert_eq!(usize::try_from(candle.trades).unwrap(), group.len());
                    prop_assert_eq!(candle.volume.to_string(), (2 * group.len()).to_string());
                    let prices: i128 = group.iter().map(|tick| tick.price.decimal().units()).sum();
                    prop_assert_eq!(candle.turnover.to_string(), (2 * prices).to_string());
                }
            }
        }
    }
}
