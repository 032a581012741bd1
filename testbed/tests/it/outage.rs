//! A database that is away for long: the worker stays in its group, alive, in the memory it was given.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use testbed::postgres::NEWEST;
use testbed::{Postgres, Tick, eventually};

use crate::pipeline::{PATIENCE, Pipeline};
use crate::positions::{counts, ticks};
use crate::worker::Worker;

/// Longest time between two polls; the shortest that the broker grants a session.
const POLL_INTERVAL: Duration = Duration::from_secs(6);
/// Prefetch, one batch that is being stored and one that fills.
const ALLOWED: usize = 3 * 1024 * 1024;
/// What else a program's memory may grow by: heaps of its threads, and the client's record of each message.
const MARGIN_KIB: u64 = 48 * 1024;

/// The members of the pipeline's group.
async fn members(pipeline: &Pipeline) -> Vec<String> {
    let (brokers, group) = (pipeline.brokers().to_owned(), pipeline.topic().to_owned());
    let ask = move || {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .create()
            .unwrap();
        let groups = consumer
            .fetch_group_list(Some(&group), Duration::from_secs(10))
            .unwrap();
        groups
            .groups()
            .iter()
            .flat_map(|group| group.members().iter().map(|member| member.id().to_owned()))
            .collect()
    };
    tokio::task::spawn_blocking(ask).await.unwrap()
}

/// The most memory that a worker has had, in KiB.
fn peak(worker: &mut Worker) -> u64 {
    let path = format!("/proc/{}/status", worker.process().pid());
    let status = std::fs::read_to_string(path).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.unwrap().trim().strip_suffix(" kB").unwrap();
    number.trim().parse().unwrap()
}

/// Publishes ticks whose messages have two KiB each; returns the bytes.
async fn publish_large(pipeline: &Pipeline, ticks: &[Tick]) -> usize {
    let publisher = pipeline.publisher().await;
    let padding = "x".repeat(2048);
    let mut bytes = 0;
    for tick in ticks {
        let json = String::from_utf8(tick.to_json().unwrap()).unwrap();
        let padded = format!("{{\"padding\":\"{padding}\",{}", &json[1..]);
        bytes += padded.len();
        let key = tick.symbol.as_bytes();
        publisher
            .send_raw(Some(key), Some(padded.as_bytes()), None)
            .unwrap();
    }
    publisher.settle().await.unwrap();
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_several_poll_intervals_evicts_nobody_and_fills_no_memory() {
    // GIVEN a worker with little memory and a short poll interval, that has stored something
    let mut postgres = Postgres::temporary(NEWEST).await.unwrap();
    let pipeline = Pipeline::on(&postgres, "outage", 2).await;
    let mut worker = Worker::start(
        &pipeline,
        &[
            ("FDA_KAFKA__MAX_POLL_INTERVAL", "6s"),
            ("FDA_KAFKA__PREFETCH_KIB", "1024"),
            ("FDA_BATCH__MAX_BYTES", "1048576"),
            ("FDA_DATABASE__CONNECT_TIMEOUT", "1s"),
        ],
    );
    pipeline.publish(&ticks("FIRST", 0..100)).await;
    pipeline.caught_up().await;
    let (before, member) = (peak(&mut worker), members(&pipeline).await);
    assert_eq!(member.len(), 1);

    // WHEN the database goes away, and a backlog comes of many times the memory that is allowed
    postgres.process().stop(Duration::from_secs(5));
    let away = Instant::now();
    let backlog = ticks("LATER", 0..60_000);
    let bytes = publish_large(&pipeline, &backlog).await;
    assert!(bytes > 40 * ALLOWED, "{bytes}");
    eventually("three poll intervals pass", PATIENCE, async || {
        let passed = away.elapsed();
        if passed > 3 * POLL_INTERVAL + Duration::from_secs(2) {
            Ok(())
        } else {
            Err(format!("{passed:?}"))
        }
    })
    .await
    .unwrap();

    // THEN it is the same member, alive, not ready, has tried again and again, and holds what it may
    worker.waits_for("database").await;
    let attempts = worker
        .metric("ingest_batch_retries_total{cause=\"resources\"}")
        .await
        + worker
            .metric("ingest_batch_retries_total{cause=\"connection\"}")
            .await;
    assert!((3.0..100.0).contains(&attempts), "{attempts}");
    assert_eq!(members(&pipeline).await, member, "{}", worker.log());
    let during = peak(&mut worker);
    assert!(during < before + MARGIN_KIB, "{before} KiB, then {during}");

    // AND once the database is back it stores the backlog, once each, and still has not left
    postgres.restart().await.unwrap();
    pipeline.caught_up().await;
    let expected = [("FIRST".to_owned(), 100), ("LATER".to_owned(), 60_000)];
    assert_eq!(counts(&pipeline).await, expected);
    assert_eq!(members(&pipeline).await, member);
    let after = peak(&mut worker);
    assert!(after < before + MARGIN_KIB, "{before} KiB, then {after}");
    pipeline.verify().await;
}
