//! Years of history in one topic pass through the worker beside live ticks of another.

use std::time::Instant;

use testbed::kafka::create_topic;
use testbed::{Encoding, Publisher, Tick, eventually};

use crate::pipeline::{PATIENCE, Pipeline};
use crate::worker::Worker;

/// 2014-01-15T12:00:00Z.
const LONG_AGO: i64 = 1_389_787_200_000_000;
const HISTORY: i64 = 80_000;
/// Apart in event time: 80 000 of them are ten years and more.
const STEP: i64 = 67 * 60_000_000;
/// How much of the history may be stored between a live tick's sending and its commit: what was fetched ahead, and two
/// batches, and as much again.
const AHEAD: i64 = 25_000;

async fn publish_history(brokers: &str) {
    let brokers = brokers.to_owned();
    let publisher =
        tokio::task::spawn_blocking(move || Publisher::connect(&brokers, "backfill_history"))
            .await
            .unwrap()
            .unwrap();
    for n in 0..HISTORY {
        let symbol = format!("OLD.{}", n % 5);
        let price = format!("{}.25", 10 + n % 90);
        let tick = Tick::new(symbol, LONG_AGO + n * STEP, n, price, "10");
        publisher.send(&tick, Encoding::Json).unwrap();
    }
    publisher.settle().await.unwrap();
}

async fn number(pipeline: &Pipeline, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql)
        .fetch_one(pipeline.pool())
        .await
        .unwrap()
}

const STORED: &str = "select coalesce(sum(next_offset), 0)::bigint from market_data.ingest_offsets where topic = 'backfill_history'";
const LIVE: &str = "select count(*) from market_data.ticks where symbol = 'LIVE'";

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_of_years_does_not_starve_live_ticks_and_is_exact() {
    // GIVEN ten years in a topic of their own, and a worker that takes it beside the live one
    let pipeline = Pipeline::with_partitions("backfill", 1).await;
    create_topic(pipeline.brokers(), "backfill_history", 2)
        .await
        .unwrap();
    publish_history(pipeline.brokers()).await;
    let file = pipeline.folder().join("topics.yaml");
    std::fs::write(
        &file,
        "kafka:\n  topics: { backfill: json, backfill_history: json }\n",
    )
    .unwrap();
    let begun = Instant::now();
    let worker = Worker::start_with(
        &pipeline,
        &["--config", file.to_str().unwrap(), "run"],
        &[
            // Small batches, so that the history takes long beside the live ticks.
            ("FDA_BATCH__MAX_MESSAGES", "100"),
            ("FDA_KAFKA__PREFETCH_KIB", "1024"),
            ("FDA_UPKEEP__REFRESH_INTERVAL", "100ms"),
        ],
    );
    eventually(
        "the history is under way",
        PATIENCE,
        async || match number(&pipeline, STORED).await {
            0 => Err("nothing is stored"),
            _ => Ok(()),
        },
    )
    .await
    .unwrap();

    // WHEN live ticks come meanwhile
    for n in 1..=3 {
        let before = number(&pipeline, STORED).await;
        let now = chrono::Utc::now().timestamp_micros();
        pipeline
            .publish(&[Tick::new("LIVE", now, n, "100", "1")])
            .await;
        eventually(
            "the live tick is stored",
            PATIENCE,
            async || match number(&pipeline, LIVE).await {
                stored if stored >= n => Ok(()),
                stored => Err(format!("{stored} live ticks")),
            },
        )
        .await
        .unwrap();
        // THEN each is stored after a bounded part of the history
        let after = number(&pipeline, STORED).await;
        assert!(after < HISTORY, "the history was done before tick {n}");
        assert!(after - before < AHEAD, "tick {n}: {before} to {after}");
    }
    eventually("the history is stored", PATIENCE, async || {
        match number(&pipeline, STORED).await {
            stored if stored >= HISTORY => Ok(()),
            stored => Err(format!("{stored} of {HISTORY}")),
        }
    })
    .await
    .unwrap();

    // AND the views were refreshed now and then, a tenth of the time and one turn at most
    let sum = worker
        .metric("ingest_view_refresh_duration_seconds_sum")
        .await;
    let turns = worker
        .metric("ingest_view_refresh_duration_seconds_count")
        .await;
    let share = begun.elapsed().as_secs_f64() / 10.0 + sum / turns.max(1.0);
    assert!(
        turns >= 1.0 && sum <= 1.5 * share,
        "{sum} s in {turns} turns"
    );
    // AND each hour of the past is noted as changed, and every candle is what its ticks say
    eventually("the views are fresh", PATIENCE, async || {
        match number(&pipeline, "select count(*) from market_data.view_marks").await {
            0 => Ok(()),
            marks => Err(format!("{marks} marks")),
        }
    })
    .await
    .unwrap();
    let unnoted = "select count(*) from market_data.candles_1h c join market_data.symbols s on s.id = c.symbol_id \
         where s.symbol like 'OLD.%' and not exists (select from market_data.changed_hours h \
             where h.symbol_id = c.symbol_id and h.hour = c.open_time and h.updated_at >= c.updated_at - interval '10 seconds')";
    assert_eq!(number(&pipeline, unnoted).await, 0);
    let days = number(
        &pipeline,
        "select count(*) from market_data.candles_1y where trades > 0",
    )
    .await;
    assert!(days >= 50, "{days}");
    pipeline.verify().await;
}
