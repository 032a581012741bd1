//! Reads and replaces blocks of ticks.
//!
//! The blocks of a symbol never overlap in (time, sequence): a tick belongs to the last block that
//! begins at or before it, and to a new one only when there is none.

use chrono::{DateTime, Utc};
use common::tick::{Tick, TickKey};
use sqlx::PgConnection;

use super::block::{self, BlockKey, BlockRow, Blocks};
use super::timestamp;

/// The columns of a [`BlockRow`], then what a file says of which rows.
macro_rules! select {
    ($file:literal) => {
        concat!(include_str!("blocks_select.sql"), include_str!($file))
    };
}

/// For each key, the block that it belongs to.
///
/// # Errors
/// When the database fails.
pub async fn owners(
    db: &mut PgConnection,
    keys: &[(i32, TickKey)],
) -> sqlx::Result<Vec<Option<BlockKey>>> {
    let (symbols, times, sequences) = columns(keys);
    let rows: Vec<(Option<DateTime<Utc>>, Option<i64>)> =
        sqlx::query_as(include_str!("blocks_owners.sql"))
            .bind(symbols)
            .bind(times)
            .bind(sequences)
            .fetch_all(db)
            .await?;
    Ok(rows
        .into_iter()
        .map(|(time, sequence)| time.zip(sequence).map(TickKey::from))
        .collect())
}

/// The blocks with these keys.
///
/// # Errors
/// When the database fails.
pub async fn read(db: &mut PgConnection, keys: &[(i32, BlockKey)]) -> sqlx::Result<Vec<BlockRow>> {
    let (symbols, times, sequences) = columns(keys);
    sqlx::query_as(select!("blocks_read.sql"))
        .bind(symbols)
        .bind(times)
        .bind(sequences)
        .fetch_all(db)
        .await
}

/// Id and name of symbols that have at least `least` small blocks, those with the most first, at most
/// `limit`.
///
/// # Errors
/// When the database fails.
pub async fn symbols_with_small(
    db: &mut PgConnection,
    least: i64,
    limit: i64,
) -> sqlx::Result<Vec<(i32, String)>> {
    sqlx::query_as(
        "select s.id, s.symbol \
         from (select symbol_id, count(*) as small from tick_blocks where count < 128 group by symbol_id) b \
         join symbols s on s.id = b.symbol_id \
         where b.small >= $1 order by b.small desc limit $2",
    )
    .bind(least)
    .bind(limit)
    .fetch_all(db)
    .await
}

/// A small block, and the one that follows it.
#[derive(Debug, Clone, Copy, sqlx::FromRow)]
pub struct Small {
    first_time: DateTime<Utc>,
    first_sequence: i64,
    next_time: Option<DateTime<Utc>>,
    next_sequence: Option<i64>,
    /// Whether the one that follows is small too.
    pub joins_next: bool,
}

impl Small {
    /// Its key, and that of a large block that follows.
    pub fn keys(&self) -> impl Iterator<Item = BlockKey> {
        let next = self.next_time.zip(self.next_sequence);
        [
            Some((self.first_time, self.first_sequence)),
            next.filter(|_| !self.joins_next),
        ]
        .into_iter()
        .flatten()
        .map(TickKey::from)
    }
}

/// The first small blocks of a symbol, in order: a bounded number.
///
/// # Errors
/// When the database fails.
pub async fn small(db: &mut PgConnection, symbol_id: i32) -> sqlx::Result<Vec<Small>> {
    sqlx::query_as(include_str!("blocks_small.sql"))
        .bind(symbol_id)
        .fetch_all(db)
        .await
}

/// The next blocks of a symbol after the one with this key, at most `limit`.
///
/// # Errors
/// When the database fails.
pub async fn after(
    db: &mut PgConnection,
    symbol_id: i32,
    key: (DateTime<Utc>, i64),
    limit: i64,
) -> sqlx::Result<Vec<BlockRow>> {
    sqlx::query_as(select!("blocks_after.sql"))
        .bind(symbol_id)
        .bind(key.0)
        .bind(key.1)
        .bind(limit)
        .fetch_all(db)
        .await
}

/// All ticks, cancelled ones too, of a symbol with `from <= event time < to`, in microseconds.
///
/// # Errors
/// When the database fails or a block is damaged.
pub async fn ticks_between(
    db: &mut PgConnection,
    symbol_id: i32,
    from: i64,
    to: i64,
) -> sqlx::Result<Vec<Tick>> {
    let rows: Vec<BlockRow> = sqlx::query_as(select!("blocks_between.sql"))
        .bind(symbol_id)
        .bind(timestamp(from))
        .bind(timestamp(to))
        .fetch_all(db)
        .await?;
    let mut ticks = Vec::new();
    for row in rows {
        ticks.extend(
            row.ticks()?
                .into_iter()
                .filter(|tick| (from..to).contains(&tick.key.event_time.micros())),
        );
    }
    Ok(ticks)
}

/// Deletes the blocks with these keys.
///
/// # Errors
/// When the database fails, or a block is not there, which the symbol's lock excludes.
pub async fn delete(db: &mut PgConnection, keys: &[(i32, BlockKey)]) -> sqlx::Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let (symbols, times, sequences) = columns(keys);
    let deleted = sqlx::query(include_str!("blocks_delete.sql"))
        .bind(symbols)
        .bind(times)
        .bind(sequences)
        .execute(db)
        .await?
        .rows_affected();
    if usize::try_from(deleted) == Ok(keys.len()) {
        return Ok(());
    }
    Err(super::Damaged(format!(
        "{} blocks were to be replaced, {deleted} were there",
        keys.len()
    ))
    .into())
}

