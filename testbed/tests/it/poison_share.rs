//! A topic that is mostly poison stops the worker instead of draining into the dead letters.

use testbed::Tick;

use crate::pipeline::Pipeline;
use crate::positions::{counts, ticks};
use crate::worker::Worker;

const FEW: (&str, &str) = ("FDA_POISON__MIN_COUNT", "200");

async fn letters(pipeline: &Pipeline) -> i64 {
    sqlx::query_scalar("select count(*) from market_data.dead_letters")
        .fetch_one(pipeline.pool())
        .await
        .unwrap()
}

/// Publishes so much garbage, and then ticks.
async fn publish(pipeline: &Pipeline, garbage: usize, ticks: &[Tick]) {
    let publisher = pipeline.publisher().await;
    for _ in 0..garbage {
        publisher.send_raw(None, Some(b"garbage"), Some(0)).unwrap();
    }
    publisher.settle().await.unwrap();
    pipeline.publish(ticks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_of_garbage_stops_the_worker_until_an_operator_has_decided() {
    // GIVEN a topic with far more garbage than ticks
    let pipeline = Pipeline::with_partitions("poison_share", 1).await;
    publish(&pipeline, 3_000, &ticks("GOOD", 0..100)).await;
    for _ in 0..2 {
        // WHEN a worker takes it, and another one after that
        let mut worker = Worker::start(&pipeline, &[FEW]);
        let (code, log) = worker.ends().await;
        // THEN each stops, and says why, where, and what to do
        assert_eq!(code, 1, "{log}");
        for part in [
            "are no ticks, such as poison_share [0] offset ",
            "not-json",
            "ingest dead-letters list",
            "poison.max_share",
        ] {
            assert!(log.contains(part), "{part}: {log}");
        }
    }
    // AND the topic was not drained
    let drained = letters(&pipeline).await;
    assert!(drained < 2 * 200, "{drained}");

    // WHEN the operator lets it pass
    let _worker = Worker::start(&pipeline, &[FEW, ("FDA_POISON__MAX_SHARE", "1")]);
    pipeline.caught_up().await;
    // THEN all of it is there
    assert_eq!(letters(&pipeline).await, 3_000);
    assert_eq!(counts(&pipeline).await, [("GOOD".to_owned(), 100)]);
    pipeline.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_share_and_a_small_number_stop_nobody() {
    // GIVEN enough bad messages, but few among the good, and then no more than a few
    let pipeline = Pipeline::with_partitions("poison_few", 1).await;
    pipeline.publish(&ticks("GOOD", 0..2_000)).await;
    let mut worker = Worker::start(&pipeline, &[FEW]);
    pipeline.caught_up().await;
    // WHEN they are taken THEN the worker goes on
    publish(&pipeline, 300, &ticks("GOOD", 2_000..2_100)).await;
    pipeline.caught_up().await;
    worker.stops().await;
    let mut worker = Worker::start(&pipeline, &[FEW]);
    publish(&pipeline, 150, &[]).await;
    pipeline.caught_up().await;
    worker.stops().await;
    assert_eq!(letters(&pipeline).await, 450);
    assert_eq!(counts(&pipeline).await, [("GOOD".to_owned(), 2_100)]);
}
