//! All SQL of this program.
//!
//! A [`Snapshot`] is one read-only REPEATABLE READ transaction: all its reads see the same commits.
//! Reads are bounded by key ranges and row limits.

mod latest;
mod part;
mod session;
mod statements;
mod symbol;
mod ticks;
mod told;

use std::time::Duration;

use chrono::{DateTime, Utc};
use common::amount::Amount;
use common::calendar;
use common::database::{Database, is_ended_session};
use futures::TryStreamExt as _;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row as _};

pub(crate) use latest::{Last, Latest};
pub(crate) use part::{Changes, Part};
use session::Session;
use statements::STATEMENTS;
pub(crate) use symbol::{Entry, Symbol};
pub(crate) use told::{Keys, ToldTick};

use crate::planner::Source;
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
        rows.iter().map(Symbol::with_dates).collect()
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

    /// Ends the snapshot, for which no answer has to wait: what only reads has nothing to be confirmed. One that is
    /// dropped ends with its session.
    pub(crate) fn end(mut self) {
        tokio::spawn(async move {
            let ended = sqlx::query("commit").execute(&mut *self.transaction);
            match ended.await {
                Ok(_) => self.transaction.release(),
                Err(error) => tracing::debug!(%error, "a session ended before its snapshot"),
            }
        });
    }
}

fn micros(time: Option<DateTime<Utc>>) -> Option<i64> {
    time.map(|time| time.timestamp_micros())
}

fn timestamp(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or_default()
}
