//! Where reading goes on, and what stops a worker with a sentence for its operator.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use testbed::kafka::{create_topic, delete_topic};
use testbed::{Encoding, Tick};

use crate::pipeline::Pipeline;
use crate::worker::Worker;

/// 2024-01-15T12:00:00Z.
const NOON: i64 = 1_705_320_000_000_000;

/// The sentence that tells an operator the way out.
const RESET: &str = "run `ingest offsets reset`";

/// Ticks of one symbol, a microsecond apart.
pub(crate) fn ticks(symbol: &str, sequences: std::ops::Range<i64>) -> Vec<Tick> {
    let tick = |sequence| Tick::new(symbol, NOON + sequence, sequence, "10.5", "1");
    sequences.map(tick).collect()
}

/// How many ticks of each symbol are stored.
pub(crate) async fn counts(pipeline: &Pipeline) -> Vec<(String, i64)> {
    sqlx::query_as("select symbol, count(*) from market_data.ticks group by 1 order by 1")
        .fetch_all(pipeline.pool())
        .await
        .unwrap()
}

async fn recreate(pipeline: &Pipeline) {
    delete_topic(pipeline.brokers(), pipeline.topic())
        .await
        .unwrap();
    create_topic(pipeline.brokers(), pipeline.topic(), 1)
        .await
        .unwrap();
}

/// A pipeline with ten stored ticks and no worker.
async fn pipeline_with_ten(name: &str) -> Pipeline {
    let pipeline = Pipeline::with_partitions(name, 1).await;
    pipeline.publish(&ticks("OLD", 0..10)).await;
    let mut worker = Worker::start(&pipeline, &[]);
    pipeline.caught_up().await;
    worker.stops().await;
    pipeline
}

