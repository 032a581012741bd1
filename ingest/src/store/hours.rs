//! Hours that changed after the fact, see `migrations/0007_changed_hours.sql`.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use common::calendar::Bucket;
use sqlx::PgConnection;

use super::timestamp;
use crate::fold::{Buckets, Level};

/// A UTC hour of a symbol: its id and the hour's start, in microseconds since 1970.
pub type Hour = (i32, i64);

/// Notes the hour of a minute that changed, when it had ended at the time `now` of the database.
pub fn of_minute(
    symbol_id: i32,
    minute: Bucket,
    buckets: &Buckets,
    now: DateTime<Utc>,
    hours: &mut BTreeSet<Hour>,
) {
    if minute.end <= now.timestamp_micros() {
        hours.insert((symbol_id, buckets.bucket(Level::Hour, minute.start).start));
    }
}

/// Writes hours, in order. The candles of all levels must have been written before, under the lock of
/// each symbol: a reader finds a candle's change by that of its hour. An hour that was noted within the
/// last ten seconds is left as it is: a worker that catches up comes to the same hours again with each
/// batch.
///
/// # Errors
/// When the database fails.
pub async fn write(db: &mut PgConnection, hours: &BTreeSet<Hour>) -> sqlx::Result<()> {
    if hours.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into changed_hours (symbol_id, hour, updated_at) \
         select t.symbol_id, t.hour, clock_timestamp() from unnest($1::integer[], $2::timestamptz[]) as t(symbol_id, hour) \
         where not exists (select from changed_hours h where h.symbol_id = t.symbol_id and h.hour = t.hour \
             and h.updated_at > clock_timestamp() - interval '10 seconds') \
         on conflict (symbol_id, hour) do update set updated_at = excluded.updated_at",
    )
    .bind(hours.iter().map(|hour| hour.0).collect::<Vec<_>>())
    .bind(hours.iter().map(|hour| timestamp(hour.1)).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}

/// Notes every hour of a symbol that has a candle.
///
/// # Errors
/// When the database fails.
pub async fn write_all(db: &mut PgConnection, symbol_id: i32) -> sqlx::Result<()> {
    sqlx::query(
        "insert into changed_hours (symbol_id, hour, updated_at) \
         select symbol_id, open_time, clock_timestamp() from candles_1h where symbol_id = $1 order by open_time \
         on conflict (symbol_id, hour) do update set updated_at = excluded.updated_at",
    )
    .bind(symbol_id)
    .execute(db)
    .await?;
    Ok(())
}

/// Deletes what is noted of a symbol's hours before a time.
///
/// # Errors
/// When the database fails.
pub async fn delete_before(
    db: &mut PgConnection,
    symbol_id: i32,
    before: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query("delete from changed_hours where symbol_id = $1 and hour < $2")
        .bind(symbol_id)
        .bind(before)
        .execute(db)
        .await?;
    Ok(())
}
