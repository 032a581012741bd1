//! Another zone for a symbol, or other rules of the one that it has: its days are made anew, in one transaction.
//!
//! A reader sees the old days in the old zone or the new ones in the new zone. Every period of the
//! views that has one of these days is marked, so that it is read from them until a refresh.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use chrono_tz::Tz;
use common::calendar::local_date;
use common::database::Database;
use sqlx::PgConnection;

use crate::fold::{Buckets, Level};
use crate::recompute;
use crate::store::candles::{self, Write};
use crate::store::{self, days, hours, marks, symbols};

/// Days written by one statement.
const DAYS_A_STEP: usize = 500;

/// What a change of zone did, or would do.
#[derive(Debug, PartialEq, Eq)]
pub enum Rezoned {
    /// It was in that zone.
    Already,
    /// It was not known, and is now, in that zone.
    Made,
    /// It was in another one, or its days were to be made anew.
    Changed {
        /// The zone before.
        from: String,
        /// Days before and after.
        days: (usize, usize),
    },
}

/// Why a symbol keeps its zone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RezoneError {
    /// Nothing is left to make the days from.
    #[error(
        "the days of {symbol} have {before} trades, its hours, minutes and ticks only {after}: the others were deleted by \
         `ingest candles retain`, so its days cannot be made anew; it keeps its zone and its days"
    )]
    Incomplete {
        /// The symbol.
        symbol: String,
        /// Trades of all days.
        before: i64,
        /// Trades of all days as they would be made.
        after: i64,
    },
    /// The database failed or refused.
    #[error("{}", common::database::explain(.0))]
    Database(#[from] sqlx::Error),
}

/// Gives a symbol another zone; with `anew` its days are made anew in the zone that it has, too. Its workers wait
/// meanwhile. `dry_run` does the same and takes it back.
///
/// # Errors
/// When the database fails, refuses the zone, or no longer has what the days are made of.
pub async fn rezone(
    database: &Database,
    symbol: &str,
    zone: Tz,
    anew: bool,
    dry_run: bool,
) -> Result<Rezoned, RezoneError> {
    let mut tx = database.begin().await?;
    // It reads all hours of the symbol, which has no bound.
    store::no_statement_timeout(&mut tx).await?;
    let done = match symbols::lock_zone(&mut tx, symbol).await? {
        Some((_, from)) if from == zone.name() && !anew => Rezoned::Already,
        Some((id, from)) => Rezoned::Changed {
            from,
            days: rebuild(&mut tx, id, symbol, zone).await?,
        },
        None => {
            symbols::make(&mut tx, symbol, zone).await?;
            Rezoned::Made
        }
    };
    if dry_run {
        tx.rollback().await?;
    } else {
        tx.commit().await?;
    }
    Ok(done)
}

/// Makes the days of a locked symbol anew; returns how many there were and are.
async fn rebuild(
    tx: &mut PgConnection,
    id: i32,
    symbol: &str,
    zone: Tz,
) -> Result<(usize, usize), RezoneError> {
    symbols::set_zone(tx, id, zone).await?;
    let before: BTreeMap<NaiveDate, (i64, i64)> = days::read(tx, id).await?;
    marks::write_all(tx, id).await?;
    days::delete(tx, id).await?;

    let buckets = Buckets::new(zone);
    let mut starts = BTreeSet::new();
    for hour in candles::hour_starts(tx, id).await? {
        // An hour may reach into the next day.
        let end = buckets.bucket(Level::Hour, hour).end;
        for instant in [hour, end - 1] {
            starts.insert(buckets.bucket(Level::Day, instant).start);
        }
    }
    let starts: Vec<i64> = starts.into_iter().collect();
    let (mut days, mut trades) = (0, 0);
    for step in starts.chunks(DAYS_A_STEP) {
        let mut writes = Vec::new();
        for start in step {
            let candle = recompute::bucket(tx, id, &buckets, Level::Day, *start).await?;
            let local_date = local_date(*start, zone);
            if candle.is_none() && !before.contains_key(&local_date) {
                continue;
            }
            trades += candle.as_ref().map_or(0, |candle| candle.trades);
            writes.push(Write {
                symbol_id: id,
                bucket: buckets.bucket(Level::Day, *start),
                local_date,
                candle,
            });
        }
        days += writes.len();
        candles::write(tx, Level::Day, &writes).await?;
    }
    let traded = before.values().map(|(_, trades)| trades).sum();
    if traded != trades {
        return Err(RezoneError::Incomplete {
            symbol: symbol.to_owned(),
            before: traded,
            after: trades,
        });
    }
    days::raise(tx, id, &before).await?;
    marks::write_all(tx, id).await?;
    hours::write_all(tx, id).await?;
    Ok((before.len(), days))
}
