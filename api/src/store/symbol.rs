//! What the database says of a symbol.

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use common::calendar;
use common::decimal::MAX_SCALE;
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::micros;
use crate::planner::Source;
use crate::problem::ApiError;

/// A symbol's row of the dictionary.
#[derive(Debug, Clone)]
pub(crate) struct Symbol {
    pub(crate) id: i32,
    pub(crate) name: String,
    pub(crate) tz: Tz,
    pub(crate) entry: Entry,
    /// Raised by every change of its ticks, in the transaction that changes its candles.
    pub(crate) version: i64,
    /// When it was raised last: tells a restored database from one that went on.
    pub(crate) changed_at: Option<i64>,
    /// First and last local date that is stored, also of days that cancels emptied.
    pub(crate) dates: Option<(NaiveDate, NaiveDate)>,
    /// The database's clock at the time of the snapshot.
    pub(crate) now: i64,
    kept: Kept,
}

/// Since when rows are kept that retention deletes, microseconds since 1970-01-01T00:00:00Z; `None`: all are.
#[derive(Debug, Clone, Copy)]
struct Kept {
    ticks: Option<i64>,
    minutes: Option<i64>,
    hours: Option<i64>,
}

impl Symbol {
    /// A row of the dictionary, with the database's clock beside it and first and last tick; without its dates.
    pub(super) fn of(row: &PgRow) -> Result<Self, ApiError> {
        let name: String = row.try_get("symbol")?;
        let entry = Entry::of(row)?;
        let tz = calendar::zone_of(&name, &entry.timezone);
        Ok(Self {
            id: row.try_get("id")?,
            name,
            tz: tz.map_err(|error| ApiError::Data(error.to_string()))?,
            entry,
            version: row.try_get("version")?,
            changed_at: micros(row.try_get("changed_at")?),
            dates: None,
            now: row.try_get::<DateTime<Utc>, _>("now")?.timestamp_micros(),
            kept: Kept {
                ticks: micros(row.try_get("floor_time")?),
                minutes: micros(row.try_get("minutes_from")?),
                hours: micros(row.try_get("hours_from")?),
            },
        })
    }

    /// The same with its dates.
    pub(super) fn with_dates(row: &PgRow) -> Result<Self, ApiError> {
        let first: Option<NaiveDate> = row.try_get("first_date")?;
        Ok(Self {
            dates: first.zip(row.try_get("last_date")?),
            ..Self::of(row)?
        })
    }

    /// The instant before which rows of `source` were deleted; `None` when none were. What is made of them in part is
    /// not known. Microseconds since 1970-01-01T00:00:00Z.
    pub(crate) fn kept_from(&self, source: Source) -> Option<i64> {
        let from = match source {
            Source::View(_) | Source::Days => None,
            Source::Hours => self.kept.hours,
            Source::Minutes => self.kept.minutes,
            Source::Ticks => self.kept.ticks,
        };
        // Where the symbol began later, there was nothing to delete.
        from.filter(|from| self.entry.first_tick.is_some_and(|first| first < *from))
    }

    /// First and last event time of its ticks, without those that were deleted by their age, microseconds since
    /// 1970-01-01T00:00:00Z. At the first one there need not be a tick where earlier ones were deleted.
    pub(crate) fn kept_ticks(&self) -> Option<(i64, i64)> {
        let (first, last) = self.entry.first_tick.zip(self.entry.last_tick)?;
        let first = self
            .kept_from(Source::Ticks)
            .map_or(first, |from| from.max(first));
        (first <= last).then_some((first, last))
    }

    /// Most decimals of its prices and of its sizes.
    pub(crate) fn scales(&self) -> (u8, u8) {
        let scale = |scale: i16| u8::try_from(scale).unwrap_or(0).min(MAX_SCALE);
        (scale(self.entry.price_scale), scale(self.entry.size_scale))
    }

    /// First and last instant of the days that are stored, also of those that cancels emptied, microseconds since
    /// 1970-01-01T00:00:00Z.
    pub(crate) fn days(&self) -> Option<(i64, i64)> {
        let (first, last) = self.dates?;
        let (start, _) = calendar::day_bounds(first, self.tz);
        let (_, end) = calendar::day_bounds(last, self.tz);
        Some((start, end - 1))
    }

    /// All of it that an answer may be made of, and with it its candles and ticks.
    pub(crate) fn state(&self) -> String {
        let (version, changed_at) = (self.version, self.changed_at);
        format!("{} {} {version} {changed_at:?}", self.id, self.tz)
    }
}

/// What the catalogue says of a symbol.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) timezone: String,
    pub(crate) price_scale: i16,
    pub(crate) size_scale: i16,
    /// Event times, in microseconds since 1970-01-01T00:00:00Z.
    pub(crate) first_tick: Option<i64>,
    pub(crate) last_tick: Option<i64>,
}

impl Entry {
    pub(super) fn of(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            timezone: row.try_get("timezone")?,
            price_scale: row.try_get("price_scale")?,
            size_scale: row.try_get("size_scale")?,
            first_tick: micros(row.try_get("first_tick")?),
            last_tick: micros(row.try_get("last_tick")?),
        })
    }
}
