//! Stops one worker at a named point of its work from outside: a trigger that only a test's database has waits there for
//! a lock that the test holds. Sessions named [`PARKED`] wait, all others pass.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Executor as _, Postgres, Transaction};
use testbed::eventually;

use crate::database::Database;

/// The name of sessions that wait at the point.
pub(super) const PARKED: &str = "parked";
/// The name of sessions that pass it.
pub(super) const PASSING: &str = "passing";

const PATIENCE: Duration = Duration::from_secs(30);

const FUNCTION: &str = "create function public.park() returns trigger language plpgsql as $$ begin \
     if current_setting('application_name') = 'parked' then perform pg_advisory_xact_lock_shared(4711); end if; \
     return null; end $$";

/// Where a worker waits.
#[derive(Debug, Clone, Copy)]
pub(super) enum Point {
    /// It has moved its positions, and locked no symbol.
    AfterFence,
    /// It has locked its symbols, and written no tick.
    BeforeBlocks,
    /// It has written its ticks, and no candle.
    BeforeCandles,
    /// It has written everything, and sent COMMIT.
    InCommit,
    /// It has made a new symbol, and not committed it.
    NewSymbol,
    /// A refresh has read the marks and the days, and not committed.
    RefreshDone,
}

impl Point {
    /// Those inside the transaction of a batch.
    pub(super) const OF_A_BATCH: [Self; 4] = [
        Self::AfterFence,
        Self::BeforeBlocks,
        Self::BeforeCandles,
        Self::InCommit,
    ];

    /// Whether a worker that stands there holds its symbols.
    pub(super) const fn holds_symbols(self) -> bool {
        !matches!(self, Self::AfterFence | Self::NewSymbol | Self::RefreshDone)
    }

    const fn trigger(self) -> &'static str {
        match self {
            Self::AfterFence => "trigger park after update on ingest_offsets for each statement",
            Self::BeforeBlocks => {
                "trigger park before insert or delete on tick_blocks for each statement"
            }
            Self::BeforeCandles => "trigger park before insert on candles_1m for each statement",
            // Deferred ones run inside COMMIT.
            Self::InCommit => {
                "constraint trigger park after update on ingest_offsets deferrable initially deferred for each row"
            }
            Self::NewSymbol => "trigger park after insert on symbols for each statement",
            Self::RefreshDone => {
                "trigger park after insert or update on view_refreshes for each statement"
            }
        }
    }
}

/// The lock that sessions named [`PARKED`] wait for at a point.
pub(super) struct Park<'a> {
    db: &'a Database,
    lock: Transaction<'static, Postgres>,
}

impl<'a> Park<'a> {
    /// From now on they wait at `point`.
    pub(super) async fn at(db: &'a Database, point: Point) -> Self {
        db.owner.execute(FUNCTION).await.unwrap();
        let trigger = point.trigger();
        let sql = format!("create {trigger} execute function public.park()");
        db.owner.execute(AssertSqlSafe(sql)).await.unwrap();
        let mut lock = db.owner.begin().await.unwrap();
        lock.execute("select pg_advisory_xact_lock(4711)")
            .await
            .unwrap();
        Self { db, lock }
    }

    /// Waits until one of them stands there.
    pub(super) async fn reached(&self) {
        waits_for(self.db, PARKED, "advisory").await;
    }

    /// Lets them go on.
    pub(super) async fn release(self) {
        self.lock.rollback().await.unwrap();
    }
}

/// Waits until a session that passes the point waits for one that stands there.
pub(super) async fn blocked(db: &Database) {
    waits_for(db, PASSING, "transactionid").await;
}

/// Waits until a session of that name waits for a lock of that kind.
pub(super) async fn waits_for(db: &Database, application: &str, lock: &str) {
    let what = format!("a session named {application} waits for a lock of kind {lock}");
    let seen = eventually(&what, PATIENCE, async || {
        let waiting: bool = sqlx::query_scalar(
            "select exists (select from pg_stat_activity where datname = current_database() \
                 and application_name = $1 and wait_event_type = 'Lock' and wait_event = $2)",
        )
        .bind(application)
        .bind(lock)
        .fetch_one(&db.owner)
        .await
        .unwrap();
        if waiting { Ok(()) } else { Err("it does not") }
    });
    seen.await.unwrap();
}