async fn reset_makes_it_run(pipeline: &Pipeline, new: i64) {
    let reset = ["offsets", "reset", "--topic", pipeline.topic()];
    let dry = [reset.as_slice(), &["--dry-run"]].concat();
    let (code, text) = pipeline.ingest_command(&dry).await;
    assert!(code == 0 && text.contains("nothing was changed"), "{text}");
    assert_eq!(pipeline.positions().await.unwrap(), [10]);
    let (code, text) = pipeline.ingest_command(&reset).await;
    assert!(
        code == 0 && text.contains("1 positions forgotten"),
        "{text}"
    );
    let _worker = Worker::start(pipeline, &[]);
    pipeline.caught_up().await;
    let expected = [("NEW".to_owned(), new), ("OLD".to_owned(), 10)];
    assert_eq!(counts(pipeline).await, expected);
    pipeline.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topic_recreated_shorter_stops_the_worker_until_its_position_is_reset() {
    // GIVEN ten stored ticks of a topic that is then made anew, with three
    let pipeline = pipeline_with_ten("recreated_shorter").await;
    recreate(&pipeline).await;
    pipeline.publish(&ticks("NEW", 0..3)).await;
    // WHEN a worker starts
    let mut worker = Worker::start(&pipeline, &[]);
    let (code, log) = worker.ends().await;
    // THEN it stops with the way out, and has touched nothing
    assert_eq!(code, 1, "{log}");
    assert!(
        log.contains("recreated_shorter [0] is 10, but Kafka has 0 to 3"),
        "{log}"
    );
    assert!(log.contains(RESET), "{log}");
    assert_eq!(counts(&pipeline).await, [("OLD".to_owned(), 10)]);
    // AND once the position is reset, it runs
    reset_makes_it_run(&pipeline, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topic_recreated_and_grown_past_the_position_is_noticed_too() {
    // GIVEN ten stored ticks of a topic that is then made anew, with twenty
    let pipeline = pipeline_with_ten("recreated_longer").await;
    recreate(&pipeline).await;
    pipeline.publish(&ticks("NEW", 0..20)).await;
    // WHEN a worker starts
    let mut worker = Worker::start(&pipeline, &[]);
    let (code, log) = worker.ends().await;
    // THEN it stops with the way out, and has touched nothing
    assert_eq!(code, 1, "{log}");
    let what = "the record of recreated_longer [0] at offset 9 is not the one that was stored";
    assert!(log.contains(what) && log.contains(RESET), "{log}");
    assert_eq!(counts(&pipeline).await, [("OLD".to_owned(), 10)]);
    // AND once the position is reset, it runs
    reset_makes_it_run(&pipeline, 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topic_recreated_under_a_running_worker_stops_it() {
    // GIVEN a worker that has stored ten ticks
    let pipeline = Pipeline::with_partitions("recreated_running", 1).await;
    pipeline.publish(&ticks("OLD", 0..10)).await;
    let mut worker = Worker::start(&pipeline, &[]);
    pipeline.caught_up().await;
    // WHEN the topic is made anew, and gets some ticks
    recreate(&pipeline).await;
    pipeline.publish(&ticks("NEW", 0..3)).await;
    // THEN the worker stops with the way out
    let (code, log) = worker.ends().await;
    assert_eq!(code, 1, "{log}");
    assert!(
        log.contains("recreated_running [0] is 10, but Kafka has 0 to "),
        "{log}"
    );
    assert!(log.contains(RESET), "{log}");
    assert_eq!(counts(&pipeline).await, [("OLD".to_owned(), 10)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn topic_deleted_under_a_running_worker_is_waited_for_and_known_to_be_another() {
    // GIVEN a worker that has stored ten ticks, and whose topic is gone
    let pipeline = Pipeline::with_partitions("deleted_running", 1).await;
    pipeline.publish(&ticks("OLD", 0..10)).await;
    let mut worker = Worker::start(&pipeline, &[]);
    pipeline.caught_up().await;
    delete_topic(pipeline.brokers(), pipeline.topic())
        .await
        .unwrap();
    worker.waits_for(pipeline.topic()).await;
    // WHEN the topic is made anew, and gets more ticks than it had
    create_topic(pipeline.brokers(), pipeline.topic(), 1)
        .await
        .unwrap();
    pipeline.publish(&ticks("NEW", 0..20)).await;
    // THEN the worker stops with the way out, and has touched nothing
    let (code, log) = worker.ends().await;
    assert_eq!(code, 1, "{log}");
    assert!(log.contains(RESET), "{log}");
    assert_eq!(counts(&pipeline).await, [("OLD".to_owned(), 10)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timestamp_that_is_no_time_stops_no_worker() {
    // GIVEN ticks of a producer that gives Kafka nanoseconds, stored by a worker
    let pipeline = Pipeline::with_partitions("nanoseconds", 1).await;
    let publish = async |range: std::ops::Range<i64>| {
        let (brokers, topic) = (pipeline.brokers().to_owned(), pipeline.topic().to_owned());
        let send = move || {
            let producer: BaseProducer = ClientConfig::new()
                .set("bootstrap.servers", brokers)
                .create()
                .unwrap();
            for tick in ticks("A", range) {
                let payload = Encoding::Json.encode(&tick).unwrap();
                let record = BaseRecord::to(&topic)
                    .key("A")
                    .payload(&payload)
                    .timestamp(NOON * 1000);
                producer.send(record).map_err(|(error, _)| error).unwrap();
            }
            producer.flush(Duration::from_secs(20)).unwrap();
        };
        tokio::task::spawn_blocking(send).await.unwrap();
    };
    publish(0..10).await;
    let mut worker = Worker::start(&pipeline, &[]);
    pipeline.caught_up().await;
    worker.stops().await;
    // WHEN another worker goes on
    publish(10..20).await;
    let _worker = Worker::start(&pipeline, &[]);
    // THEN it takes the last record for what it is
    pipeline.caught_up().await;
    assert_eq!(counts(&pipeline).await, [("A".to_owned(), 20)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn offset_serves_as_the_sequence_where_producers_have_none() {
    // GIVEN equal messages without a sequence, and one with one
    let pipeline = Pipeline::with_partitions("sequence_offset", 1).await;
    let plain = br#"{"symbol":"A","event_time":"2024-01-15T12:00:00Z","price":"1","size":"2"}"#;
    let numbered = br#"{"symbol":"A","event_time":"2024-01-15T12:00:00Z","sequence":77,"price":"3","size":"2"}"#;
    let publisher = pipeline.publisher().await;
    for payload in [plain.as_slice(), plain, numbered] {
        publisher
            .send_raw(Some(b"A"), Some(payload), Some(0))
            .unwrap();
    }
    publisher.settle().await.unwrap();
    // WHEN a worker reads them that is told so
    let mut worker = Worker::start(&pipeline, &[("FDA_KAFKA__SEQUENCE", "offset")]);
    pipeline.caught_up().await;
    // THEN each is a tick, in the order of the topic
    let stored = async || -> Vec<(i64, String)> {
        sqlx::query_as("select sequence, price::text from market_data.ticks order by 1")
            .fetch_all(pipeline.pool())
            .await
            .unwrap()
    };
    let expected = [
        (0, "1".to_owned()),
        (1, "1".to_owned()),
        (2, "3".to_owned()),
    ];
    assert_eq!(stored().await, expected);
    // AND a second reading changes nothing
    worker.stops().await;
    let reset = ["offsets", "reset", "--topic", pipeline.topic()];
    assert_eq!(pipeline.ingest_command(&reset).await.0, 0);
    let worker = Worker::start(&pipeline, &[("FDA_KAFKA__SEQUENCE", "offset")]);
    pipeline.caught_up().await;
    assert_eq!(stored().await, expected);
    let duplicates = r#"ingest_messages_total{outcome="duplicate"}"#;
    assert_eq!(worker.metric(duplicates).await.to_string(), "3");
}
