//! Ticks in Avro: decoded by their writers' schemas, which come from a registry that may be away for a while.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::process::Command;

use chrono::{DateTime, Utc};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use testbed::avro::{header, put_bytes, put_long};
use testbed::{Encoding, Registry, Tick, avro, eventually, process, workspace};
use tokio::net::TcpListener;
use tokio::sync::OnceCell;

use crate::pipeline::{PATIENCE, Pipeline};
use crate::worker::Worker;

/// 2024-01-15T12:00:00Z.
const NOON: i64 = 1_705_320_000_000_000;

/// A second version: reordered, one field more, one with a default less, other forms of a time and of numbers.
const SECOND: &str = r#"{"type": "record", "name": "Tick", "fields": [
    {"name": "venue", "type": "string", "default": "XNAS"},
    {"name": "size", "type": "double"},
    {"name": "price", "type": "string"},
    {"name": "sequence", "type": "long"},
    {"name": "event_time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "cancelled", "type": "boolean", "default": false},
    {"name": "symbol", "type": "string"}
]}"#;

/// A third: named decimals of a fixed width, used twice, nanoseconds, a field that may be null.
const THIRD: &str = r#"{"type": "record", "name": "Tick", "namespace": "market", "fields": [
    {"name": "symbol", "type": {"type": "enum", "name": "Symbols", "symbols": ["AMZN", "GOOG"]}},
    {"name": "price", "type": {"type": "fixed", "name": "Units", "size": 12, "logicalType": "decimal", "precision": 28, "scale": 6}},
    {"name": "size", "type": "Units"},
    {"name": "note", "type": ["null", "string"], "default": null},
    {"name": "event_time", "type": {"type": "long", "logicalType": "timestamp-nanos"}},
    {"name": "revision", "type": ["null", "int"], "default": null},
    {"name": "sequence", "type": "int"}
]}"#;

/// The registry that tests share.
pub(crate) async fn registry() -> &'static Registry {
    static REGISTRY: OnceCell<Registry> = OnceCell::const_new();
    REGISTRY
        .get_or_init(async || Registry::start().await.unwrap())
        .await
}

/// A row of the view `ticks`; sequence, time, price, size and revision.
type Stored = (String, i64, DateTime<Utc>, String, String, i32);

async fn stored(pipeline: &Pipeline) -> Vec<Stored> {
    sqlx::query_as(
        "select symbol, sequence, event_time, price::text, size::text, revision from market_data.ticks order by 1, 3, 2",
    )
    .fetch_all(pipeline.pool())
    .await
    .unwrap()
}

fn row(symbol: &str, sequence: i64, micros: i64, price: &str, size: &str, revision: i32) -> Stored {
    let time = DateTime::from_timestamp_micros(micros).unwrap();
    (
        symbol.to_owned(),
        sequence,
        time,
        price.to_owned(),
        size.to_owned(),
        revision,
    )
}

