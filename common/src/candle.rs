//! The candle: one definition of what it is made of and of how two are merged.
//!
//! [`Candle::merge`] is associative and commutative over candles of disjoint sets of ticks, so any
//! order and any batching of the same ticks gives the same candle. Open and close follow (event
//! time, sequence), never the order of arrival.

use crate::amount::Amount;
use crate::decimal::Decimal;
use crate::tick::{Tick, TickKey};

/// The price of the first or last tick, with the key that makes it so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// Event time and sequence of the tick.
    pub key: TickKey,
    /// Its price.
    pub price: Decimal,
}

/// The aggregate of one or more ticks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candle {
    /// The first tick.
    pub open: Edge,
    /// The last tick.
    pub close: Edge,
    /// Highest price.
    pub high: Decimal,
    /// Lowest price.
    pub low: Decimal,
    /// Sum of size.
    pub volume: Amount,
    /// Sum of price x size.
    pub turnover: Amount,
    /// Number of ticks, at least 1.
    pub trades: i64,
}

impl Candle {
    /// The candle of one tick, which is not cancelled.
    #[must_use]
    pub fn of(tick: &Tick) -> Self {
        let (price, size) = (tick.price.decimal(), tick.size.decimal());
        let edge = Edge {
            key: tick.key,
            price,
        };
        Self {
            open: edge,
            close: edge,
            high: price,
            low: price,
            volume: size.into(),
            turnover: Amount::product(price, size),
            trades: 1,
        }
    }

    /// Adds the ticks that `other` is made of, none of which is in `self`.
    pub fn merge(&mut self, other: &Self) {
        if other.open.key < self.open.key {
            self.open = other.open;
        }
        if other.close.key > self.close.key {
            self.close = other.close;
        }
        self.high = self.high.max(other.high);
        self.low = self.low.min(other.low);
        self.volume.add(&other.volume);
        self.turnover.add(&other.turnover);
        self.trades += other.trades;
    }

    /// The candle of all `parts`, or `None` when there is none.
    pub fn fold(parts: impl IntoIterator<Item = Self>) -> Option<Self> {
        parts.into_iter().reduce(|mut whole, part| {
            whole.merge(&part);
            whole
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tick::{EventTime, Price, Size};
    use bigdecimal::BigDecimal;
    use proptest::prelude::*;

    fn ticks() -> impl Strategy<Value = Vec<Tick>> {
        let tick = (
            0_i64..50,
            0_i64..20,
            1_i128..1_000_000,
            0_u32..6,
            0_i128..10_000,
            0_u32..4,
        );
        proptest::collection::vec(tick, 1..40).prop_map(|raw| {
            let mut ticks: Vec<Tick> = raw
                .into_iter()
                .map(
                    |(time, sequence, price, price_scale, size, size_scale)| Tick {
                        key: TickKey {
                            event_time: EventTime::from_micros(time),
                            sequence,
                        },
                        price: Price::new(Decimal::new(price, price_scale).unwrap()).unwrap(),
                        size: Size::new(Decimal::new(size, size_scale).unwrap()).unwrap(),
                        revision: 0,
                        cancelled: false,
                    },
                )
                .collect();
            ticks.sort_by_key(|tick| tick.key);
            ticks.dedup_by_key(|tick| tick.key);
            ticks
        })
    }

    /// The candle of ticks in order, by a loop over each field.
    fn plain(ticks: &[Tick]) -> Candle {
        let edge = |tick: &Tick| Edge {
            key: tick.key,
            price: tick.price.decimal(),
        };
        let (open, close) = (edge(&ticks[0]), edge(&ticks[ticks.len() - 1]));
        let (mut high, mut low) = (open.price, open.price);
        let (mut volume, mut turnover) = (BigDecimal::from(0), BigDecimal::from(0));
        let big = |decimal: Decimal| decimal.to_string().parse::<BigDecimal>().unwrap();
        for tick in ticks {
            let (price, size) = (tick.price.decimal(), tick.size.decimal());
            if price > high {
                high = price;
            }
            if price < low {
                low = price;
            }
            volume += big(size);
            turnover += big(price) * big(size);
        }
        let sum = |sum: BigDecimal| sum.to_plain_string().parse().unwrap();
        Candle {
            open,
            close,
            high,
            low,
            volume: sum(volume),
            turnover: sum(turnover),
            trades: i64::try_from(ticks.len()).unwrap(),
        }
    }

    #[test]
    fn a_candle_is_what_its_ticks_make_by_hand() {
        let tick = |micros, sequence, price: &str, size: &str| Tick {
            key: TickKey {
                event_time: EventTime::from_micros(micros),
                sequence,
            },
            price: Price::new(price.parse().unwrap()).unwrap(),
            size: Size::new(size.parse().unwrap()).unwrap(),
            revision: 0,
            cancelled: false,
        };
        // GIVEN ticks that come neither in order of time nor, at one time, of sequence
        let ticks = [
            tick(2, 5, "12.5", "0.1"),
            tick(1, 9, "9.75", "4"),
            tick(2, 7, "10", "0"),
            tick(1, 8, "11", "2.50"),
        ];
        // WHEN they are folded
        let candle = Candle::fold(ticks.iter().map(Candle::of)).unwrap();
        // THEN each field is
        let shown = [
            candle.open.price.to_string(),
            candle.high.to_string(),
            candle.low.to_string(),
            candle.close.price.to_string(),
            candle.volume.to_string(),
            candle.turnover.to_string(),
            candle.trades.to_string(),
        ];
        assert_eq!(shown, ["11", "12.5", "9.75", "10", "6.6", "67.75", "4"]);
        assert_eq!(
            (candle.open.key, candle.close.key),
            (ticks[3].key, ticks[2].key)
        );
    }

    proptest! {
        #[test]
        fn any_order_and_grouping_gives_the_same_candle(ticks in ticks(), seed in any::<u64>()) {
            let mut groups: Vec<Candle> = ticks.iter().map(Candle::of).collect();
            let mut state = seed;
            while groups.len() > 1 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let pick = usize::try_from(state >> 33).unwrap();
                let part = groups.swap_remove(pick % groups.len());
                let into = (pick / 7) % groups.len();
                groups[into].merge(&part);
            }
            prop_assert_eq!(&groups[0], &plain(&ticks));
        }
    }
}
