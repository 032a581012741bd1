//! The yardstick: the same ticks by COPY BINARY into a plain table, a row a tick.
//!
//! Source of the format: PostgreSQL documentation, COPY, "Binary Format". The chunks are encoded
//! before the clock runs.

use std::time::Instant;

use anyhow::Result;
use sqlx::{Connection as _, PgConnection};

use super::feed::{Feed, Trade};
use super::{Bench, Rate};
use crate::Postgres;

/// Rows a chunk, each its own transaction.
const CHUNK: usize = 50_000;
/// Microseconds from 1970 to 2000, the epoch of `timestamptz`.
const POSTGRES_EPOCH: i64 = 946_684_800_000_000;

/// What was measured.
pub(super) struct Copies {
    /// Chunks of the stream, each sorted by key.
    pub(super) by_chunk: Rate,
    /// All rows sorted by key, then cut: the friendliest order there is.
    pub(super) sorted: Rate,
    /// Size of the table with its key.
    pub(super) bytes: i64,
}

pub(super) async fn run(server: &Postgres, options: &Bench) -> Result<Copies> {
    let url = server.create_database("bench_copy").await?;
    let mut db = PgConnection::connect(&url).await?;
    let mut trades: Vec<Trade> = Feed::new(options).take(options.ticks as usize).collect();
    for chunk in trades.chunks_mut(CHUNK) {
        chunk.sort_by_key(key);
    }
    let by_chunk = copy(&mut db, &trades).await?;
    trades.sort_by_key(key);
    let sorted = copy(&mut db, &trades).await?;
    let bytes = sqlx::query_scalar("select pg_total_relation_size('row_ticks')")
        .fetch_one(&mut db)
        .await?;
    Ok(Copies {
        by_chunk,
        sorted,
        bytes,
    })
}

fn key(trade: &Trade) -> (u16, i64, i64) {
    (trade.symbol, trade.time, trade.sequence)
}

async fn copy(db: &mut PgConnection, trades: &[Trade]) -> Result<Rate> {
    sqlx::raw_sql(
        "drop table if exists row_ticks; \
         create table row_ticks (symbol_id int, event_time timestamptz, sequence bigint, \
         price numeric, size numeric, primary key (symbol_id, event_time, sequence)); checkpoint",
    )
    .execute(&mut *db)
    .await?;
    let chunks: Vec<(usize, Vec<u8>)> = trades
        .chunks(CHUNK)
        .map(|chunk| (chunk.len(), encode(chunk)))
        .collect();
    let mut samples = Vec::new();
    let mut rows = 0;
    for (count, bytes) in chunks {
        let mut copy = db
            .copy_in_raw("copy row_ticks from stdin (format binary)")
            .await?;
        copy.send(bytes).await?;
        copy.finish().await?;
        rows += count as u64;
        samples.push((Instant::now(), rows));
    }
    Rate::of(&samples, rows)
}

fn encode(trades: &[Trade]) -> Vec<u8> {
    let mut out = b"PGCOPY\n\xff\r\n\0".to_vec();
    out.extend_from_slice(&[0; 8]);
    let value = |out: &mut Vec<u8>, bytes: &[u8]| {
        out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(0).to_be_bytes());
        out.extend_from_slice(bytes);
    };
    for trade in trades {
        out.extend_from_slice(&5_i16.to_be_bytes());
        value(&mut out, &i32::from(trade.symbol).to_be_bytes());
        value(&mut out, &(trade.time - POSTGRES_EPOCH).to_be_bytes());
        value(&mut out, &trade.sequence.to_be_bytes());
        value(
            &mut out,
            &numeric(trade.cents / 100, trade.cents % 100 * 100, 2),
        );
        value(&mut out, &numeric(trade.size, 0, 0));
    }
    out.extend_from_slice(&(-1_i16).to_be_bytes());
    out
}

/// A `numeric` from its whole part (below 10^8) and its first four decimals.
fn numeric(whole: i64, decimals: i64, scale: i16) -> Vec<u8> {
    let groups = [whole / 10_000, whole % 10_000, decimals];
    let first = groups.iter().position(|group| *group != 0).unwrap_or(2);
    let last = groups.iter().rposition(|group| *group != 0).unwrap_or(2);
    let small = |number: usize| i16::try_from(number).unwrap_or(0);
    let header = [small(last + 1 - first), 1 - small(first), 0, scale];
    let digits = groups[first..=last]
        .iter()
        .map(|group| i16::try_from(*group).unwrap_or(0));
    header
        .into_iter()
        .chain(digits)
        .flat_map(i16::to_be_bytes)
        .collect()
}
