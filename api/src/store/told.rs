//! Ticks one by one, by their keys: read from the blocks that hold them, a bounded number of blocks at a time.

use chrono::{DateTime, Utc};
use common::decimal::Decimal;
use common::tick::{EventTime, TickKey};
use futures::TryStreamExt as _;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use super::part::number;
use super::{Direction, Symbol, timestamp};
use crate::problem::ApiError;

/// Blocks looked at in one statement.
const MAX_BLOCKS: usize = 1_000;
/// Ticks read in one statement, but that a block is never split.
const MAX_TICKS: usize = 20_000;

/// A tick as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ToldTick {
    pub(crate) key: TickKey,
    pub(crate) price: Decimal,
    pub(crate) size: Decimal,
    pub(crate) revision: i32,
}

/// `from <= key < to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Keys {
    pub(crate) from: TickKey,
    pub(crate) to: TickKey,
}

impl Keys {
    /// The smallest key at an instant, microseconds since 1970-01-01T00:00:00Z.
    pub(crate) const fn at(micros: i64) -> TickKey {
        TickKey {
            event_time: EventTime::from_micros(micros),
            sequence: i64::MIN,
        }
    }

    /// The key after another one.
    pub(crate) fn after(key: TickKey) -> TickKey {
        match key.sequence.checked_add(1) {
            Some(sequence) => TickKey { sequence, ..key },
            None => Self::at(key.event_time.micros().saturating_add(1)),
        }
    }
}

/// The keys of a block's first and last tick, and how many it holds, cancelled ones too.
struct Block {
    first: TickKey,
    last: TickKey,
    count: usize,
}

/// The next `wanted` ticks of the keys, or all.
pub(super) async fn ticks(
    connection: &mut PgConnection,
    symbol: &Symbol,
    mut keys: Keys,
    direction: Direction,
    wanted: usize,
) -> Result<Vec<ToldTick>, ApiError> {
    let mut ticks = Vec::new();
    while ticks.len() < wanted && keys.from < keys.to {
        let missing = wanted - ticks.len();
        let blocks = blocks(connection, symbol, keys, direction, missing).await?;
        let (Some(nearest), Some(farthest)) = (blocks.first(), blocks.last()) else {
            break;
        };
        let ends = match direction {
            Direction::Forward => (nearest.first, farthest.first),
            Direction::Backward => (farthest.first, nearest.first),
        };
        let statement = ordered(include_str!("ticks.sql"), direction);
        let mut query = sqlx::query(AssertSqlSafe(statement)).bind(symbol.id);
        for key in [ends.0, ends.1, keys.from, keys.to] {
            query = query
                .bind(timestamp(key.event_time.micros()))
                .bind(key.sequence);
        }
        let mut rows = query.fetch(&mut *connection);
        while let Some(row) = rows.try_next().await? {
            // The last of the blocks may hold more than that.
            if ticks.len() < wanted {
                ticks.push(tick(&row)?);
            }
        }
        match direction {
            Direction::Forward => keys.from = Keys::after(farthest.last),
            Direction::Backward => keys.to = farthest.first,
        }
    }
    Ok(ticks)
}

/// The blocks that are read next, about as many as hold the wanted ticks.
async fn blocks(
    connection: &mut PgConnection,
    symbol: &Symbol,
    keys: Keys,
    direction: Direction,
    wanted: usize,
) -> Result<Vec<Block>, ApiError> {
    let statement = ordered(include_str!("tick_blocks.sql"), direction);
    let limit = wanted.clamp(16, MAX_BLOCKS);
    let rows = sqlx::query(AssertSqlSafe(statement))
        .bind(symbol.id)
        .bind(timestamp(keys.from.event_time.micros()))
        .bind(keys.from.sequence)
        .bind(timestamp(keys.to.event_time.micros()))
        .bind(keys.to.sequence)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(connection)
        .await?;
    let mut blocks: Vec<Block> = Vec::new();
    let mut ticks = 0;
    for row in &rows {
        let block = Block {
            first: key(row, 0)?,
            last: key(row, 2)?,
            count: usize::try_from(row.try_get::<i32, _>(4)?).unwrap_or(0),
        };
        // The first of them may lie outside the keys for the greater part.
        let enough = ticks > wanted || ticks + block.count > MAX_TICKS;
        if enough && !blocks.is_empty() {
            break;
        }
        if !blocks.is_empty() {
            ticks += block.count;
        }
        blocks.push(block);
    }
    Ok(blocks)
}

fn tick(row: &PgRow) -> Result<ToldTick, ApiError> {
    Ok(ToldTick {
        key: key(row, 0)?,
        price: number(row, 2)?,
        size: number(row, 3)?,
        revision: row.try_get(4)?,
    })
}

pub(super) fn ordered(statement: &str, direction: Direction) -> String {
    let order = match direction {
        Direction::Forward => "asc",
        Direction::Backward => "desc",
    };
    statement.replace("{order}", order)
}

fn key(row: &PgRow, column: usize) -> Result<TickKey, ApiError> {
    let time: DateTime<Utc> = row.try_get(column)?;
    Ok(TickKey::from((time, row.try_get(column + 1)?)))
}
