//! Parts of candles below a minute, or across minutes: read from ticks.
//!
//! The minutes that exist say where ticks are, so that nothing is searched in empty time, and bear
//! the revision: each change of a tick changes its minute. Ticks are handed over as they come and are never held, so
//! that a minute may have any number of them.

use chrono::{DateTime, Utc};
use common::candle::Candle;
use common::tick::{EventTime, Price, Size, Tick, TickKey};
use futures::TryStreamExt as _;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use super::part::number;
use super::told::ordered;
use super::{Changes, Direction, Part, Range, Symbol, timestamp};
use crate::problem::ApiError;

const MINUTE: i64 = 60_000_000;
/// Minutes looked at in one statement.
const MAX_MINUTES: u64 = 1_000;
/// Ticks read by one statement, but that a minute is never split.
const MAX_TICKS: i64 = 50_000;

const MINUTES_FORWARD: &str = "select open_time, trades, revision, updated_at from candles_1m \
     where symbol_id = $1 and open_time >= $2 and open_time < $3 order by open_time limit $4";
const MINUTES_BACKWARD: &str = "select open_time, trades, revision, updated_at from candles_1m \
     where symbol_id = $1 and open_time >= $2 and open_time < $3 order by open_time desc limit $4";

struct Minute {
    open: i64,
    trades: i64,
    revision: i64,
    updated_at: i64,
}

impl Minute {
    /// The part that bears its changes, at the end of the minute that is walked over first.
    fn part(&self, read: Range, direction: Direction) -> Part {
        let covers = Range {
            from: self.open,
            to: self.open + MINUTE,
        };
        let time = match direction {
            Direction::Forward => covers.from.max(read.from),
            Direction::Backward => covers.to.min(read.to) - 1,
        };
        let changes = Changes {
            covers,
            revision: self.revision,
            updated_at: self.updated_at,
        };
        Part {
            time,
            candle: None,
            changes: Some(changes),
            counts: false,
        }
    }
}

/// A part for each tick, cancelled ones too, and before those of a minute one without ticks, which bears its changes; see
/// [`super::Snapshot::parts`].
pub(super) async fn parts(
    connection: &mut PgConnection,
    symbol: &Symbol,
    range: Range,
    direction: Direction,
    rows: u64,
    each: &mut (dyn FnMut(Part) + Send),
) -> Result<Option<Range>, ApiError> {
    let (minutes, more) = minutes(connection, symbol, range, direction, rows).await?;
    let (Some(first), Some(last)) = (
        minutes.iter().map(|m| m.open).min(),
        minutes.iter().map(|m| m.open).max(),
    ) else {
        return Ok(None);
    };
    let read = Range {
        from: range.from.max(first),
        to: range.to.min(last + MINUTE),
    };
    let rest = more.then_some(match direction {
        Direction::Forward => Range {
            from: read.to,
            ..range
        },
        Direction::Backward => Range {
            to: read.from,
            ..range
        },
    });

    let changes: Vec<Part> = minutes
        .iter()
        .map(|minute| minute.part(read, direction))
        .collect();
    let mut changes = changes.into_iter().peekable();
    let statement = ordered(include_str!("minute_ticks.sql"), direction);
    let mut ticks = sqlx::query(AssertSqlSafe(statement))
        .bind(symbol.id)
        .bind(timestamp(read.from))
        .bind(timestamp(read.to))
        .fetch(connection);
    while let Some(row) = ticks.try_next().await? {
        let tick = tick(&row)?;
        // A minute stays before its ticks, also where they begin at the same instant.
        let before = |minute: &Part| match direction {
            Direction::Forward => minute.time <= tick.time,
            Direction::Backward => minute.time >= tick.time,
        };
        while let Some(minute) = changes.next_if(before) {
            each(minute);
        }
        each(tick);
    }
    drop(ticks);
    changes.for_each(each);
    Ok(rest.filter(|rest| !rest.is_empty()))
}

fn tick(row: &PgRow) -> Result<Part, ApiError> {
    let event_time = EventTime::from(row.try_get::<DateTime<Utc>, _>(0)?);
    let part = Part {
        time: event_time.micros(),
        candle: None,
        changes: None,
        counts: true,
    };
    if row.try_get(4)? {
        return Ok(part);
    }
    let tick = Tick {
        key: TickKey {
            event_time,
            sequence: row.try_get(1)?,
        },
        price: Price::new(number(row, 2)?).map_err(|error| ApiError::Data(error.to_string()))?,
        size: Size::new(number(row, 3)?).map_err(|error| ApiError::Data(error.to_string()))?,
        revision: 0,
        cancelled: false,
    };
    Ok(Part {
        candle: Some(Candle::of(&tick)),
        ..part
    })
}

/// The next minutes of a range, as many as have a statement's worth of ticks, and whether there may be more.
async fn minutes(
    connection: &mut PgConnection,
    symbol: &Symbol,
    range: Range,
    direction: Direction,
    rows: u64,
) -> Result<(Vec<Minute>, bool), ApiError> {
    let statement = match direction {
        Direction::Forward => MINUTES_FORWARD,
        Direction::Backward => MINUTES_BACKWARD,
    };
    let limit = rows.div_ceil(30).clamp(16, MAX_MINUTES);
    let found = sqlx::query(statement)
        .bind(symbol.id)
        .bind(timestamp(range.from.div_euclid(MINUTE) * MINUTE))
        .bind(timestamp(range.to))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(connection)
        .await?;
    let mut more = found.len() as u64 == limit;
    let mut minutes: Vec<Minute> = Vec::with_capacity(found.len());
    let mut ticks = 0;
    for row in found {
        let minute = Minute {
            open: row.try_get::<DateTime<Utc>, _>(0)?.timestamp_micros(),
            trades: row.try_get(1)?,
            revision: row.try_get(2)?,
            updated_at: row.try_get::<DateTime<Utc>, _>(3)?.timestamp_micros(),
        };
        // Cancelled ones are read too, and nothing tells their number: a minute that has no others counts as some.
        ticks += match minute.trades {
            0 => MAX_TICKS / 16,
            trades => trades,
        };
        if ticks > MAX_TICKS && !minutes.is_empty() {
            more = true;
            break;
        }
        minutes.push(minute);
    }
    Ok((minutes, more))
}
