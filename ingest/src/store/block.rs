//! A block: a run of ticks of one symbol as one row, see migrations/0003_tick_blocks.sql.
//!
//! Encoding is exact: the narrowest form that holds every value is taken for each quantity.

use chrono::{DateTime, Utc};
use common::decimal::Decimal;
use common::tick::{EventTime, Price, Size, Tick, TickKey};
use sqlx::FromRow;

use super::Damaged;
use super::copy::Rows;

/// Ticks in a full block. Compression gains little beyond; one late tick rewrites a block.
pub const FULL: usize = 300;

/// The columns of [`write()`], for COPY.
pub const COLUMNS: &str = "symbol_id, first_time, first_sequence, last_time, last_sequence, count, price_scale, size_scale, \
     price_base, size_base, times, times_wide, sequences, sequences_wide, prices, prices_wide, prices_numeric, \
     sizes, sizes_wide, sizes_numeric, revisions, cancels";

/// The key of a block within its symbol: that of its first tick.
pub type BlockKey = TickKey;

/// Appends the row of `ticks`, which are sorted, distinct and at least one.
pub fn write(rows: &mut Rows, symbol_id: i32, ticks: &[Tick]) {
    let (Some(first), Some(last)) = (ticks.first(), ticks.last()) else {
        return;
    };
    let prices = Quantities::of(ticks, |tick| tick.price.decimal());
    let sizes = Quantities::of(ticks, |tick| tick.size.decimal());
    let base = first.key.event_time.micros();

    rows.row(22)
        .int4(symbol_id)
        .time(base)
        .int8(first.key.sequence)
        .time(last.key.event_time.micros())
        .int8(last.key.sequence)
        .int4(i32::try_from(ticks.len()).unwrap_or(i32::MAX))
        .int2(i16::from(prices.scale))
        .int2(i16::from(sizes.scale))
        .int8(prices.base)
        .int8(sizes.base);
    offsets(rows, ticks, base, |tick| tick.key.event_time.micros());
    offsets(rows, ticks, first.key.sequence, |tick| tick.key.sequence);
    prices.write(rows);
    sizes.write(rows);
    let corrected = ticks.iter().any(|tick| tick.revision != 0);
    let cancelled = ticks.iter().any(|tick| tick.cancelled);
    rows.int4_array(corrected.then(|| ticks.iter().map(|tick| tick.revision)))
        .bool_array(cancelled.then(|| ticks.iter().map(|tick| tick.cancelled)));
}

/// Writes the narrow and the wide column of whole numbers.
fn offsets(rows: &mut Rows, ticks: &[Tick], base: i64, value: impl Fn(&Tick) -> i64) {
    let narrow: Option<Vec<i32>> = ticks
        .iter()
        .map(|tick| {
            value(tick)
                .checked_sub(base)
                .and_then(|offset| i32::try_from(offset).ok())
        })
        .collect();
    let wide = narrow.is_none();
    rows.int4_array(narrow.map(Vec::into_iter))
        .int8_array(wide.then(|| ticks.iter().map(value)));
}

/// Prices or sizes of a block on their common scale.
struct Quantities {
    scale: u8,
    base: i64,
    form: Form,
}

enum Form {
    Narrow(Vec<i32>),
    Wide(Vec<i64>),
    Numeric(Vec<Decimal>),
}

impl Quantities {
    fn of(ticks: &[Tick], value: impl Fn(&Tick) -> Decimal) -> Self {
        let scale = ticks
            .iter()
            .map(|tick| value(tick).scale())
            .max()
            .unwrap_or(0);
        let units: Option<Vec<i64>> = ticks
            .iter()
            .map(|tick| {
                value(tick)
                    .units_at(scale)
                    .and_then(|units| i64::try_from(units).ok())
            })
            .collect();
        let Some(units) = units else {
            return Self {
                scale: 0,
                base: 0,
                form: Form::Numeric(ticks.iter().map(value).collect()),
            };
        };
        let base = units.first().copied().unwrap_or(0);
        let narrow: Option<Vec<i32>> = units
            .iter()
            .map(|unit| {
                unit.checked_sub(base)
                    .and_then(|offset| i32::try_from(offset).ok())
            })
            .collect();
        match narrow {
            Some(offsets) => Self {
                scale,
                base,
                form: Form::Narrow(offsets),
            },
            None => Self {
                scale,
                base: 0,
                form: Form::Wide(units),
            },
        }
    }

    fn write(self, rows: &mut Rows) {
        let (narrow, wide, numeric) = match self.form {
            Form::Narrow(values) => (Some(values), None, None),
            Form::Wide(values) => (None, Some(values), None),
            Form::Numeric(values) => (None, None, Some(values)),
        };
        rows.int4_array(narrow.map(Vec::into_iter))
            .int8_array(wide.map(Vec::into_iter))
            .numeric_array(numeric.map(Vec::into_iter));
    }
}