/// Inserts runs of ticks, each sorted and not empty, in equal blocks of at most [`block::FULL`]: a run
/// cut at its bound would leave a small block at its end each time.
///
/// # Errors
/// When the database fails.
pub async fn insert(db: &mut PgConnection, runs: &[(i32, &[Tick])]) -> sqlx::Result<()> {
    let mut blocks = Blocks::default();
    for (symbol_id, ticks) in runs.iter().filter(|(_, ticks)| !ticks.is_empty()) {
        let count = ticks.len().div_ceil(block::FULL);
        for part in ticks.chunks(ticks.len().div_ceil(count)) {
            blocks.push(*symbol_id, part);
        }
    }
    if blocks.symbol_ids.is_empty() {
        return Ok(());
    }
    let times = |keys: &[TickKey]| {
        keys.iter()
            .map(|key| key.event_time.to_utc())
            .collect::<Vec<_>>()
    };
    let sequences = |keys: &[TickKey]| keys.iter().map(|key| key.sequence).collect::<Vec<_>>();
    sqlx::query(include_str!("blocks_insert.sql"))
        .bind(blocks.symbol_ids)
        .bind(times(&blocks.first))
        .bind(sequences(&blocks.first))
        .bind(times(&blocks.last))
        .bind(sequences(&blocks.last))
        .bind(blocks.counts)
        .bind(blocks.prices.scales)
        .bind(blocks.sizes.scales)
        .bind(blocks.prices.bases)
        .bind(blocks.sizes.bases)
        .bind(blocks.times.starts)
        .bind(blocks.times_wide.starts)
        .bind(blocks.sequences.starts)
        .bind(blocks.sequences_wide.starts)
        .bind(blocks.prices.narrow.starts)
        .bind(blocks.prices.wide.starts)
        .bind(blocks.prices.numeric.starts)
        .bind(blocks.sizes.narrow.starts)
        .bind(blocks.sizes.wide.starts)
        .bind(blocks.sizes.numeric.starts)
        .bind(blocks.revisions.starts)
        .bind(blocks.cancels.starts)
        .bind(blocks.times.values)
        .bind(blocks.times_wide.values)
        .bind(blocks.sequences.values)
        .bind(blocks.sequences_wide.values)
        .bind(blocks.prices.narrow.values)
        .bind(blocks.prices.wide.values)
        .bind(blocks.prices.numeric.values)
        .bind(blocks.sizes.narrow.values)
        .bind(blocks.sizes.wide.values)
        .bind(blocks.sizes.numeric.values)
        .bind(blocks.revisions.values)
        .bind(blocks.cancels.values)
        .execute(db)
        .await?;
    Ok(())
}

/// Ticks of a symbol before `floor`, cancelled ones included.
///
/// # Errors
/// When the database fails or a block is damaged.
pub async fn count_below(
    db: &mut PgConnection,
    symbol_id: i32,
    floor: DateTime<Utc>,
) -> sqlx::Result<i64> {
    let whole: i64 = sqlx::query_scalar(
        "select coalesce(sum(count), 0)::bigint from tick_blocks where symbol_id = $1 and first_time < $2 and last_time < $2",
    )
    .bind(symbol_id)
    .bind(floor)
    .fetch_one(&mut *db)
    .await?;
    Ok(match reaching(db, symbol_id, floor).await? {
        None => whole,
        Some(row) => {
            let ticks = row.ticks()?;
            let below = ticks.partition_point(|tick| tick.key.event_time < floor.into());
            whole + i64::try_from(below).unwrap_or(i64::MAX)
        }
    })
}

/// The block of a symbol with ticks on both sides of `floor`: blocks do not overlap, so there is one at most.
async fn reaching(
    db: &mut PgConnection,
    symbol_id: i32,
    floor: DateTime<Utc>,
) -> sqlx::Result<Option<BlockRow>> {
    sqlx::query_as(select!("blocks_reaching.sql"))
        .bind(symbol_id)
        .bind(floor)
        .fetch_optional(db)
        .await
}

/// Deletes ticks of a locked symbol before `floor`, the oldest first: those of at most `limit` blocks.
/// Returns how many; 0: there are none left.
///
/// # Errors
/// When the database fails or a block is damaged.
pub async fn delete_below(
    db: &mut PgConnection,
    symbol_id: i32,
    floor: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<i64> {
    let (deleted, blocks): (i64, i64) = sqlx::query_as(include_str!("blocks_delete_below.sql"))
        .bind(symbol_id)
        .bind(floor)
        .bind(limit)
        .fetch_one(&mut *db)
        .await?;
    if blocks > 0 {
        return Ok(deleted);
    }
    let Some(row) = reaching(db, symbol_id, floor).await? else {
        return Ok(0);
    };
    let ticks = row.ticks()?;
    let below = ticks.partition_point(|tick| tick.key.event_time < floor.into());
    delete(db, &[(symbol_id, row.key())]).await?;
    insert(db, &[(symbol_id, &ticks[below..])]).await?;
    Ok(i64::try_from(below).unwrap_or(i64::MAX))
}

fn columns(keys: &[(i32, TickKey)]) -> (Vec<i32>, Vec<DateTime<Utc>>, Vec<i64>) {
    let mut columns = (
        Vec::with_capacity(keys.len()),
        Vec::with_capacity(keys.len()),
        Vec::with_capacity(keys.len()),
    );
    for (symbol_id, key) in keys {
        columns.0.push(*symbol_id);
        columns.1.push(key.event_time.to_utc());
        columns.2.push(key.sequence);
    }
    columns
}
