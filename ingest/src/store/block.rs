//! A block: a run of ticks of one symbol as one row, see `migrations/0003_tick_blocks.sql`.
//!
//! Encoding is exact: the narrowest form that holds every value is taken for each quantity.

use chrono::{DateTime, Utc};
use common::decimal::Decimal;
use common::tick::{EventTime, Price, Size, Tick, TickKey};
use sqlx::FromRow;

use super::Damaged;

/// Ticks in a full block. Compression gains little beyond; one late tick rewrites a block.
pub const FULL: usize = 300;

/// The key of a block within its symbol: that of its first tick.
pub type BlockKey = TickKey;

/// The values of many blocks, end to end, with the place where each block's begin; `None`: the block
/// has the quantity in another form.
#[derive(Debug)]
pub(super) struct Column<T> {
    pub(super) starts: Vec<Option<i32>>,
    pub(super) values: Vec<T>,
}

impl<T> Default for Column<T> {
    fn default() -> Self {
        Self {
            starts: Vec::new(),
            values: Vec::new(),
        }
    }
}

impl<T> Column<T> {
    fn push(&mut self, values: Option<impl IntoIterator<Item = T>>) {
        // A batch is bounded far below 2^31 ticks.
        let start = i32::try_from(self.values.len()).unwrap_or(i32::MAX);
        self.starts.push(values.is_some().then_some(start));
        self.values.extend(values.into_iter().flatten());
    }
}

/// Blocks to insert, column by column.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    pub(super) symbol_ids: Vec<i32>,
    pub(super) first: Vec<TickKey>,
    pub(super) last: Vec<TickKey>,
    pub(super) counts: Vec<i32>,
    pub(super) prices: Quantity,
    pub(super) sizes: Quantity,
    pub(super) times: Column<i32>,
    pub(super) times_wide: Column<i64>,
    pub(super) sequences: Column<i32>,
    pub(super) sequences_wide: Column<i64>,
    pub(super) revisions: Column<i32>,
    pub(super) cancels: Column<bool>,
}

impl Blocks {
    /// Adds the block of `ticks`, which are sorted, distinct and at least one.
    pub(super) fn push(&mut self, symbol_id: i32, ticks: &[Tick]) {
        let (Some(first), Some(last)) = (ticks.first(), ticks.last()) else {
            return;
        };
        self.symbol_ids.push(symbol_id);
        self.first.push(first.key);
        self.last.push(last.key);
        self.counts
            .push(i32::try_from(ticks.len()).unwrap_or(i32::MAX));
        self.prices.push(ticks, |tick| tick.price.decimal());
        self.sizes.push(ticks, |tick| tick.size.decimal());
        let (times, times_wide) = offsets(ticks, |tick| tick.key.event_time.micros());
        self.times.push(times);
        self.times_wide.push(times_wide);
        let (sequences, sequences_wide) = offsets(ticks, |tick| tick.key.sequence);
        self.sequences.push(sequences);
        self.sequences_wide.push(sequences_wide);
        let corrected = ticks.iter().any(|tick| tick.revision != 0);
        let cancelled = ticks.iter().any(|tick| tick.cancelled);
        self.revisions
            .push(corrected.then(|| ticks.iter().map(|tick| tick.revision)));
        self.cancels
            .push(cancelled.then(|| ticks.iter().map(|tick| tick.cancelled)));
    }
}

/// Whole numbers as offsets from the first, or as they are where an offset does not fit.
fn offsets(ticks: &[Tick], value: impl Fn(&Tick) -> i64) -> (Option<Vec<i32>>, Option<Vec<i64>>) {
    let base = ticks.first().map_or(0, &value);
    let offset = |tick: &Tick| i32::try_from(value(tick).checked_sub(base)?).ok();
    let narrow: Option<Vec<i32>> = ticks.iter().map(offset).collect();
    let wide = narrow.is_none().then(|| ticks.iter().map(value).collect());
    (narrow, wide)
}

/// Prices or sizes of blocks, each block's on its common scale.
#[derive(Debug, Default)]
pub(super) struct Quantity {
    pub(super) scales: Vec<i16>,
    pub(super) bases: Vec<i64>,
    pub(super) narrow: Column<i32>,
    pub(super) wide: Column<i64>,
    pub(super) numeric: Column<String>,
}

impl Quantity {
    fn push(&mut self, ticks: &[Tick], value: impl Fn(&Tick) -> Decimal) {
        let scale = ticks
            .iter()
            .map(|tick| value(tick).scale())
            .max()
            .unwrap_or(0);
        let unit = |tick: &Tick| {
            value(tick)
                .units_at(scale)
                .and_then(|units| i64::try_from(units).ok())
        };
        let units: Option<Vec<i64>> = ticks.iter().map(unit).collect();
        let base = units
            .as_ref()
            .and_then(|units| units.first().copied())
            .unwrap_or(0);
        let narrow = |units: &Vec<i64>| -> Option<Vec<i32>> {
            units
                .iter()
                .map(|unit| i32::try_from(unit.checked_sub(base)?).ok())
                .collect()
        };
        let narrow = units.as_ref().and_then(narrow);
        let wide = units.filter(|_| narrow.is_none());
        let numeric = (narrow.is_none() && wide.is_none())
            .then(|| ticks.iter().map(|tick| value(tick).to_string()));
        self.scales.push(if numeric.is_some() {
            0
        } else {
            i16::from(scale)
        });
        self.bases.push(if narrow.is_some() { base } else { 0 });
        self.narrow.push(narrow);
        self.wide.push(wide);
        self.numeric.push(numeric);
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
        (self.first_time, self.first_sequence).into()
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
    if let Some(texts) = numeric {
        texts.iter().map(|text| text.parse().ok()).collect()
    } else {
        let scale = u32::try_from(scale).ok()?;
        whole(narrow, wide, base)?
            .into_iter()
            .map(|units| Decimal::new(i128::from(units), scale).ok())
            .collect()
    }
}
