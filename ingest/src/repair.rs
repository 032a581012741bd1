//! Recomputes what `verify` found to differ, under the symbol's lock as every writer does.
//!
//! Finest level first: an hour that is made of a repaired minute is made anew in the same transaction,
//! and a day that is made of a repaired hour. What is right already is not written, and what begins below
//! the symbol's floor stays: its ticks are gone.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use chrono_tz::Tz;
use common::calendar::local_date;
use common::database::Database;
use common::tick::EventTime;
use sqlx::PgConnection;

use crate::fold::{Buckets, HOUR, Level};
use crate::recompute;
use crate::store::candles::{self, BucketKey, Write};
use crate::store::{self, days, hours, marks, symbols, views};
use crate::verify::{AFTER_ALL, BEFORE_ALL, Wrong};

/// Buckets that one transaction is about.
const A_STEP: usize = 500;

/// Recomputes buckets of a symbol; returns how many candles were written.
///
/// # Errors
/// When the database fails.
pub async fn candles(database: &Database, id: i32, wrong: &[Wrong]) -> sqlx::Result<u64> {
    let mut wrong = wrong.to_vec();
    wrong.sort_unstable();
    let mut written = 0;
    for step in wrong.chunks(A_STEP) {
        written += candles_at_once(database, id, step).await?;
    }
    Ok(written)
}

async fn candles_at_once(database: &Database, id: i32, wrong: &[Wrong]) -> sqlx::Result<u64> {
    let mut tx = database.begin().await?;
    let locked = symbols::lock(&mut tx, &[id]).await?;
    let Some(symbol) = locked.get(&id) else {
        return Err(sqlx::Error::RowNotFound);
    };
    // A floor that has risen since they were compared: their ticks are going, or gone.
    let floor = symbol.floor.map_or(i64::MIN, EventTime::micros);
    let now = store::now(&mut tx).await?;
    let buckets = Buckets::new(symbol.zone);
    let (mut changed, mut marked) = (BTreeSet::new(), Vec::new());
    let mut starts: BTreeMap<Level, BTreeSet<i64>> = BTreeMap::new();
    for (level, start) in wrong.iter().filter(|(_, start)| *start >= floor) {
        starts.entry(*level).or_default().insert(*start);
    }
    let mut written = 0;
    for level in Level::ALL {
        let keys: Vec<_> = starts
            .remove(&level)
            .unwrap_or_default()
            .into_iter()
            .map(|start| (id, start))
            .collect();
        if level == Level::Day {
            for (date, start) in dates(&mut tx, id, symbol.zone, &keys, floor)
                .await
                .map_err(|error| days::moved_day(error, &locked))?
            {
                marked.extend(
                    [date, local_date(start, symbol.zone)].map(|date| (id, date, symbol.zone)),
                );
                changed.insert((id, buckets.bucket(Level::Hour, start + HOUR - 1).start));
                written += 1;
            }
        }
        let mut stored = candles::read(&mut tx, level, &keys).await?;
        let mut writes = Vec::new();
        for key in keys {
            let bucket = buckets.bucket(level, key.1);
            let candle = recompute::bucket(&mut tx, id, &buckets, level, bucket.start).await?;
            let before = stored.remove(&key);
            if before.as_ref().is_some_and(|before| *before == candle)
                || (before.is_none() && candle.is_none())
            {
                continue;
            }
            writes.push(Write {
                symbol_id: id,
                bucket,
                local_date: local_date(bucket.start, symbol.zone),
                candle,
            });
        }
        let written_level = candles::write(&mut tx, level, &writes).await;
        written_level.map_err(|error| days::moved_day(error, &locked))?;
        written += writes.len() as u64;
        for write in &writes {
            let (start, end) = (write.bucket.start, write.bucket.end);
            for coarser in Level::ALL.into_iter().filter(|coarser| *coarser > level) {
                for instant in [start, end - 1] {
                    let bucket = buckets.bucket(coarser, instant);
                    starts.entry(coarser).or_default().insert(bucket.start);
                }
            }
            if level == Level::Day {
                marked.push((id, write.local_date, symbol.zone));
            }
            // The first hour that begins in it, or holds it.
            let hour = buckets.bucket(Level::Hour, (start + HOUR - 1).min(end - 1));
            changed.insert((id, hour.start));
        }
    }
    marks::write(&mut tx, &marks::of_days(marked.into_iter(), now)).await?;
    hours::write(&mut tx, &changed).await?;
    if written > 0 {
        symbols::touch(&mut tx, id).await?;
    }
    tx.commit().await?;
    Ok(written)
}

/// Gives days their dates, when one of these has a wrong one: all of them from `floor` on, since another one may bear a
/// date that is needed. Returns the date that each bore and its start.
async fn dates(
    tx: &mut PgConnection,
    id: i32,
    zone: Tz,
    keys: &[BucketKey],
    floor: i64,
) -> sqlx::Result<Vec<(NaiveDate, i64)>> {
    let Some(((_, first), (_, last))) = keys.first().zip(keys.last()) else {
        return Ok(Vec::new());
    };
    let wrong = days::misnamed(tx, id, zone, (*first, *last + 1)).await?;
    if !wrong.iter().any(|(start, _)| keys.contains(&(id, *start))) {
        return Ok(Vec::new());
    }
    let wrong = days::misnamed(tx, id, zone, (floor.max(BEFORE_ALL), AFTER_ALL)).await?;
    let starts: Vec<i64> = wrong.iter().map(|(start, _)| *start).collect();
    days::rename(tx, id, zone, &starts).await?;
    Ok(wrong
        .into_iter()
        .map(|(start, date)| (date, start))
        .collect())
}

/// Raises a high-water mark that lies below the symbol's last tick.
///
/// # Errors
/// When the database fails.
pub async fn mark(database: &Database, id: i32) -> sqlx::Result<()> {
    let mut tx = database.begin().await?;
    symbols::lock(&mut tx, &[id]).await?;
    symbols::mend_high(&mut tx, id).await?;
    symbols::touch(&mut tx, id).await?;
    tx.commit().await
}

/// Refreshes a view.
///
/// # Errors
/// When the database fails.
pub async fn view(database: &Database, view: &str) -> sqlx::Result<()> {
    let mut tx = database.begin().await?;
    views::refresh(&mut tx, view).await?;
    tx.commit().await
}
