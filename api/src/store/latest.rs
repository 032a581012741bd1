//! What is newest of symbols, read by one statement.

use std::sync::LazyLock;

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row as _};

use super::part::{self, Part};
use super::{Store, Symbol};
use crate::problem::ApiError;

static STATEMENT: LazyLock<String> =
    LazyLock::new(|| include_str!("latest.sql").replace("{columns}", part::COLUMNS));

/// The newest of one symbol. Decimals are texts, as they are told.
pub(crate) struct Latest {
    pub(crate) symbol: Symbol,
    /// The minute that has not ended, when it has a tick.
    pub(crate) minute: Option<Part>,
    /// The last tick and its day; `None` without ticks.
    pub(crate) last: Option<Last>,
}

/// The last tick, and the day that it is of.
pub(crate) struct Last {
    /// Event time, microseconds since 1970-01-01T00:00:00Z.
    pub(crate) time: i64,
    pub(crate) sequence: i64,
    pub(crate) size: Option<String>,
    pub(crate) date: NaiveDate,
    pub(crate) open: String,
    pub(crate) high: String,
    pub(crate) low: String,
    /// Price of the last tick too.
    pub(crate) close: String,
    pub(crate) volume: String,
    pub(crate) trades: i64,
    /// The close of the day before that has one.
    pub(crate) previous_close: Option<String>,
    /// The close less the one before.
    pub(crate) change: Option<String>,
}

impl Store {
    /// The newest of those names that are symbols, in their order.
    pub(crate) async fn latest(&self, names: &[&str]) -> Result<Vec<Latest>, ApiError> {
        let mut session = self.session().await?;
        let rows = sqlx::query(AssertSqlSafe(STATEMENT.as_str()))
            .bind(names)
            .fetch_all(&mut *session)
            .await?;
        session.release();
        rows.iter().map(Latest::of).collect()
    }
}

impl Latest {
    fn of(row: &PgRow) -> Result<Self, ApiError> {
        let minute: Option<DateTime<Utc>> = row.try_get(0)?;
        let minute = minute.map(|minute| Part::of(row, minute.timestamp_micros()));
        let symbol = Symbol::of(row)?;
        let last = symbol.entry.last_tick.map(|time| Last::of(row, time));
        Ok(Self {
            minute: minute.transpose()?,
            last: last.transpose()?,
            symbol,
        })
    }
}

impl Last {
    fn of(row: &PgRow, time: i64) -> Result<Self, sqlx::Error> {
        Ok(Self {
            time,
            sequence: row.try_get("last_sequence")?,
            size: row.try_get("last_size")?,
            date: row.try_get("local_date")?,
            open: row.try_get("day_open")?,
            high: row.try_get("day_high")?,
            low: row.try_get("day_low")?,
            close: row.try_get("day_close")?,
            volume: row.try_get("day_volume")?,
            trades: row.try_get("day_trades")?,
            previous_close: row.try_get("previous_close")?,
            change: row.try_get("change")?,
        })
    }
}
