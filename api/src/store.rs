//! All SQL of this program.
//!
//! A [`Snapshot`] is one read-only REPEATABLE READ transaction: all its reads see the same commits.
//! Reads are bounded by key ranges and row limits.

mod latest;
mod part;
mod session;
mod ticks;
mod told;

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use common::amount::Amount;
use common::calendar;
use common::database::{Database, is_ended_session};
use common::decimal::MAX_SCALE;
use futures::TryStreamExt as _;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row as _};

pub(crate) use latest::{Last, Latest};
pub(crate) use part::{Changes, Part};
use session::Session;
pub(crate) use told::{Keys, ToldTick};

use crate::planner::{Source, View};
use crate::problem::ApiError;

/// Most rows of one statement.
const MAX_ROWS: u64 = 10_000;

const EXTREMES: &str = "select max(high)::text, sum(volume)::text, sum(turnover)::text from candles_1d where symbol_id = $1";
const CHANGED_FORWARD: &str = "select hour from changed_hours where symbol_id = $1 \
     and hour > $2 - interval '1 hour' and hour < $3 and updated_at >= $4 order by hour limit $5";
const CHANGED_BACKWARD: &str = "select hour from changed_hours where symbol_id = $1 \
     and hour > $2 - interval '1 hour' and hour < $3 and updated_at >= $4 order by hour desc limit $5";

/// A probe does not wait longer: its asker would not either.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// Which end of a range is read first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Direction {
    Forward,
    Backward,
}

/// `from <= instant < to`, microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) from: i64,
    pub(crate) to: i64,
}

impl Range {
    pub(crate) const fn is_empty(self) -> bool {
        self.from >= self.to
    }
}

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
    fn of(row: &PgRow) -> Result<Self, ApiError> {
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
    fn of(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            timezone: row.try_get("timezone")?,
            price_scale: row.try_get("price_scale")?,
            size_scale: row.try_get("size_scale")?,
            first_tick: micros(row.try_get("first_tick")?),
            last_tick: micros(row.try_get("last_tick")?),
        })
    }
}

/// The greatest values that a symbol has or can be asked for; none without ticks.
#[derive(Debug)]
pub(crate) struct Extremes {
    /// The highest price.
    pub(crate) price: Option<Amount>,
    /// The sum of all sizes.
    pub(crate) volume: Option<Amount>,
    /// The sum of all price x size.
    pub(crate) turnover: Option<Amount>,
}

/// The database.
#[derive(Clone)]
pub(crate) struct Store {
    database: Database,
}

impl Store {
    pub(crate) const fn new(database: Database) -> Self {
        Self { database }
    }

    /// Whether the database answers and has the schema.
    pub(crate) async fn ping(&self) -> Result<(), sqlx::Error> {
        let answer = async {
            // Slow statements of requests may hold all other sessions: that is no reason to stop requests.
            let mut session = Session::new(self.database.acquire_spare().await?);
            let found = sqlx::query("select from symbols limit 1").fetch_optional(&mut *session);
            found.await?;
            session.release();
            Ok(())
        };
        tokio::time::timeout(PING_TIMEOUT, answer)
            .await
            .unwrap_or_else(|_| Err(self.database.timed_out()))
    }

    pub(crate) async fn close(&self) {
        self.database.close().await;
    }

    /// Begins a snapshot.
    pub(crate) async fn snapshot(&self) -> Result<Snapshot, ApiError> {
        const BEGIN: &str = "begin isolation level repeatable read, read only";
        let begin = async || {
            let mut session = self.session().await?;
            sqlx::query(BEGIN).execute(&mut *session).await?;
            Ok(session)
        };
        let transaction = match begin().await {
            // It was ended, as an administrator may do, while it was made or after the pool had looked at it.
            Err(ApiError::Database(error)) if is_ended_session(&error) => begin().await?,
            result => result?,
        };
        Ok(Snapshot { transaction })
    }

    async fn session(&self) -> Result<Session, ApiError> {
        match self.database.acquire().await {
            Ok(connection) => Ok(Session::new(connection)),
            // A pool says the same when the database is away.
            Err(sqlx::Error::PoolTimedOut) if self.ping().await.is_ok() => Err(ApiError::Busy),
            Err(error) => Err(error.into()),
        }
    }

