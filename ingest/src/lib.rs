//! `ingest`: folds price ticks from Kafka, exactly once, into candles in PostgreSQL.
//!
//! Kafka message -> `decode` -> `batch` -> `transaction` (`merge`, `fold`, `store`). `consume` owns the
//! consumer, `writer` the database; `upkeep` works in the background.

pub mod batch;
pub mod breaker;
pub mod command;
pub mod config;
pub mod consume;
pub mod dead_letter;
pub mod decode;
pub mod failure;
pub mod floor;
pub mod fold;
pub mod health;
mod letters_told;
mod levels;
pub mod merge;
pub mod metrics;
pub mod recent;
pub mod recompute;
pub mod repair;
pub mod replay;
pub mod retain;
pub mod rezone;
pub mod store;
pub mod transaction;
pub mod upkeep;
pub mod verify;
pub mod writer;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use common::database::{self, Database};
use common::{admin, telemetry};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::IngestConfig;
use crate::consume::{Consume, ConsumeError, Links};
use crate::health::Health;
use crate::metrics::Metrics;
use crate::store::sessions;
use crate::writer::Writer;

/// How long a stop may take before what is in hand is left to the next worker.
const STOP_WITHIN: Duration = Duration::from_secs(4);
/// How long the sessions may take to end after that.
const CLOSE_WITHIN: Duration = Duration::from_millis(500);

/// Runs the worker until `stop` is cancelled.
///
/// # Errors
/// When an operator must act; the sentence names the way out.
pub async fn run(config: IngestConfig, stop: CancellationToken) -> anyhow::Result<()> {
    let session = database::options(&config.database, "ingest")?
        .options([("lock_timeout", sessions::LOCK_TIMEOUT)]);
    let database = Database::of(&config.database, &session);
    let metrics = Metrics::new()?;
    let health = Arc::new(Health::default());
    health.register(&metrics.registry)?;
    telemetry::metrics::register(
        &metrics.registry,
        "ingest",
        database.pool().clone(),
        config.database.max_connections,
    )?;
    let listener = admin::bind(config.admin.listen, "admin.listen").await?;
    let router = admin::router(metrics.registry.clone(), health.clone());
    let admin = tokio::spawn(axum::serve(listener, router).into_future());
    let config = Arc::new(config);

    let Some(cluster) = cluster_id(&config, &health, &stop).await else {
        return Ok(());
    };
    info!(
        cluster,
        brokers = config.kafka.brokers,
        "connected to kafka"
    );

    let upkeep = tokio::spawn(upkeep::run(
        database.clone(),
        config.upkeep,
        metrics.clone(),
        stop.clone(),
    ));
    let (batches, mut to_write) = tokio::sync::mpsc::channel(1);
    let (to_judge, verdicts) = std::sync::mpsc::channel();
    // The writer outlives the stop by as long as the loop waits for its last verdict.
    let abandon = CancellationToken::new();
    let mut writer = Writer::new(
        database.clone(),
        cluster.clone(),
        config.poison,
        metrics.clone(),
        health.clone(),
        abandon.clone(),
    );
    let writing = tokio::spawn(async move {
        while let Some(batch) = to_write.recv().await {
            if to_judge.send(writer.write(batch).await).is_err() {
                return;
            }
        }
    });
    let links = Links {
        database: database.clone(),
        cluster,
        batches,
        verdicts,
        metrics,
        health,
        stop: stop.clone(),
        runtime: tokio::runtime::Handle::current(),
    };
    let consuming = tokio::task::spawn_blocking(move || consume(&config, &links));

    let stopped = async {
        stop.cancelled().await;
        tokio::time::sleep(STOP_WITHIN).await;
        abandon.cancel();
    };
    let result = tokio::select! {
        result = consuming => result.context("the poll loop panicked")?,
        () = stopped => Err(anyhow!("could not stop within {STOP_WITHIN:?}; what is not stored will be read again")),
    };
    stop.cancel();
    abandon.cancel();
    let (end_writing, end_upkeep) = (writing.abort_handle(), upkeep.abort_handle());
    let ended = async {
        let _ended = tokio::join!(writing, upkeep);
        database.close().await;
    };
    if tokio::time::timeout(CLOSE_WITHIN, ended).await.is_err() {
        warn!("the database does not answer; its sessions are left to it");
        end_writing.abort();
        end_upkeep.abort();
    }
    admin.abort();
    result
}

/// Polls; makes the consumer anew when another worker has stored a partition of ours.
fn consume(config: &IngestConfig, links: &Links) -> anyhow::Result<()> {
    loop {
        match Consume::join(config, links)?.run() {
            Ok(()) => return Ok(()),
            Err(ConsumeError::Lost) => {
                warn!("another worker has stored a partition of ours; joining the group anew");
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The id of the Kafka cluster, asked until it answers; `None` when told to stop.
async fn cluster_id(
    config: &Arc<IngestConfig>,
    health: &Arc<Health>,
    stop: &CancellationToken,
) -> Option<String> {
    while !stop.is_cancelled() {
        let (ask_config, ask_health) = (config.clone(), health.clone());
        let ask = tokio::task::spawn_blocking(move || {
            ask_health.polled();
            consume::cluster_id(&ask_config.kafka, Duration::from_secs(3))
        });
        let reason = match ask.await {
            Ok(Ok(cluster)) => return Some(cluster),
            Ok(Err(reason)) => reason,
            Err(error) => error.to_string(),
        };
        warn!(reason, "waiting for kafka");
        health.kafka_answers(Some(reason));
        tokio::select! { () = tokio::time::sleep(Duration::from_secs(1)) => {}, () = stop.cancelled() => {} }
    }
    None
}