/// Payload and reason of each dead letter.
async fn letters(pipeline: &Pipeline) -> Vec<(Vec<u8>, String)> {
    sqlx::query_as(r#"select payload, reason from market_data.dead_letters order by "offset""#)
        .fetch_all(pipeline.pool())
        .await
        .unwrap()
}

fn start(pipeline: &Pipeline, registry: &str) -> Worker {
    let settings = [
        ("FDA_KAFKA__FORMAT", "avro"),
        ("FDA_KAFKA__SCHEMA_REGISTRY_URL", registry),
    ];
    Worker::start(pipeline, &settings)
}

/// Publishes values to partition 0, in this order.
async fn publish(pipeline: &Pipeline, payloads: &[Vec<u8>]) {
    publish_to(pipeline, 0, payloads).await;
}

async fn publish_to(pipeline: &Pipeline, partition: i32, payloads: &[Vec<u8>]) {
    let publisher = pipeline.publisher().await;
    for payload in payloads {
        publisher
            .send_raw(Some(b"key"), Some(payload), Some(partition))
            .unwrap();
    }
    publisher.settle().await.unwrap();
}

fn first(schema_id: u32, sequence: i64) -> Vec<u8> {
    let tick = Tick::new("AMZN", NOON + sequence, sequence, "95.455002", "100");
    Encoding::Avro { schema_id }.encode(&tick).unwrap()
}

fn first_row(sequence: i64) -> Stored {
    row("AMZN", sequence, NOON + sequence, "95.455002", "100", 0)
}

fn second(id: u32, sequence: i64, price: &str, size: f64, cancelled: bool) -> Vec<u8> {
    let mut message = header(id);
    put_bytes(&mut message, b"XLON");
    message.extend_from_slice(&size.to_le_bytes());
    put_bytes(&mut message, price.as_bytes());
    put_long(&mut message, sequence);
    put_long(&mut message, NOON / 1000 + sequence);
    message.push(u8::from(cancelled));
    put_bytes(&mut message, b"AMZN");
    message
}

fn third(id: u32, sequence: i64, price: i64, size: i64, revision: Option<i32>) -> Vec<u8> {
    let mut message = header(id);
    put_long(&mut message, 1);
    for number in [price, size] {
        message.extend_from_slice(&[if number < 0 { 0xff } else { 0 }; 4]);
        message.extend_from_slice(&number.to_be_bytes());
    }
    put_long(&mut message, 1);
    put_bytes(&mut message, b"a note");
    put_long(&mut message, (NOON + sequence) * 1000 + 999);
    match revision {
        None => put_long(&mut message, 0),
        Some(revision) => {
            put_long(&mut message, 1);
            put_long(&mut message, revision.into());
        }
    }
    put_long(&mut message, sequence);
    message
}

#[tokio::test(flavor = "multi_thread")]
async fn schema_versions_in_the_middle_of_a_topic_are_read_by_their_writers_schema() {
    // GIVEN a file of ticks
    let pipeline = Pipeline::with_partitions("avro_versions", 1).await;
    let registry = registry().await;
    let mut csv = "timestamp,symbol,sequence,price,size\n".to_owned();
    for sequence in 0..50 {
        let micros = NOON + sequence;
        writeln!(csv, "{micros},AMZN,{sequence},95.455002,100").unwrap();
    }
    let file = pipeline.folder().join("ticks.csv");
    std::fs::write(&file, csv).unwrap();
    let publish_file = async || {
        let mut command = Command::new(workspace::binary("testbed").unwrap());
        command
            .arg("publish")
            .arg(&file)
            .args(["--brokers", pipeline.brokers()])
            .args(["--topic", pipeline.topic(), "--format", "avro"])
            .args(["--schema-registry", &registry.url()]);
        process::run("testbed publish", command).await.unwrap()
    };
    // WHEN it is published by the command, then come messages of two later versions, then the file again
    publish_file().await;
    let _worker = start(&pipeline, &registry.url());
    pipeline.stored_at_least(50).await;
    let subject = format!("{}-value", pipeline.topic());
    let v2 = registry.register(&subject, SECOND).await.unwrap();
    let v3 = registry.register(&subject, THIRD).await.unwrap();
    publish(
        &pipeline,
        &[
            second(v2, 100, "95.4550020", 0.1, false),
            second(v2, 101, "12345678901234567890.12345678", 1e-7, false),
            // A cancel of the first, which has no revision.
            second(v2, 100, "95.455002", 0.1, true),
            third(v3, 7, 2_500_000, 1, None),
            third(v3, 7, 2_500_001, 0, Some(3)),
        ],
    )
    .await;
    publish_file().await;
    pipeline.caught_up().await;
    // THEN all of it is stored as it was meant, and the second copy of the file adds nothing
    let mut expected: Vec<Stored> = (0..50).map(first_row).collect();
    expected.extend([
        row(
            "AMZN",
            101,
            NOON + 101_000,
            "12345678901234567890.12345678",
            "0.0000001",
            0,
        ),
        row("GOOG", 7, NOON + 7, "2.500001", "0", 3),
    ]);
    assert_eq!(stored(&pipeline).await, expected);
    assert_eq!(letters(&pipeline).await, []);
    pipeline.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_are_no_avro_ticks_are_dead_letters() {
    // GIVEN a topic with every kind of bad message between good ones
    let pipeline = Pipeline::with_partitions("avro_letters", 1).await;
    let registry = registry().await;
    let register = async |subject: &str, schema: &str| {
        let subject = format!("avro_letters-{subject}");
        registry.register(&subject, schema).await.unwrap()
    };
    let v1 = register("first", avro::SCHEMA).await;
    let v2 = register("second", SECOND).await;
    let text = register("text", r#""string""#).await;
    let priceless = register(
        "priceless",
        r#"{"type": "record", "name": "Tick", "fields": [{"name": "symbol", "type": "string"},
            {"name": "event_time", "type": "long"}, {"name": "sequence", "type": "long"}]}"#,
    )
    .await;
    let endless = register(
        "endless",
        r#"{"type": "record", "name": "Tick", "fields": [{"name": "next", "type": ["null", "Tick"]}]}"#,
    )
    .await;
    let free = register(
        "free",
        r#"{"type": "record", "name": "Tick", "fields": [{"name": "symbol", "type": "string"},
            {"name": "event_time", "type": "long"}, {"name": "sequence", "type": "long"}, {"name": "size", "type": "long"},
            {"name": "price", "type": {"type": "bytes", "logicalType": "big-decimal"}}]}"#,
    )
    .await;
    let good = first(v1, 1);
    let after = |id: u32, bytes: &[u8]| [header(id), bytes.to_vec()].concat();
    let mut bad = vec![
        (Vec::new(), "empty"),
        (vec![0, 0, 0], "not-avro"),
        (vec![1, 0, 0, 0, 1, 2, 3], "not-avro"),
        (br#"{"symbol":"AMZN"}"#.to_vec(), "not-avro"),
        (after(4_000_000_000, b"any"), "unknown-schema"),
        (after(999_999, &good[5..]), "unknown-schema"),
        (after(v1, b""), "not-avro"),
        ([good.clone(), vec![0]].concat(), "not-avro"),
        // A symbol of 2^40 bytes.
        (after(v1, &[0x80, 0x80, 0x80, 0x80, 0x80, 0x40]), "not-avro"),
        (after(text, &[2, b'A']), "not-avro"),
        (after(priceless, &[2, b'A', 2, 2]), "missing-field"),
        (after(endless, &vec![2; 500_000]), "unknown-schema"),
        (second(v2, 1, "1,5", 1.0, false), "wrong-type"),
        (second(v2, 1, "NaN", 1.0, false), "not-finite"),
        (second(v2, 1, "1", f64::NEG_INFINITY, false), "not-finite"),
        (second(v2, 1, "1", 1e-300, false), "too-many-digits"),
        (second(v2, 1, "1", -0.5, false), "size-negative"),
        (second(v2, 1, "0", 1.0, false), "price-not-positive"),
        (
            second(v2, -NOON / 1000 - 1, "1", 1.0, false),
            "time-out-of-range",
        ),
        (second(v2, i64::MAX - NOON, "1", 1.0, false), "bad-time"),
    ];
    // A price whose message says that its point lies 2^62 places away.
    let mut far = after(free, &[2, b'A', 2, 2, 2]);
    let mut number = vec![2, 1];
    put_long(&mut number, -(1 << 62));
    put_bytes(&mut far, &number);
    bad.push((far, "too-many-digits"));
    // However early a message ends.
    for end in 5..good.len() {
        bad.push((good[..end].to_vec(), "not-avro"));
    }
    let later = second(v2, 1, "1", 1.0, false);
    for end in 5..later.len() {
        bad.push((later[..end].to_vec(), "not-avro"));
    }
    let mut payloads = Vec::new();
    for (sequence, (payload, _)) in (0..).zip(&bad) {
        payloads.push(first(v1, sequence));
        payloads.push(payload.clone());
    }
    publish(&pipeline, &payloads).await;
    let publisher = pipeline.publisher().await;
    publisher.send_raw(Some(b"key"), None, Some(0)).unwrap();
    publisher.settle().await.unwrap();

    // WHEN a worker has taken it
    let worker = start(&pipeline, &registry.url());
    pipeline.caught_up().await;

    // THEN exactly the bad ones are dead letters, byte for byte, and all good ones are stored
    let found = letters(&pipeline).await;
    for (found, (payload, reason)) in found.iter().zip(&bad) {
        assert_eq!((&found.0, found.1.as_str()), (payload, *reason));
    }
    assert_eq!(found.len(), bad.len());
    let good: Vec<Stored> = (0..).map(first_row).take(bad.len()).collect();
    assert_eq!(stored(&pipeline).await, good);
    for reason in ["unknown-schema", "not-avro"] {
        let series = format!("ingest_dead_letters_total{{reason=\"{reason}\"}}");
        let expected = bad.iter().filter(|(_, expected)| *expected == reason);
        let counted = worker.metric(&series).await;
        assert_eq!(counted.to_string(), expected.count().to_string());
    }
    let tombstones = worker
        .metric(r#"ingest_messages_total{outcome="tombstone"}"#)
        .await;
    assert_eq!(tombstones.to_string(), "1");
}

/// How many members the pipeline's group has.
async fn members(pipeline: &Pipeline) -> usize {
    let (brokers, group) = (pipeline.brokers().to_owned(), pipeline.topic().to_owned());
    let ask = move || {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .create()
            .unwrap();
        let groups = consumer.fetch_group_list(Some(&group), PATIENCE).unwrap();
        groups
            .groups()
            .iter()
            .map(|group| group.members().len())
            .sum()
    };
    tokio::task::spawn_blocking(ask).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn registry_that_is_away_is_waited_for_and_costs_no_message() {
    // GIVEN a worker that has read messages of one schema
    let pipeline = Pipeline::with_partitions("registry_away", 2).await;
    let mut registry = Registry::start().await.unwrap();
    let v1 = registry.register("first", avro::SCHEMA).await.unwrap();
    let v2 = registry.register("second", SECOND).await.unwrap();
    let mut worker = start(&pipeline, &registry.url());
    publish(&pipeline, &[first(v1, 0)]).await;
    pipeline.caught_up().await;

    // WHEN the registry is away and messages of another schema come between those of the first
    registry.process().kill9();
    publish(
        &pipeline,
        &[first(v1, 1), second(v2, 100, "1", 1.0, false), first(v1, 2)],
    )
    .await;
    // THEN the worker waits and says for what, in its group, and has stored what came before
    worker.waits_for("schema registry").await;
    pipeline.stored_at_least(2).await;
    assert_eq!(members(&pipeline).await, 1);
    assert_eq!(stored(&pipeline).await, [first_row(0), first_row(1)]);
    assert_eq!(letters(&pipeline).await, []);

    // AND WHEN it is told to stop, and others take its place, one after the other
    worker.stops().await;
    assert_eq!(pipeline.positions().await.unwrap(), [2, 0]);
    let waiting = start(&pipeline, &registry.url());
    waiting.waits_for("schema registry").await;
    let other = start(&pipeline, &registry.url());
    eventually("two are in the group", PATIENCE, async || {
        match members(&pipeline).await {
            2 => Ok(()),
            members => Err(members),
        }
    })
    .await
    .unwrap();
    other
        .metric_becomes("ingest_batches_total", |batches| batches < 0.5)
        .await;
    publish_to(&pipeline, 1, &[first(v1, 3)]).await;
    // AND WHEN the registry is back
    registry.restart().await.unwrap();
    // THEN they go on, and nothing was lost
    pipeline.caught_up().await;
    waiting.ready().await;
    other.ready().await;
    let expected = [
        first_row(0),
        first_row(1),
        first_row(2),
        first_row(3),
        row("AMZN", 100, NOON + 100_000, "1", "1", 0),
    ];
    assert_eq!(stored(&pipeline).await, expected);
    assert_eq!(letters(&pipeline).await, []);
    pipeline.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn registry_that_hangs_does_not_hold_up_a_stop() {
    // GIVEN a worker that has asked a registry which takes the call and says nothing
    let pipeline = Pipeline::with_partitions("registry_hangs", 1).await;
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let mut worker = start(&pipeline, &url);
    publish(&pipeline, &[first(1, 0)]).await;
    let _call = silent.accept().await.unwrap();
    // WHEN it is told to stop, THEN it does, and the message is left to the next worker
    worker.stops().await;
    assert_eq!(pipeline.positions().await.unwrap(), [0]);
}
