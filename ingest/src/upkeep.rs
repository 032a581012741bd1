//! Work in the background: small blocks of ticks become large ones, and the views are refreshed.
//!
//! Neither changes what a reader sees. Each step is a short transaction that passes over what another
//! session holds; a failure is logged and tried again at the next turn.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use common::database::{Database, explain};
use common::tick::{Tick, TickKey};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::config::UpkeepConfig;
use crate::metrics::Metrics;
use crate::store::{blocks, marks};

/// Symbols looked at in one turn.
const SYMBOLS_A_TURN: i64 = 1000;
/// Small blocks of one symbol before they are worth merging.
const WORTH_MERGING: i64 = 8;
/// A refresh reads all days: at most a tenth of the time goes into it.
const REST_PER_REFRESH: u32 = 9;

/// Merges and refreshes until `stop` is cancelled.
pub async fn run(
    database: Database,
    config: UpkeepConfig,
    metrics: Metrics,
    stop: CancellationToken,
) {
    let merging = async {
        while pause(config.merge_interval, &stop).await {
            let Some(turn) = stop
                .run_until_cancelled(Box::pin(merge_blocks(&database)))
                .await
            else {
                return;
            };
            metrics.blocks_merged.inc_by(turn.done);
            if let Some(error) = turn.failure {
                metrics.upkeep_failures.with_label_values(&["merge"]).inc();
                warn!(error = explain(&error), "cannot merge blocks now");
            }
        }
    };
    let refreshing = async {
        let mut rest = Duration::ZERO;
        while pause(rest.max(config.refresh_interval), &stop).await {
            let begun = Instant::now();
            let Some(turn) = stop
                .run_until_cancelled(Box::pin(refresh_views(&database)))
                .await
            else {
                return;
            };
            rest = begun.elapsed() * REST_PER_REFRESH;
            if turn.done > 0 {
                metrics
                    .refresh_seconds
                    .observe(begun.elapsed().as_secs_f64());
            }
            metrics.refreshes.inc_by(turn.done);
            let shown = show_views(&database, &metrics).await;
            if let Some(error) = turn.failure.or(shown.err()) {
                metrics
                    .upkeep_failures
                    .with_label_values(&["refresh"])
                    .inc();
                warn!(error = explain(&error), "cannot refresh views now");
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

/// What one turn did. A view or a symbol that fails does not keep the others from theirs.
#[derive(Debug, Default)]
pub struct Turn {
    /// Views refreshed, or blocks that went into larger ones.
    pub done: u64,
    /// The first failure.
    pub failure: Option<sqlx::Error>,
}

impl Turn {
    fn add(&mut self, result: sqlx::Result<u64>) {
        match result {
            Ok(done) => self.done += done,
            Err(error) => {
                self.failure.get_or_insert(error);
            }
        }
    }
}

/// Refreshes each view that has marks, or was last refreshed more than an hour ago.
pub async fn refresh_views(database: &Database) -> Turn {
    let mut turn = Turn::default();
    for (view, _) in marks::VIEWS {
        turn.add(refresh_view(database, view).await);
    }
    turn
}

async fn refresh_view(database: &Database, view: &str) -> sqlx::Result<u64> {
    let mut tx = database.begin().await?;
    let due: bool = sqlx::query_scalar(
        "select exists (select from view_marks where view = $1) \
             or not exists (select from view_refreshes where view = $1 and refreshed_at > clock_timestamp() - interval '1 hour')",
    )
    .bind(view)
    .fetch_one(&mut *tx)
    .await?;
    if !due {
        return Ok(0);
    }
    let refreshed = marks::refresh(&mut tx, view).await?;
    tx.commit().await?;
    if refreshed {
        debug!(view, "refreshed");
    }
    Ok(refreshed.into())
}

/// Shows how many periods wait for each view's refresh, and when its last one was.
async fn show_views(database: &Database, metrics: &Metrics) -> sqlx::Result<()> {
    let views: Vec<(String, i64, Option<f64>)> = sqlx::query_as(
        "select view, (select count(*) from (select from view_marks m where m.view = v.view limit 100000) as marks), \
             (select extract(epoch from refreshed_at)::float8 from view_refreshes r where r.view = v.view) \
         from unnest($1::text[]) as v (view)",
    )
    .bind(marks::VIEWS.map(|(view, _)| view).to_vec())
    .fetch_all(&mut *database.acquire().await?)
    .await?;
    for (view, waiting, refreshed) in views {
        metrics.view_marks.with_label_values(&[&view]).set(waiting);
        if let Some(time) = refreshed {
            metrics.view_refreshed.with_label_values(&[&view]).set(time);
        }
    }
    Ok(())
}

/// Merges the small blocks of symbols that have many.
pub async fn merge_blocks(database: &Database) -> Turn {
    let mut turn = Turn::default();
    let symbols = match symbols_with_small_blocks(database).await {
        Ok(symbols) => symbols,
        Err(error) => {
            turn.add(Err(error));
            return turn;
        }
    };
    for (id, symbol) in symbols {
        let merged = merge_symbol(database, id).await;
        if let Err(error) = &merged {
            warn!(symbol, error = explain(error), "cannot merge its blocks");
        }
        turn.add(merged);
    }
    if turn.done > 0 {
        info!(blocks = turn.done, "merged small blocks");
    }
    turn
}

async fn symbols_with_small_blocks(database: &Database) -> sqlx::Result<Vec<(i32, String)>> {
    sqlx::query_as(
        "select s.id, s.symbol \
         from (select symbol_id, count(*) as small from tick_blocks where count < 128 group by symbol_id) b \
         join symbols s on s.id = b.symbol_id \
         where b.small >= $1 order by b.small desc limit $2",
    )
    .bind(WORTH_MERGING)
    .bind(SYMBOLS_A_TURN)
    .fetch_all(&mut *database.acquire().await?)
    .await
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

/// Merges runs of small blocks of one symbol, each with the block that follows it, in one transaction.
async fn merge_symbol(database: &Database, symbol_id: i32) -> sqlx::Result<u64> {
    let mut tx = database.begin().await?;
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
    tx.commit().await?;
    Ok(gone.len() as u64)
}
