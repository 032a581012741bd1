//! Work in the background: small blocks of ticks become large ones, and the views are refreshed.
//!
//! Neither changes what a reader sees. Each step is a short transaction that passes over what another
//! session holds; a failure is logged and tried again at the next turn.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use common::tick::{Tick, TickKey};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::config::UpkeepConfig;
use crate::metrics::Metrics;
use crate::store::{blocks, marks, symbols};

/// Symbols looked at in one turn.
const SYMBOLS_A_TURN: i64 = 1000;
/// Small blocks of one symbol before they are worth merging.
const WORTH_MERGING: i64 = 8;
/// A refresh reads all days: at most a tenth of the time goes into it.
const REST_PER_REFRESH: u32 = 9;

/// Merges and refreshes until `stop` is cancelled.
pub async fn run(pool: PgPool, config: UpkeepConfig, metrics: Metrics, stop: CancellationToken) {
    let merging = async {
        while pause(config.merge_interval, &stop).await {
            match merge_blocks(&pool).await {
                Ok(merged) => metrics.blocks_merged.inc_by(merged),
                Err(error) => {
                    metrics.upkeep_failures.with_label_values(&["merge"]).inc();
                    warn!(%error, "cannot merge blocks now");
                }
            }
        }
    };
    let refreshing = async {
        let mut rest = Duration::ZERO;
        while pause(rest.max(config.refresh_interval), &stop).await {
            let begun = Instant::now();
            let refreshed = refresh_views(&pool).await;
            rest = begun.elapsed() * REST_PER_REFRESH;
            if let Ok(1..) = refreshed {
                metrics.refresh_seconds.observe(begun.elapsed().as_secs_f64());
            }
            let shown = async { show_views(&pool, &metrics).await.and(refreshed) };
            match shown.await {
                Ok(refreshed) => metrics.refreshes.inc_by(refreshed),
                Err(error) => {
                    metrics.upkeep_failures.with_label_values(&["refresh"]).inc();
                    warn!(%error, "cannot refresh views now");
                }
            }
        }
    };
    tokio::join!(merging, refreshing);
}

/// Waits; false when it is time to stop.
async fn pause(time: Duration, stop: &CancellationToken) -> bool {
    stop.run_until_cancelled(tokio::time::sleep(time))
        .await
        .is_some()
}

/// Refreshes each view that has marks, or was last refreshed more than an hour ago; returns how many.
///
/// # Errors
/// When the database fails.
pub async fn refresh_views(pool: &PgPool) -> sqlx::Result<u64> {
    let mut refreshed = 0;
    for (view, _) in marks::VIEWS {
        let due: bool = sqlx::query_scalar(
            "select exists (select from view_marks where view = $1) \
                 or not exists (select from view_refreshes where view = $1 and refreshed_at > clock_timestamp() - interval '1 hour')",
        )
        .bind(view)
        .fetch_one(pool)
        .await?;
        if due
            && sqlx::query_scalar("select refresh_candle_view($1)")
                .bind(view)
                .fetch_one(pool)
                .await?
        {
            debug!(view, "refreshed");
            refreshed += 1;
        }
    }
    Ok(refreshed)
}

/// Shows how many periods wait for each view's refresh, and when its last one was.
async fn show_views(pool: &PgPool, metrics: &Metrics) -> sqlx::Result<()> {
    let views: Vec<(String, i64, Option<f64>)> = sqlx::query_as(
        "select view, (select count(*) from (select from view_marks m where m.view = v.view limit 100000) as marks), \
             (select extract(epoch from refreshed_at)::float8 from view_refreshes r where r.view = v.view) \
         from unnest($1::text[]) as v (view)",
    )
    .bind(marks::VIEWS.map(|(view, _)| view).to_vec())
    .fetch_all(pool)
    .await?;
    for (view, waiting, refreshed) in views {
        metrics.view_marks.with_label_values(&[&view]).set(waiting);
        if let Some(time) = refreshed {
            metrics.view_refreshed.with_label_values(&[&view]).set(time);
        }
    }
    Ok(())
}

/// Merges the small blocks of symbols that have many; returns how many blocks went into larger ones.
///
/// # Errors
/// When the database fails.
pub async fn merge_blocks(pool: &PgPool) -> sqlx::Result<u64> {
    let symbols: Vec<i32> = sqlx::query_scalar(
        "select symbol_id from tick_blocks where count < 128 group by symbol_id having count(*) >= $1 \
         order by count(*) desc limit $2",
    )
    .bind(WORTH_MERGING)
    .bind(SYMBOLS_A_TURN)
    .fetch_all(pool)
    .await?;
    let mut merged = 0;
    for symbol in symbols {
        merged += merge_symbol(pool, symbol).await?;
    }
    if merged > 0 {
        info!(blocks = merged, "merged small blocks");
    }
    Ok(merged)
}

#[derive(sqlx::FromRow)]
struct Small {
    first_time: DateTime<Utc>,
    first_sequence: i64,
    next_time: Option<DateTime<Utc>>,
    next_sequence: Option<i64>,
    joins_next: bool,
}

impl Small {
    fn keys(&self) -> impl Iterator<Item = TickKey> {
        let key = |(time, sequence): (DateTime<Utc>, i64)| TickKey {
            event_time: time.into(),
            sequence,
        };
        let next = self.next_time.zip(self.next_sequence);
        [
            Some((self.first_time, self.first_sequence)),
            next.filter(|_| !self.joins_next),
        ]
        .into_iter()
        .flatten()
        .map(key)
    }
}

/// Merges runs of small blocks of one symbol, each with the block that follows it, in one transaction.
async fn merge_symbol(pool: &PgPool, symbol_id: i32) -> sqlx::Result<u64> {
    let mut tx = pool.begin().await?;
    let free: Option<i32> =
        sqlx::query_scalar("select id from symbols where id = $1 for no key update skip locked")
            .bind(symbol_id)
            .fetch_optional(&mut *tx)
            .await?;
    if free.is_none() {
        return Ok(0);
    }
    let small: Vec<Small> = sqlx::query_as(include_str!("store/blocks_small.sql"))
        .bind(symbol_id)
        .fetch_all(&mut *tx)
        .await?;
    let mut gone: Vec<(i32, TickKey)> = Vec::new();
    let mut runs: Vec<Vec<Tick>> = Vec::new();
    for run in small.chunk_by(|block, _| block.joins_next) {
        // With the large block that follows, a small one between large ones is merged too.
        let keys: Vec<_> = run
            .iter()
            .flat_map(Small::keys)
            .map(|key| (symbol_id, key))
            .collect();
        if keys.len() < 2 {
            continue;
        }
        let mut ticks = Vec::new();
        for row in blocks::read(&mut tx, &keys).await? {
            ticks.extend(row.ticks()?);
        }
        gone.extend(keys);
        runs.push(ticks);
    }
    blocks::delete(&mut tx, &gone).await?;
    let runs: Vec<(i32, &[Tick])> = runs
        .iter()
        .map(|ticks| (symbol_id, ticks.as_slice()))
        .collect();
    blocks::insert(&mut tx, &runs).await?;
    let locked = symbols::lock(&mut tx, &[symbol_id]).await?;
    symbols::raise(&mut tx, &locked).await?;
    tx.commit().await?;
    Ok(gone.len() as u64)
}
