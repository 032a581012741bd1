//! Files published to the embedded broker and to Apache Kafka, read back.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use testbed::publish::{Format, Publish, Reading, Target, publish};
use testbed::publisher::Delivered;
use testbed::{Encoding, Kafka, MockKafka, Publisher, Registry, Tick, avro, workspace};

/// Key and payload of every message of a topic, by partition and offset.
fn read_all(brokers: &str, topic: &str, delivered: &Delivered) -> Vec<(Vec<u8>, Vec<u8>)> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "reader")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let mut all = BTreeMap::new();
    for (partition, end) in &delivered.ends {
        let mut list = rdkafka::TopicPartitionList::new();
        list.add_partition_offset(topic, *partition, rdkafka::Offset::Beginning)
            .unwrap();
        consumer.assign(&list).unwrap();
        let mut next = 0;
        while next < *end {
            let message = consumer
                .poll(Duration::from_secs(20))
                .expect("a message within 20 s")
                .unwrap();
            next = message.offset() + 1;
            let part = |bytes: Option<&[u8]>| bytes.unwrap_or_default().to_vec();
            all.insert(
                (*partition, message.offset()),
                (part(message.key()), part(message.payload())),
            );
        }
    }
    all.into_values().collect()
}

fn bars() -> PathBuf {
    workspace::root().join("testbed/data/stocks_daily.csv")
}

fn options(brokers: &str, format: Format, registry: Option<String>) -> Publish {
    Publish {
        file: bars(),
        target: Target {
            brokers: brokers.to_owned(),
            topic: "ticks".to_owned(),
            format,
            schema_registry: registry,
        },
        reading: Reading {
            float32: true,
            ..Reading::default()
        },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_broker_takes_the_history() {
    let broker = MockKafka::start().unwrap();
    broker.create_topic("ticks", 4).unwrap();
    let delivered = publish(&options(&broker.bootstrap(), Format::Json, None))
        .await
        .unwrap();
    assert_eq!(delivered.count, 6 * 2_699 * 4);
    assert_eq!(delivered.ends.values().sum::<i64>(), 6 * 2_699 * 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_keeps_the_history_over_a_crash_in_both_formats() {
    // GIVEN Apache Kafka and a schema registry
    let (mut kafka, registry) = tokio::try_join!(Kafka::start(), Registry::start()).unwrap();
    kafka.create_topic("ticks", 3).await.unwrap();
    // WHEN the history is published as JSON
    let delivered = publish(&options(&kafka.bootstrap(), Format::Json, None))
        .await
        .unwrap();
    // THEN every bar is there as four ticks, the symbol the key, also after a crash
    kafka.kill9();
    kafka.restart().await.unwrap();
    let messages = read_all(&kafka.bootstrap(), "ticks", &delivered);
    assert_eq!(messages.len(), 6 * 2_699 * 4);
    let close = br#"{"symbol":"AMZN","event_time":"2019-06-28T00:00:00Z","sequence":4,"price":"94.6815","size":"60748000"}"#;
    assert!(messages.contains(&(b"AMZN".to_vec(), close.to_vec())));

    // AND WHEN it is published as Avro
    let delivered = publish(&options(
        &kafka.bootstrap(),
        Format::Avro,
        Some(registry.url()),
    ))
    .await
    .unwrap();
    // THEN the messages bear the registered schema's id
    let schema_id = registry
        .register("ticks-value", avro::SCHEMA)
        .await
        .unwrap();
    let tick = Tick::new("AMZN", 1_561_680_000_000_000, 4, "94.6815", "60748000");
    let expected = Encoding::Avro { schema_id }.encode(&tick).unwrap();
    let messages = read_all(&kafka.bootstrap(), "ticks", &delivered);
    assert!(messages.contains(&(b"AMZN".to_vec(), expected)));
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_broker_and_missing_topic_are_told() {
    let kafka = Kafka::start().await.unwrap();
    let brokers = kafka.bootstrap();
    let refused = tokio::task::spawn_blocking(move || Publisher::connect(&brokers, "nowhere"))
        .await
        .unwrap();
    assert!(format!("{:#}", refused.unwrap_err()).contains("no usable topic `nowhere`"));
    let nobody = format!("127.0.0.1:{}", testbed::ports::free().unwrap());
    let refused = tokio::task::spawn_blocking(move || Publisher::connect(&nobody, "ticks"))
        .await
        .unwrap();
    assert!(format!("{:#}", refused.unwrap_err()).contains("does not answer"));
}
