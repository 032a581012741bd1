//! The faults: each strikes, is seen to have happened, and is over when it returns.

mod database;
mod kafka;
mod worker;

use std::time::Duration;

use anyhow::Result;
use rand::RngExt as _;

use super::world::World;

/// A fault that can be drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    WorkerKilled,
    WorkerKilledInCommit,
    WorkerStopped,
    WorkerFrozen,
    WorkerFrozenInTransaction,
    WorkerClockWrong,
    SessionsEnded,
    DatabaseCrashed,
    DatabaseRestarted,
    DiskFull,
    CommitAnswerLost,
    ConnectionsCut,
    DatabaseSlow,
    DatabaseBlackHole,
    LockHeld,
    StatementTimeout,
    Migration,
    BrokerKilled,
    CoordinatorKilled,
    LeaderChanged,
    PartitionsAdded,
    RegistryDown,
}

impl Fault {
    pub(super) const ALL: [Self; 22] = [
        Self::WorkerKilled,
        Self::WorkerKilledInCommit,
        Self::WorkerStopped,
        Self::WorkerFrozen,
        Self::WorkerFrozenInTransaction,
        Self::WorkerClockWrong,
        Self::SessionsEnded,
        Self::DatabaseCrashed,
        Self::DatabaseRestarted,
        Self::DiskFull,
        Self::CommitAnswerLost,
        Self::ConnectionsCut,
        Self::DatabaseSlow,
        Self::DatabaseBlackHole,
        Self::LockHeld,
        Self::StatementTimeout,
        Self::Migration,
        Self::BrokerKilled,
        Self::CoordinatorKilled,
        Self::LeaderChanged,
        Self::PartitionsAdded,
        Self::RegistryDown,
    ];

    /// As the summary and `--only` name it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::WorkerKilled => "worker-killed",
            Self::WorkerKilledInCommit => "worker-killed-in-commit",
            Self::WorkerStopped => "worker-stopped",
            Self::WorkerFrozen => "worker-frozen",
            Self::WorkerFrozenInTransaction => "worker-frozen-in-transaction",
            Self::WorkerClockWrong => "worker-clock-wrong",
            Self::SessionsEnded => "sessions-ended",
            Self::DatabaseCrashed => "database-crashed",
            Self::DatabaseRestarted => "database-restarted",
            Self::DiskFull => "disk-full",
            Self::CommitAnswerLost => "commit-answer-lost",
            Self::ConnectionsCut => "connections-cut",
            Self::DatabaseSlow => "database-slow",
            Self::DatabaseBlackHole => "database-black-hole",
            Self::LockHeld => "lock-held",
            Self::StatementTimeout => "statement-timeout",
            Self::Migration => "migration",
            Self::BrokerKilled => "broker-killed",
            Self::CoordinatorKilled => "coordinator-killed",
            Self::LeaderChanged => "leader-changed",
            Self::PartitionsAdded => "partitions-added",
            Self::RegistryDown => "registry-down",
        }
    }

    /// Why this fault cannot be had in a world, if it cannot.
    pub(super) fn left_out(self, world: &World) -> Option<String> {
        match self {
            Self::DiskFull => world.disk.as_ref().err().cloned(),
            Self::WorkerClockWrong => worker::no_clock(world),
            Self::CoordinatorKilled | Self::LeaderChanged if world.size.brokers < 3 => {
                Some("there is one broker".into())
            }
            Self::RegistryDown if world.registry.is_none() => Some("there is no registry".into()),
            _ => None,
        }
    }

    /// Whether it takes more than some ten seconds.
    pub(super) const fn takes_long(self) -> bool {
        matches!(
            self,
            Self::WorkerFrozen
                | Self::WorkerFrozenInTransaction
                | Self::WorkerClockWrong
                | Self::StatementTimeout
                | Self::BrokerKilled
                | Self::DatabaseBlackHole
        )
    }

    /// Lets it happen, and end; returns what shows that it happened.
    ///
    /// # Errors
    ///
    /// When it did not, or something else failed by it.
    pub(super) async fn strike(self, world: &mut World) -> Result<String> {
        match self {
            Self::WorkerKilled => worker::killed(world).await,
            Self::WorkerKilledInCommit => worker::killed_in_commit(world).await,
            Self::WorkerStopped => worker::stopped(world).await,
            Self::WorkerFrozen => worker::frozen(world).await,
            Self::WorkerFrozenInTransaction => worker::frozen_in_transaction(world).await,
            Self::WorkerClockWrong => worker::clock_wrong(world).await,
            Self::SessionsEnded => database::sessions_ended(world).await,
            Self::DatabaseCrashed => database::crashed(world).await,
            Self::DatabaseRestarted => database::restarted(world).await,
            Self::DiskFull => database::disk_full(world).await,
            Self::CommitAnswerLost => database::commit_answer_lost(world).await,
            Self::ConnectionsCut => database::connections_cut(world).await,
            Self::DatabaseSlow => database::slow(world).await,
            Self::DatabaseBlackHole => database::black_hole(world).await,
            Self::LockHeld => database::lock_held(world).await,
            Self::StatementTimeout => database::statement_timeout(world).await,
            Self::Migration => database::migration(world).await,
            Self::BrokerKilled => kafka::broker_killed(world).await,
            Self::CoordinatorKilled => kafka::coordinator_killed(world).await,
            Self::LeaderChanged => kafka::leader_changed(world).await,
            Self::PartitionsAdded => kafka::partitions_added(world).await,
            Self::RegistryDown => kafka::registry_down(world).await,
        }
    }
}

/// Lets time pass: how long an outage lasts, and where in a worker's work it hits, is chance.
async fn a_while(world: &mut World, least: u64, most: u64) {
    let milliseconds = world.random.random_range(least..most);
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}

/// Starts one of the workers, drawn, without work in the background: each of its COMMITs is that of a batch.
async fn worker_of_batches(world: &mut World) -> Result<usize> {
    let number = some_worker(world);
    let worker = &mut world.workers[number];
    worker.stop()?;
    worker.start(&[
        ("FDA_UPKEEP__MERGE_INTERVAL", "1h".into()),
        ("FDA_UPKEEP__REFRESH_INTERVAL", "1h".into()),
    ])?;
    worker.ready().await?;
    world.recovered().await?;
    Ok(number)
}

/// One of the workers, drawn.
fn some_worker(world: &mut World) -> usize {
    world.random.random_range(0..world.workers.len())
}
