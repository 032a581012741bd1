//! A stored row as a part of a candle.

use chrono::{DateTime, Utc};
use common::calendar::Bucket;
use common::candle::{Candle, Edge};
use common::tick::{EventTime, TickKey};
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::Range;
use crate::problem::ApiError;

/// What [`Part::of`] reads, after the key column.
pub(super) const COLUMNS: &str = "open::text, high::text, low::text, close::text, volume::text, turnover::text, trades, \
     open_event_time, open_sequence, close_event_time, close_sequence, revision, updated_at";

/// A part of a candle. Every part of a bucket is in it as a whole, but for what a change covers.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// Where it lies: an instant in the part, microseconds since 1970-01-01T00:00:00Z.
    pub(crate) time: i64,
    /// `None` when it has no ticks, or none that count.
    pub(crate) candle: Option<Candle>,
    /// Changes of the stored row; `None` for a tick, whose minute bears them.
    pub(crate) changes: Option<Changes>,
    /// Whether its bucket has ticks, or cancelled ones, also such as were cancelled before they came. A minute that bears the changes of its ticks
    /// does not say which of its buckets have.
    pub(crate) counts: bool,
}

/// What is told of the changes of a stored row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Changes {
    /// The instants whose ticks raise this revision.
    pub(crate) covers: Range,
    /// Changes so far.
    pub(crate) revision: i64,
    /// The last change, microseconds since 1970-01-01T00:00:00Z.
    pub(crate) updated_at: i64,
}

impl Changes {
    /// Whether ticks of `bucket` may be among those that changed.
    pub(crate) const fn touch(&self, bucket: Bucket) -> bool {
        self.covers.from < bucket.end && self.covers.to > bucket.start
    }
}

impl Part {
    /// The part of a row that has a key and then [`COLUMNS`].
    pub(super) fn of(row: &PgRow, time: i64) -> Result<Self, ApiError> {
        let trades: i64 = row.try_get(7)?;
        let candle = if trades > 0 {
            Some(Candle {
                open: edge(row, 8, 1)?,
                close: edge(row, 10, 4)?,
                high: number(row, 2)?,
                low: number(row, 3)?,
                volume: number(row, 5)?,
                turnover: number(row, 6)?,
                trades,
            })
        } else {
            None
        };
        let updated_at = row.try_get::<DateTime<Utc>, _>(13)?.timestamp_micros();
        let changes = Changes {
            covers: Range {
                from: time,
                to: time + 1,
            },
            revision: row.try_get(12)?,
            updated_at,
        };
        Ok(Self {
            time,
            candle,
            changes: Some(changes),
            counts: true,
        })
    }
}

fn edge(row: &PgRow, key: usize, price: usize) -> Result<Edge, ApiError> {
    let event_time = EventTime::from(row.try_get::<DateTime<Utc>, _>(key)?);
    let key = TickKey {
        event_time,
        sequence: row.try_get(key + 1)?,
    };
    Ok(Edge {
        key,
        price: number(row, price)?,
    })
}

/// A numeric, read as text.
pub(super) fn number<T: std::str::FromStr<Err: std::fmt::Display>>(
    row: &PgRow,
    column: usize,
) -> Result<T, ApiError> {
    let text: &str = row.try_get(column)?;
    text.parse()
        .map_err(|error| ApiError::Data(format!("{text:?} in column {column}: {error}")))
}