    /// A page of the catalogue: names after `after` that contain `part` in any case.
    pub(crate) async fn symbols(
        &self,
        after: &str,
        part: &str,
        limit: u32,
    ) -> Result<Vec<(String, Entry)>, ApiError> {
        let mut session = self.session().await?;
        let rows = sqlx::query(include_str!("store/symbols.sql"))
            .bind(after)
            .bind(part)
            .bind(i64::from(limit))
            .fetch_all(&mut *session)
            .await?;
        session.release();
        let entry = |row: &PgRow| Ok((row.try_get("symbol")?, Entry::of(row)?));
        rows.iter()
            .map(entry)
            .collect::<Result<_, sqlx::Error>>()
            .map_err(ApiError::from)
    }
}

/// One state of the database.
pub(crate) struct Snapshot {
    transaction: Session,
}

impl Snapshot {
    /// The symbol of that name.
    pub(crate) async fn symbol(&mut self, name: &str) -> Result<Option<Symbol>, ApiError> {
        Ok(self.symbols(&[name]).await?.pop())
    }

    /// Those of the names that are symbols, in any order, with one clock.
    pub(crate) async fn symbols(&mut self, names: &[&str]) -> Result<Vec<Symbol>, ApiError> {
        // What ingest would not store is not asked for: PostgreSQL refuses NUL in a text.
        let known = |name: &&&str| common::tick::Symbol::check(name).is_ok();
        let names: Vec<&str> = names.iter().filter(known).copied().collect();
        let rows = sqlx::query(include_str!("store/symbol.sql"))
            .bind(names)
            .fetch_all(&mut *self.transaction)
            .await?;
        let symbol = |row: &PgRow| {
            let first: Option<NaiveDate> = row.try_get("first_date")?;
            Ok(Symbol {
                dates: first.zip(row.try_get("last_date")?),
                ..Symbol::of(row)?
            })
        };
        rows.iter().map(symbol).collect()
    }

    /// Hands the rows of `source` that begin in `range` to `each` as they come, from the end that `direction` says,
    /// about `rows` of them; returns the rest of the range, when there may be more. For calendar levels the range must
    /// begin and end with days of the symbol's zone.
    pub(crate) async fn parts(
        &mut self,
        symbol: &Symbol,
        source: Source,
        range: Range,
        direction: Direction,
        rows: u64,
        each: &mut (dyn FnMut(Part) + Send),
    ) -> Result<Option<Range>, ApiError> {
        if range.is_empty() {
            return Ok(None);
        }
        let session = &mut *self.transaction;
        if source == Source::Ticks {
            return ticks::parts(session, symbol, range, direction, rows.min(MAX_ROWS), each).await;
        }
        let limit = rows.clamp(1, MAX_ROWS);
        let statement = &STATEMENTS[&(source, direction)];
        let query = sqlx::query(AssertSqlSafe(statement.as_str())).bind(symbol.id);
        let of_dates = matches!(source, Source::View(_) | Source::Days);
        let query = if of_dates {
            query
                .bind(calendar::local_date(range.from, symbol.tz))
                .bind(calendar::local_date(range.to, symbol.tz))
        } else {
            query.bind(timestamp(range.from)).bind(timestamp(range.to))
        };
        let mut found = query
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch(session);

        let (mut count, mut last) = (0, None);
        while let Some(row) = found.try_next().await? {
            let (start, end) = if of_dates {
                calendar::day_bounds(row.try_get(0)?, symbol.tz)
            } else {
                let start = row.try_get::<DateTime<Utc>, _>(0)?.timestamp_micros();
                (start, start + 1)
            };
            each(Part::of(&row, start)?);
            (count, last) = (count + 1, Some((start, end)));
        }
        let rest = last
            .filter(|_| count == limit)
            .map(|(start, end)| match direction {
                Direction::Forward => Range { from: end, ..range },
                Direction::Backward => Range { to: start, ..range },
            });
        Ok(rest.filter(|rest| !rest.is_empty()))
    }

