//! The only place that speaks SQL: positions, symbols, blocks of ticks, candles, marks,
//! changed hours, dead letters.
//!
//! Every function works inside the caller's transaction and keeps nothing of its own.

pub mod block;
pub mod blocks;
pub mod candles;
pub mod hours;
pub mod letters;
pub mod marks;
pub mod positions;
pub mod sessions;
pub mod symbols;

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

/// The database's clock, as it is at this moment of a transaction.
///
/// # Errors
/// When the database fails.
pub async fn now(db: &mut PgConnection) -> sqlx::Result<DateTime<Utc>> {
    sqlx::query_scalar("select clock_timestamp()")
        .fetch_one(db)
        .await
}
