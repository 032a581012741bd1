//! The only place that speaks SQL: positions, symbols, blocks of ticks, candles, marks, views,
//! changed hours, dead letters, sessions.
//!
//! A function that takes a connection works inside the caller's transaction, one that takes the database in
//! short ones of its own. Nothing is kept but the ids of symbols, see [`symbols::Ids`].

pub mod block;
pub mod blocks;
pub mod candles;
pub mod days;
pub mod hours;
pub mod letters;
pub mod marks;
pub mod positions;
pub mod sessions;
pub mod symbols;
pub mod views;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

/// What is stored cannot be read as what it should be.
#[derive(Debug, thiserror::Error)]
#[error("stored data is damaged: {0}")]
pub struct Damaged(pub String);

impl From<Damaged> for sqlx::Error {
    fn from(error: Damaged) -> Self {
        Self::Decode(Box::new(error))
    }
}

/// A time column's value from microseconds since 1970 (UTC).
#[must_use]
pub fn timestamp(micros: i64) -> DateTime<Utc> {
    common::tick::EventTime::from_micros(micros).to_utc()
}

/// A time column's value from a Kafka timestamp, milliseconds since 1970 (UTC); `None`: no time column
/// holds it.
#[must_use]
pub fn record_time(millis: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis(millis)
}

/// Lets the statements of this transaction take as long as they need.
///
/// # Errors
/// When the database fails.
pub async fn no_statement_timeout(db: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("set local statement_timeout = 0")
        .execute(db)
        .await?;
    Ok(())
}

/// Lets this transaction idle between its statements.
///
/// # Errors
/// When the database fails.
pub async fn no_idle_timeout(db: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("set local idle_in_transaction_session_timeout = 0")
        .execute(db)
        .await?;
    Ok(())
}

/// The database's clock, as it is at this moment of a transaction.
///
/// # Errors
/// When the database fails.
pub async fn now(db: &mut PgConnection) -> sqlx::Result<DateTime<Utc>> {
    sqlx::query_scalar("select clock_timestamp()")
        .fetch_one(db)
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kafka_timestamp_is_a_time_that_reads_back_as_it_was_or_none() {
        // 2024 in milliseconds, microseconds and nanoseconds.
        for (millis, kept) in [
            (0, true),
            (1_705_320_000_000, true),
            (1_705_320_000_000_000, true),
            (1_705_320_000_000_000_000, false),
            (i64::MAX, false),
        ] {
            let read = record_time(millis).map(|time| time.timestamp_millis());
            assert_eq!(read, kept.then_some(millis));
        }
    }
}
