//! The candles of all levels follow the ticks that changed, in the transaction that changes them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use common::calendar::local_date;
use common::candle::Candle;
use common::tick::TickKey;
use sqlx::PgConnection;

use crate::fold::{Buckets, Level};
use crate::merge::Effects;
use crate::recent::{Changes, Recent, Stamp};
use crate::recompute;
use crate::store::candles::{BucketKey, Stored, Write};
use crate::store::{candles, hours, marks};

/// A symbol whose ticks changed.
pub(crate) struct SymbolWork {
    pub(crate) id: i32,
    pub(crate) buckets: Buckets,
    /// The high-water mark before: no candle is stored for a bucket that begins above it.
    pub(crate) high: Option<TickKey>,
    /// Of the symbol as it was locked.
    pub(crate) stamp: Stamp,
    pub(crate) effects: Effects,
}

/// Writes the candles of every bucket whose ticks changed, finest level first. A bucket with new ticks
/// only is folded; one with a correction or a cancel is recomputed, without the batch's own delta.
pub(crate) async fn bring_up_to_date(
    tx: &mut PgConnection,
    work: &[SymbolWork],
    now: DateTime<Utc>,
    recent: &Recent,
    changes: &mut Changes,
) -> sqlx::Result<u64> {
    let folded: Vec<_> = work
        .iter()
        .map(|symbol| symbol.buckets.fold(&symbol.effects.added))
        .collect();
    let buckets: BTreeMap<i32, &Buckets> = work
        .iter()
        .map(|symbol| (symbol.id, &symbol.buckets))
        .collect();
    let (mut written, mut ended) = (0, BTreeSet::new());
    for (depth, level) in Level::ALL.into_iter().enumerate() {
        let mut recomputed: BTreeMap<BucketKey, Option<Candle>> = BTreeMap::new();
        let mut deltas: BTreeMap<BucketKey, &Candle> = BTreeMap::new();
        let mut stored = Stored::new();
        let mut expected: Vec<BucketKey> = Vec::new();
        for (symbol, folded) in work.iter().zip(&folded) {
            let mut touched: Vec<i64> = symbol
                .effects
                .touched
                .iter()
                .map(|time| symbol.buckets.bucket(level, time.micros()).start)
                .collect();
            touched.sort_unstable();
            touched.dedup();
            for start in touched {
                let candle =
                    recompute::bucket(tx, symbol.id, &symbol.buckets, level, start).await?;
                recomputed.insert((symbol.id, start), candle);
                expected.push((symbol.id, start));
            }
            for (bucket, delta) in &folded[depth] {
                let key = (symbol.id, bucket.start);
                if recomputed.contains_key(&key) {
                    continue;
                }
                deltas.insert(key, delta);
                if let Some(candle) = recent.get(symbol.stamp, level, key) {
                    stored.insert(key, Some(candle.clone()));
                } else if symbol
                    .high
                    .is_some_and(|high| bucket.start <= high.event_time.micros())
                {
                    expected.push(key);
                }
            }
        }
        stored.append(&mut candles::read(tx, level, &expected).await?);
        let mut results: BTreeMap<BucketKey, Option<Candle>> = BTreeMap::new();
        for (key, candle) in recomputed {
            if stored.remove(&key) != Some(candle.clone()) {
                results.insert(key, candle);
            }
        }
        for (key, delta) in deltas {
            let candle = match stored.remove(&key).flatten() {
                Some(mut candle) => {
                    candle.merge(delta);
                    candle
                }
                None => delta.clone(),
            };
            results.insert(key, Some(candle));
        }
        let writes: Vec<Write> = results
            .into_iter()
            .map(|((symbol_id, start), candle)| {
                let of = buckets[&symbol_id];
                Write {
                    symbol_id,
                    bucket: of.bucket(level, start),
                    local_date: local_date(start, of.zone()),
                    candle,
                }
            })
            .collect();
        candles::write(tx, level, &writes).await?;
        changes.write(level, &writes);
        written += writes.len() as u64;
        if level == Level::Minute {
            for write in &writes {
                let of = buckets[&write.symbol_id];
                hours::of_minute(write.symbol_id, write.bucket, of, now, &mut ended);
            }
        }
        if level == Level::Day {
            let days = writes.iter().map(|write| {
                let zone = buckets[&write.symbol_id].zone();
                (write.symbol_id, write.local_date, zone)
            });
            marks::write(tx, &marks::of_days(days, now)).await?;
        }
    }
    hours::write(tx, &ended).await?;
    Ok(written)
}
