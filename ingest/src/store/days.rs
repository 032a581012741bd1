//! What is done to days alone: their zone may change, and its rules. Revisions go on from the days before.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use common::calendar::local_date;
use sqlx::PgConnection;
use sqlx::postgres::PgDatabaseError;

use super::symbols::Locked;
use super::timestamp;

/// A day begins elsewhere than when it was stored, for zones change their rules.
#[derive(Debug, thiserror::Error)]
#[error(
    "a day of symbol {symbol} begins at another time than when it was stored: this program has other rules of {zone} than the \
     one that stored it. Run the newer of them everywhere, and `ingest symbols set {symbol} --timezone {zone} --rebuild` to make \
     its days anew"
)]
pub struct MovedDay {
    symbol: String,
    zone: String,
}

impl MovedDay {
    /// What a failure says of a day that has moved, when it is about that.
    #[must_use]
    pub fn of(error: &sqlx::Error) -> Option<&Self> {
        match error {
            sqlx::Error::Decode(cause) => cause.downcast_ref(),
            _ => None,
        }
    }
}

/// Tells a failure that is a [`MovedDay`] from others: no message is at fault, though a constraint is.
#[must_use]
pub fn moved_day(error: sqlx::Error, locked: &BTreeMap<i32, Locked>) -> sqlx::Error {
    let Some(refused) = error
        .as_database_error()
        .filter(|refused| refused.constraint() == Some("candles_1d_local_date"))
    else {
        return error;
    };
    // In any language, as in "Key (symbol_id, local_date)=(7, 2024-03-04) already exists."
    let detail = refused
        .try_downcast_ref::<PgDatabaseError>()
        .and_then(PgDatabaseError::detail);
    let id = detail.and_then(|detail| detail.split_once("=(")?.1.split(',').next()?.parse().ok());
    let (symbol, zone) = id
        .and_then(|id: i32| locked.get(&id))
        .map_or(("SYMBOL", "ZONE"), |symbol| {
            (&symbol.name, symbol.zone.name())
        });
    sqlx::Error::Decode(Box::new(MovedDay {
        symbol: symbol.to_owned(),
        zone: zone.to_owned(),
    }))
}

/// Each day of a symbol with its revision and trades.
///
/// # Errors
/// When the database fails.
pub async fn read(
    db: &mut PgConnection,
    symbol_id: i32,
) -> sqlx::Result<BTreeMap<NaiveDate, (i64, i64)>> {
    let rows: Vec<(NaiveDate, i64, i64)> =
        sqlx::query_as("select local_date, revision, trades from candles_1d where symbol_id = $1")
            .bind(symbol_id)
            .fetch_all(db)
            .await?;
    Ok(rows
        .into_iter()
        .map(|(date, revision, trades)| (date, (revision, trades)))
        .collect())
}

/// Deletes the days of a symbol.
///
/// # Errors
/// When the database fails.
pub async fn delete(db: &mut PgConnection, symbol_id: i32) -> sqlx::Result<()> {
    sqlx::query("delete from candles_1d where symbol_id = $1")
        .bind(symbol_id)
        .execute(db)
        .await?;
    Ok(())
}

/// Lets the revisions of days that were made anew go on from those before.
///
/// # Errors
/// When the database fails.
pub async fn raise(
    db: &mut PgConnection,
    symbol_id: i32,
    before: &BTreeMap<NaiveDate, (i64, i64)>,
) -> sqlx::Result<()> {
    sqlx::query(
        "update candles_1d d set revision = before.revision + 1 \
         from unnest($2::date[], $3::bigint[]) as before(local_date, revision) \
         where d.symbol_id = $1 and d.local_date = before.local_date",
    )
    .bind(symbol_id)
    .bind(before.keys().copied().collect::<Vec<_>>())
    .bind(before.values().map(|day| day.0).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}

/// Days with `from <= open time < to` that bear another date than the one that begins in `zone` then, as open time
/// (microseconds since 1970-01-01T00:00:00Z) and date.
///
/// # Errors
/// When the database fails.
pub async fn misnamed(
    db: &mut PgConnection,
    symbol_id: i32,
    zone: Tz,
    (from, to): (i64, i64),
) -> sqlx::Result<Vec<(i64, NaiveDate)>> {
    let rows: Vec<(DateTime<Utc>, NaiveDate)> = sqlx::query_as(
        "select open_time, local_date from candles_1d where symbol_id = $1 and open_time >= $2 and open_time < $3 \
         order by open_time",
    )
    .bind(symbol_id)
    .bind(timestamp(from))
    .bind(timestamp(to))
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(time, date)| (time.timestamp_micros(), date))
        .filter(|(start, date)| local_date(*start, zone) != *date)
        .collect())
}

/// Gives days the dates that begin in `zone` at their open times, microseconds since 1970-01-01T00:00:00Z.
///
/// # Errors
/// When the database fails, or another day bears such a date.
pub async fn rename(
    db: &mut PgConnection,
    symbol_id: i32,
    zone: Tz,
    starts: &[i64],
) -> sqlx::Result<()> {
    let times: Vec<_> = starts.iter().map(|start| timestamp(*start)).collect();
    let dates: Vec<_> = starts
        .iter()
        .map(|start| local_date(*start, zone))
        .collect();
    // Two may have each other's date: all give theirs back first, and have one of no calendar meanwhile.
    sqlx::query(
        "update candles_1d set local_date = local_date + 1000000 where symbol_id = $1 and open_time = any($2)",
    )
    .bind(symbol_id)
    .bind(&times)
    .execute(&mut *db)
    .await?;
    sqlx::query(
        "update candles_1d d set local_date = named.local_date, revision = d.revision + 1, updated_at = clock_timestamp() \
         from unnest($2::timestamptz[], $3::date[]) as named(open_time, local_date) \
         where d.symbol_id = $1 and d.open_time = named.open_time",
    )
    .bind(symbol_id)
    .bind(&times)
    .bind(dates)
    .execute(db)
    .await?;
    Ok(())
}
