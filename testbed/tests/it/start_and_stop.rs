//! Parts may start in any order: a worker waits, says for what, and goes on; and it stops in time, whatever is away.

use std::time::Duration;

use testbed::kafka::create_topic;
use testbed::postgres::NEWEST;
use testbed::process::Signal;
use testbed::{Encoding, Kafka, Postgres, Publisher, avro, eventually};

use crate::avro::registry;
use crate::pipeline::{PATIENCE, Pipeline};
use crate::positions::{counts, ticks};
use crate::program::run;
use crate::worker::Worker;

async fn connect(brokers: &str, topic: &str) -> Publisher {
    let (brokers, topic) = (brokers.to_owned(), topic.to_owned());
    tokio::task::spawn_blocking(move || Publisher::connect(&brokers, &topic))
        .await
        .unwrap()
        .unwrap()
}

/// Waits until so many ticks of each symbol are stored.
async fn becomes(pipeline: &Pipeline, expected: &[(String, i64)], worker: &Worker) {
    let done = eventually("the ticks are stored", PATIENCE, async || {
        let counts = counts(pipeline).await;
        if counts == expected {
            Ok(())
        } else {
            Err(format!("{counts:?}"))
        }
    });
    if let Err(error) = done.await {
        panic!("{error:#}\n{}", worker.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_of_two_formats_are_read_side_by_side() {
    // GIVEN a configuration file that names two topics, one of them not there yet
    let pipeline = Pipeline::with_partitions("two_topics", 1).await;
    let registry = registry().await;
    let other = "Two.Topics_avro";
    let schema_id = registry.register("two_topics", avro::SCHEMA).await.unwrap();
    let file = pipeline.folder().join("settings.yaml");
    let settings = format!(
        "kafka:\n  topics:\n    two_topics: json\n    {other}: avro\n  schema_registry_url: {}\n",
        registry.url()
    );
    std::fs::write(&file, settings).unwrap();
    let arguments = ["run", "--config", file.to_str().unwrap()];
    let worker = Worker::start_with(&pipeline, &arguments, &[]);
    pipeline.publish(&ticks("JSON", 0..4)).await;
    pipeline.caught_up().await;
    // WHEN the other is made
    create_topic(pipeline.brokers(), other, 2).await.unwrap();
    let publisher = connect(pipeline.brokers(), other).await;
    for tick in ticks("AVRO", 0..5) {
        publisher.send(&tick, Encoding::Avro { schema_id }).unwrap();
    }
    publisher.settle().await.unwrap();
    // THEN the ticks of both are stored
    let expected = [("AVRO".to_owned(), 5), ("JSON".to_owned(), 4)];
    becomes(&pipeline, &expected, &worker).await;
    let letters: i64 = sqlx::query_scalar("select count(*) from market_data.dead_letters")
        .fetch_one(pipeline.pool())
        .await
        .unwrap();
    assert_eq!(letters, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn topic_that_does_not_exist_yet_is_waited_for_by_name() {
    // GIVEN a worker of a topic that does not exist
    let pipeline = Pipeline::with_partitions("topic_later", 1).await;
    let later = "topic_that_comes_later";
    let worker = Worker::start(&pipeline, &[("FDA_KAFKA__TOPIC", later)]);
    // WHEN nothing has come THEN it says what it waits for
    worker.waits_for(later).await;
    // AND WHEN the topic is there THEN it is read
    create_topic(pipeline.brokers(), later, 1).await.unwrap();
    let publisher = connect(pipeline.brokers(), later).await;
    for tick in ticks("LATE", 0..3) {
        publisher.send(&tick, Encoding::Json).unwrap();
    }
    publisher.settle().await.unwrap();
    becomes(&pipeline, &[("LATE".to_owned(), 3)], &worker).await;
    worker.ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn services_that_are_not_there_yet_are_waited_for_by_name() {
    // GIVEN a broker with a topic and a server with a database, both down
    let (kafka, postgres) = tokio::join!(Kafka::start(), Postgres::temporary(NEWEST));
    let (mut kafka, mut postgres) = (kafka.unwrap(), postgres.unwrap());
    kafka.create_topic("ticks", 1).await.unwrap();
    let publisher = connect(&kafka.bootstrap(), "ticks").await;
    for tick in ticks("EARLY", 0..3) {
        publisher.send(&tick, Encoding::Json).unwrap();
    }
    publisher.settle().await.unwrap();
    drop(publisher);
    let superuser = postgres.create_database("prices").await.unwrap();
    let (code, text) = run(&["migrate"], &[("FDA_DATABASE__URL", &superuser)]).await;
    assert_eq!(code, 0, "{text}");
    kafka.process().stop(Duration::from_secs(10));
    postgres.process().stop(Duration::from_secs(10));
    // WHEN a worker starts
    let (brokers, url) = (
        kafka.bootstrap(),
        postgres.url_as("market_data_ingest", "prices"),
    );
    let settings = [
        ("FDA_KAFKA__BROKERS", brokers.as_str()),
        ("FDA_DATABASE__URL", url.as_str()),
        ("FDA_DATABASE__CONNECT_TIMEOUT", "1s"),
    ];
    let folder = std::env::temp_dir().join(format!("testbed-it-{}-late", std::process::id()));
    let mut worker = Worker::launch(&folder, &["run"], &settings);
    // THEN it waits for Kafka
    worker
        .waits_for(&format!("kafka: no answer from {brokers}"))
        .await;
    let (code, text) = run(&["healthcheck"], &[("FDA_ADMIN__LISTEN", worker.address())]).await;
    assert!(code == 1 && text.contains("no answer from"), "{text}");
    // AND once that is there, for the database
    kafka.restart().await.unwrap();
    worker.waits_for("database: no session within").await;
    let (_, reason) = worker.admin("/readyz").await.unwrap();
    assert!(!reason.contains("kafka"), "{reason}");
    // AND once both are, it works
    postgres.restart().await.unwrap();
    worker.ready().await;
    let pool = sqlx::PgPool::connect(&superuser).await.unwrap();
    eventually("the ticks are stored", PATIENCE, async || {
        let count = sqlx::query_scalar("select count(*) from market_data.ticks");
        match count.fetch_one(&pool).await {
            Ok(3_i64) => Ok(()),
            Ok(count) => Err(count.to_string()),
            Err(error) => Err(error.to_string()),
        }
    })
    .await
    .unwrap();
    pool.close().await;
    let (code, text) = run(&["healthcheck"], &[("FDA_ADMIN__LISTEN", worker.address())]).await;
    assert_eq!(code, 0, "{text}");
    // AND WHEN both are away again, it stops in time even so
    kafka.kill9();
    postgres.process().stop(Duration::from_secs(10));
    worker.stops().await;
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_stores_what_was_taken_within_five_seconds() {
    // GIVEN a worker that writes by number alone, and has taken more than it has written
    let pipeline = Pipeline::with_partitions("stop", 1).await;
    pipeline.publish(&ticks("A", 0..80)).await;
    let settings = [
        ("FDA_BATCH__LINGER", "1h"),
        ("FDA_BATCH__MAX_MESSAGES", "50"),
    ];
    let mut worker = Worker::start(&pipeline, &settings);
    pipeline.stored_at_least(50).await;
    // WHEN it is told to stop
    worker.stops().await;
    // THEN the rest is stored, too
    assert_eq!(pipeline.positions().await.unwrap(), [80]);
    assert_eq!(counts(&pipeline).await, [("A".to_owned(), 80)]);
    // AND Ctrl-C does the same as an orchestrator's signal
    pipeline.publish(&ticks("B", 0..1)).await;
    let mut worker = Worker::start(&pipeline, &[]);
    pipeline.caught_up().await;
    worker.process().signal(Signal::SIGINT);
    let (code, log) = worker.ends().await;
    assert_eq!(code, 0, "{log}");
}