/// A block as it is read; numerics come as text.
#[derive(Debug, FromRow)]
pub struct BlockRow {
    /// The symbol.
    pub symbol_id: i32,
    /// Event time and sequence of the first tick, the block's key.
    pub first_time: DateTime<Utc>,
    /// See `first_time`.
    pub first_sequence: i64,
    price_scale: i16,
    size_scale: i16,
    price_base: i64,
    size_base: i64,
    times: Option<Vec<i32>>,
    times_wide: Option<Vec<i64>>,
    sequences: Option<Vec<i32>>,
    sequences_wide: Option<Vec<i64>>,
    prices: Option<Vec<i32>>,
    prices_wide: Option<Vec<i64>>,
    prices_numeric: Option<Vec<String>>,
    sizes: Option<Vec<i32>>,
    sizes_wide: Option<Vec<i64>>,
    sizes_numeric: Option<Vec<String>>,
    revisions: Option<Vec<i32>>,
    cancels: Option<Vec<bool>>,
}

impl BlockRow {
    /// The block's key.
    #[must_use]
    pub fn key(&self) -> BlockKey {
        TickKey {
            event_time: self.first_time.into(),
            sequence: self.first_sequence,
        }
    }

    /// The ticks, in order.
    ///
    /// # Errors
    /// When the row breaks its own rules.
    pub fn ticks(&self) -> Result<Vec<Tick>, Damaged> {
        let damaged = |what: &str| {
            Damaged(format!(
                "{what} of the block of symbol {} at {}",
                self.symbol_id, self.first_time
            ))
        };
        let times = whole(
            self.times.as_deref(),
            self.times_wide.as_deref(),
            self.key().event_time.micros(),
        );
        let sequences = whole(
            self.sequences.as_deref(),
            self.sequences_wide.as_deref(),
            self.first_sequence,
        );
        let prices = exact(
            self.prices.as_deref(),
            self.prices_wide.as_deref(),
            self.prices_numeric.as_deref(),
            self.price_base,
            self.price_scale,
        );
        let sizes = exact(
            self.sizes.as_deref(),
            self.sizes_wide.as_deref(),
            self.sizes_numeric.as_deref(),
            self.size_base,
            self.size_scale,
        );
        let (times, sequences) = (
            times.ok_or_else(|| damaged("times"))?,
            sequences.ok_or_else(|| damaged("sequences"))?,
        );
        let (prices, sizes) = (
            prices.ok_or_else(|| damaged("prices"))?,
            sizes.ok_or_else(|| damaged("sizes"))?,
        );
        if [sequences.len(), prices.len(), sizes.len()] != [times.len(); 3] {
            return Err(damaged("array lengths"));
        }
        let flag = |index: usize| {
            let revision = self
                .revisions
                .as_ref()
                .map_or(Some(0), |all| all.get(index).copied())?;
            let cancelled = self
                .cancels
                .as_ref()
                .map_or(Some(false), |all| all.get(index).copied())?;
            Some((revision, cancelled))
        };
        (0..times.len())
            .map(|index| {
                let (revision, cancelled) =
                    flag(index).ok_or_else(|| damaged("revisions or cancels"))?;
                Ok(Tick {
                    key: TickKey {
                        event_time: EventTime::from_micros(times[index]),
                        sequence: sequences[index],
                    },
                    price: Price::new(prices[index]).map_err(|_| damaged("prices"))?,
                    size: Size::new(sizes[index]).map_err(|_| damaged("sizes"))?,
                    revision,
                    cancelled,
                })
            })
            .collect()
    }
}

fn whole(narrow: Option<&[i32]>, wide: Option<&[i64]>, base: i64) -> Option<Vec<i64>> {
    match (narrow, wide) {
        (Some(offsets), None) => offsets
            .iter()
            .map(|offset| base.checked_add(i64::from(*offset)))
            .collect(),
        (None, Some(values)) => Some(values.to_vec()),
        _ => None,
    }
}

fn exact(
    narrow: Option<&[i32]>,
    wide: Option<&[i64]>,
    numeric: Option<&[String]>,
    base: i64,
    scale: i16,
) -> Option<Vec<Decimal>> {
    match numeric {
        Some(texts) => texts.iter().map(|text| text.parse().ok()).collect(),
        None => {
            let scale = u32::try_from(scale).ok()?;
            whole(narrow, wide, base)?
                .into_iter()
                .map(|units| Decimal::new(i128::from(units), scale).ok())
                .collect()
        }
    }
}
