//! Work in the background: small blocks of ticks become large ones, and the views are refreshed.
//!
//! Neither changes what a reader sees. Each step is a short transaction that passes over what another
//! session holds; a failure is logged and tried again at the next turn.

use std::time::{Duration, Instant};

use common::database::{Database, explain};
use common::tick::{Tick, TickKey};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::config::UpkeepConfig;
use crate::metrics::Metrics;
use crate::store::blocks::Small;
use crate::store::{blocks, marks, symbols, views};

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
    if !views::is_due(&mut tx, view).await? {
        return Ok(0);
    }
    let refreshed = views::refresh(&mut tx, view).await?;
    tx.commit().await?;
    if refreshed {
        debug!(view, "refreshed");
    }
    Ok(refreshed.into())
}

/// Shows how many periods wait for each view's refresh, and when its last one was.
async fn show_views(database: &Database, metrics: &Metrics) -> sqlx::Result<()> {
    for (view, waiting, refreshed) in views::waiting(&mut *database.acquire().await?).await? {
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
    let mut db = database.acquire().await?;
    blocks::symbols_with_small(&mut db, WORTH_MERGING, SYMBOLS_A_TURN).await
}

/// Merges runs of small blocks of one symbol, each with the block that follows it, in one transaction.
async fn merge_symbol(database: &Database, symbol_id: i32) -> sqlx::Result<u64> {
    let mut tx = database.begin().await?;
    if !symbols::lock_if_free(&mut tx, symbol_id).await? {
        return Ok(0);
    }
    let small = blocks::small(&mut tx, symbol_id).await?;
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