    /// The next `wanted` ticks of the keys, or all, from the end that `direction` says.
    pub(crate) async fn ticks(
        &mut self,
        symbol: &Symbol,
        keys: Keys,
        direction: Direction,
        wanted: usize,
    ) -> Result<Vec<ToldTick>, ApiError> {
        told::ticks(&mut self.transaction, symbol, keys, direction, wanted).await
    }

    /// The greatest values of a symbol.
    pub(crate) async fn extremes(&mut self, symbol: &Symbol) -> Result<Extremes, ApiError> {
        let row = sqlx::query(EXTREMES)
            .bind(symbol.id)
            .fetch_one(&mut *self.transaction)
            .await?;
        let amount = |column: usize| {
            let text: Option<&str> = row.try_get(column)?;
            text.map(|_| part::number(&row, column)).transpose()
        };
        Ok(Extremes {
            price: amount(0)?,
            volume: amount(1)?,
            turnover: amount(2)?,
        })
    }

    /// The first instants of UTC hours that touch `range` and that are noted as changed at `since` or later, at most
    /// `limit` of them, from the end that `direction` says. All are microseconds since 1970-01-01T00:00:00Z.
    pub(crate) async fn changed_hours(
        &mut self,
        symbol: &Symbol,
        range: Range,
        since: i64,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<i64>, ApiError> {
        let statement = match direction {
            Direction::Forward => CHANGED_FORWARD,
            Direction::Backward => CHANGED_BACKWARD,
        };
        let hours: Vec<DateTime<Utc>> = sqlx::query_scalar(statement)
            .bind(symbol.id)
            .bind(timestamp(range.from))
            .bind(timestamp(range.to))
            .bind(timestamp(since))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&mut *self.transaction)
            .await?;
        Ok(hours.iter().map(DateTime::timestamp_micros).collect())
    }

    /// Ends the snapshot. One that is dropped ends with its session.
    pub(crate) async fn end(mut self) -> Result<(), ApiError> {
        sqlx::query("commit")
            .execute(&mut *self.transaction)
            .await?;
        self.transaction.release();
        Ok(())
    }
}

fn micros(time: Option<DateTime<Utc>>) -> Option<i64> {
    time.map(|time| time.timestamp_micros())
}

fn timestamp(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or_default()
}

impl View {
    /// Name of the view, what `date_trunc` calls its period, and the period as an interval.
    const fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Weeks => ("candles_1w", "week", "7 days"),
            Self::Months => ("candles_1mo", "month", "1 month"),
            Self::Quarters => ("candles_1q", "quarter", "3 months"),
            Self::Years => ("candles_1y", "year", "1 year"),
        }
    }
}

/// The statement of every source but ticks, made of constants.
static STATEMENTS: LazyLock<HashMap<(Source, Direction), String>> = LazyLock::new(|| {
    let views = [View::Weeks, View::Months, View::Quarters, View::Years].map(Source::View);
    let sources = views
        .into_iter()
        .chain([Source::Days, Source::Hours, Source::Minutes]);
    let both = |source| [(source, Direction::Forward), (source, Direction::Backward)];
    sources
        .flat_map(both)
        .map(|(source, direction)| ((source, direction), statement(source, direction)))
        .collect()
});

fn statement(source: Source, direction: Direction) -> String {
    let order = match direction {
        Direction::Forward => "asc",
        Direction::Backward => "desc",
    };
    let (table, key) = match source {
        Source::View(view) => {
            let (name, unit, length) = view.names();
            return include_str!("store/view.sql")
                .replace("{columns}", part::COLUMNS)
                .replace("{view}", name)
                .replace("{unit}", unit)
                .replace("{length}", length)
                .replace("{order}", order);
        }
        Source::Days => ("candles_1d", "local_date"),
        Source::Hours => ("candles_1h", "open_time"),
        Source::Minutes | Source::Ticks => ("candles_1m", "open_time"),
    };
    format!(
        "select {key}, {} from {table} where symbol_id = $1 and {key} >= $2 and {key} < $3 order by {key} {order} limit $4",
        part::COLUMNS
    )
}
