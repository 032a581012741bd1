//! A message that cannot become a tick is kept whole, with the reason; nothing else is lost.

use std::time::Duration;

use chrono::{DateTime, Utc};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use testbed::{Encoding, Tick};

use crate::pipeline::Pipeline;
use crate::worker::Worker;

/// 2024-01-15T12:00:00Z: the Kafka timestamp of every message here.
const NOON: i64 = 1_705_320_000_000_000;
const HOUR: i64 = 3_600_000_000;

/// A message with no timestamp of its own.
struct Message {
    key: Option<Vec<u8>>,
    payload: Option<Vec<u8>>,
}

impl Message {
    fn new(key: &[u8], payload: impl Into<Vec<u8>>) -> Self {
        Self {
            key: Some(key.to_vec()),
            payload: Some(payload.into()),
        }
    }
}

/// A row of `dead_letters`.
#[derive(Debug, PartialEq, sqlx::FromRow)]
struct Letter {
    offset: i64,
    key: Option<Vec<u8>>,
    payload: Option<Vec<u8>>,
    reason: String,
    record_time: Option<DateTime<Utc>>,
}

/// A row of the view `ticks`; sequence, time, price and size.
type Stored = (String, i64, DateTime<Utc>, String, String);

/// Publishes messages to partition 0, in this order, all of them with the timestamp of noon.
async fn publish(pipeline: &Pipeline, messages: Vec<Message>) {
    let (brokers, topic) = (pipeline.brokers().to_owned(), pipeline.topic().to_owned());
    let send = move || {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("enable.idempotence", "true")
            .create()
            .unwrap();
        for message in &messages {
            let mut record = BaseRecord::<[u8], [u8]>::to(&topic)
                .partition(0)
                .timestamp(NOON / 1000);
            record.key = message.key.as_deref();
            record.payload = message.payload.as_deref();
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(Duration::from_secs(20)).unwrap();
    };
    tokio::task::spawn_blocking(send).await.unwrap();
}

async fn letters(pipeline: &Pipeline) -> Vec<Letter> {
    sqlx::query_as(
        r#"select "offset", key, payload, reason, record_time from market_data.dead_letters order by "offset""#,
    )
    .fetch_all(pipeline.pool())
    .await
    .unwrap()
}

async fn stored(pipeline: &Pipeline) -> Vec<Stored> {
    sqlx::query_as(
        "select symbol, sequence, event_time, price::text, size::text from market_data.ticks order by 1, 3, 2",
    )
    .fetch_all(pipeline.pool())
    .await
    .unwrap()
}

fn time(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap()
}

/// A tick of the symbol GOOD, and the row it becomes.
fn good(sequence: i64) -> (Message, Stored) {
    let tick = Tick::new("GOOD", NOON + sequence, sequence, "100.25", "3");
    let message = Message::new(b"GOOD", Encoding::Json.encode(&tick).unwrap());
    (
        message,
        row("GOOD", sequence, NOON + sequence, "100.25", "3"),
    )
}

fn row(symbol: &str, sequence: i64, micros: i64, price: &str, size: &str) -> Stored {
    let (price, size) = (price.to_owned(), size.to_owned());
    (symbol.to_owned(), sequence, time(micros), price, size)
}

/// The documented message with one field's JSON replaced, or left out when that is empty.
fn with(field: &str, value: &str) -> Vec<u8> {
    let fields = [
        ("symbol", r#""BAD""#),
        ("event_time", r#""2024-01-15T12:00:00Z""#),
        ("sequence", "1"),
        ("price", r#""95.455002""#),
        ("size", r#""100""#),
    ];
    let known = fields.iter().any(|(name, _)| *name == field);
    let mut all: Vec<String> = fields
        .iter()
        .map(|(name, plain)| (name, if *name == field { value } else { plain }))
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("\"{name}\":{value}"))
        .collect();
    if !known {
        all.push(format!("\"{field}\":{value}"));
    }
    format!("{{{}}}", all.join(",")).into_bytes()
}

/// Every way in which a JSON message can be bad, with the code of its reason.
fn bad() -> Vec<(Vec<u8>, &'static str)> {
    let day_after = NOON + 24 * HOUR;
    vec![
        (Vec::new(), "empty"),
        (b"nonsense".to_vec(), "not-json"),
        (b"\x00\xff\xfe\x80".to_vec(), "not-json"),
        (br#"{"symbol":"BAD""#.to_vec(), "not-json"),
        (br#"["BAD",1,1,"1","1"]"#.to_vec(), "not-json"),
        (b"null".to_vec(), "not-json"),
        (with("symbol", "\"BAD\u{1}\""), "not-json"),
        (with("price", "NaN"), "not-json"),
        ([with("", "1"), b"}".to_vec()].concat(), "not-json"),
        (br#"{"symbol":"BAD","symbol":"WORSE"}"#.to_vec(), "not-json"),
        (b"{}".to_vec(), "missing-field"),
        (with("symbol", ""), "missing-field"),
        (with("event_time", ""), "missing-field"),
        (with("sequence", ""), "missing-field"),
        (with("price", ""), "missing-field"),
        (with("size", "null"), "missing-field"),
        (with("symbol", "5"), "wrong-type"),
        (with("sequence", "1.5"), "wrong-type"),
        (with("sequence", "9223372036854775808"), "wrong-type"),
        (with("price", r#"{"units":1}"#), "wrong-type"),
        (with("price", r#""1,5""#), "wrong-type"),
        (with("size", "true"), "wrong-type"),
        (with("revision", "-1"), "wrong-type"),
        (with("revision", "2147483648"), "wrong-type"),
        (with("cancelled", r#""yes""#), "wrong-type"),
        (with("symbol", r#""""#), "bad-symbol"),
        (
            with("symbol", &format!("\"{}\"", "B".repeat(65))),
            "bad-symbol",
        ),
        (
            with("symbol", &format!("\"{}\"", "é".repeat(33))),
            "bad-symbol",
        ),
        (with("symbol", r#""A\u0000B""#), "bad-symbol"),
        (with("symbol", r#""A\nB""#), "bad-symbol"),
        (with("symbol", r#""A\u0085B""#), "bad-symbol"),
        (with("event_time", r#""yesterday""#), "bad-time"),
        (with("event_time", r#""2024-02-30T00:00:00Z""#), "bad-time"),
        (with("event_time", r#""2024-01-15T12:00:00""#), "bad-time"),
        (with("event_time", "1705320000.5"), "bad-time"),
        (with("event_time", "-1"), "time-out-of-range"),
        (
            with("event_time", r#""1969-12-31T23:59:59.999999Z""#),
            "time-out-of-range",
        ),
        (
            with("event_time", &(day_after + 1).to_string()),
            "time-out-of-range",
        ),
        (
            with("event_time", "9223372036854775807"),
            "time-out-of-range",
        ),
        (
            with("event_time", "-9223372036854775808"),
            "time-out-of-range",
        ),
        (with("price", "0"), "price-not-positive"),
        (with("price", r#""0.00""#), "price-not-positive"),
        (with("price", r#""-1""#), "price-not-positive"),
        (with("size", r#""-0.000000000000000001""#), "size-negative"),
        (with("price", r#""NaN""#), "not-finite"),
        (with("price", r#""Infinity""#), "not-finite"),
        (with("size", r#""-inf""#), "not-finite"),
        (
            with("price", r#""12345678901234567890123456789""#),
            "too-many-digits",
        ),
        (with("price", "0.0000000000000000001"), "too-many-digits"),
        (with("price", "1e400"), "too-many-digits"),
        (with("size", "1e-999999999999999999999"), "too-many-digits"),
        (with("price", r#""2000000000""#), "refused"),
    ]
}

/// Every reason, whether a JSON message can give it or not.
const REASONS: [&str; 16] = [
    "empty",
    "not-json",
    "not-avro",
    "unknown-schema",
    "missing-field",
    "wrong-type",
    "bad-symbol",
    "bad-time",
    "time-out-of-range",
    "price-not-positive",
    "size-negative",
    "not-finite",
    "too-many-digits",
    "conflict",
    "below-floor",
    "refused",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_message_is_a_dead_letter_with_its_reason_and_nothing_else_is() {
    // GIVEN a database that refuses a certain price
    let pipeline = Pipeline::with_partitions("dead_letters", 1).await;
    let refuse =
        "alter table market_data.candles_1m add constraint ceiling check (high < 1000000000)";
    sqlx::query(refuse).execute(pipeline.pool()).await.unwrap();
    // AND a topic with every kind of bad message, of all sorts of keys, between good ones
    let (mut messages, mut ticks, mut expected) = (Vec::new(), Vec::new(), Vec::new());
    let keys: [Option<&[u8]>; 4] = [Some(b"BAD"), None, Some(b"\x00\xff\xfe"), Some(b"")];
    let mut bad = bad();
    // A tick that has come before with another price.
    let other_price = Tick::new("GOOD", NOON, 0, "100.26", "3");
    bad.push((Encoding::Json.encode(&other_price).unwrap(), "conflict"));
    for ((sequence, (payload, reason)), key) in (0..).zip(bad).zip(keys.iter().cycle()) {
        let (message, row) = good(sequence);
        messages.push(message);
        ticks.push(row);
        let key = key.map(<[u8]>::to_vec);
        expected.push(Letter {
            offset: i64::try_from(messages.len()).unwrap(),
            key: key.clone(),
            payload: Some(payload.clone()),
            reason: reason.to_owned(),
            record_time: Some(time(NOON)),
        });
        messages.push(Message {
            key,
            payload: Some(payload),
        });
    }
    // AND tombstones, with and without a key
    for key in [Some(b"GOOD".to_vec()), None] {
        messages.push(Message { key, payload: None });
    }
    let published = messages.len();
    publish(&pipeline, messages).await;

    // WHEN a worker has taken it
    let worker = Worker::start(&pipeline, &[]);
    pipeline.caught_up().await;

    // THEN exactly those are dead letters, byte for byte, and every good tick is stored
    let found = letters(&pipeline).await;
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len());
    assert_eq!(stored(&pipeline).await, ticks);

    // AND the metrics count them, and what was skipped
    for reason in REASONS {
        let series = format!("ingest_dead_letters_total{{reason=\"{reason}\"}}");
        let counted = worker.metric(&series).await.to_string();
        let expected = expected.iter().filter(|letter| letter.reason == reason);
        assert_eq!(counted, expected.count().to_string(), "{reason}");
    }
    let count = async |outcome: &str| {
        let series = format!("ingest_messages_total{{outcome=\"{outcome}\"}}");
        worker.metric(&series).await
    };
    let letters = count("dead_letter").await;
    assert_eq!(letters.to_string(), expected.len().to_string());
    assert_eq!(count("tombstone").await.to_string(), "2");
    let stored = count("added").await + count("late").await;
    assert_eq!((stored + letters + 2.0).to_string(), published.to_string());
    pipeline.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ticks_on_the_edge_of_what_is_accepted_are_stored() {
    // GIVEN messages that are good by a hair
    let pipeline = Pipeline::with_partitions("edges", 1).await;
    let plain = row("BAD", 1, NOON, "95.455002", "100");
    let longest = "é".repeat(32);
    let (digits, decimals) = ("1234567890123456789012345678", "0.000000000000000001");
    let edges: Vec<(&str, String, Stored)> = vec![
        (
            "event_time",
            (NOON + 24 * HOUR).to_string(),
            row("BAD", 1, NOON + 24 * HOUR, "95.455002", "100"),
        ),
        (
            "event_time",
            "0".into(),
            row("BAD", 1, 0, "95.455002", "100"),
        ),
        (
            "sequence",
            i64::MIN.to_string(),
            row("BAD", i64::MIN, NOON, "95.455002", "100"),
        ),
        (
            "sequence",
            i64::MAX.to_string(),
            row("BAD", i64::MAX, NOON, "95.455002", "100"),
        ),
        (
            "symbol",
            format!("\"{longest}\""),
            row(&longest, 1, NOON, "95.455002", "100"),
        ),
        (
            "symbol",
            r#""a \ud83d\ude00 'b' \"c\"""#.into(),
            row("a 😀 'b' \"c\"", 1, NOON, "95.455002", "100"),
        ),
        ("unknown", r#"{"deep": [[[]]]}"#.into(), plain),
    ];
    let numbers = [
        ("DIGITS", digits, "0"),
        ("DECIMALS", decimals, decimals),
        ("ZEROS", "1.50000000000000000000000000000000000000", "1e2"),
    ];
    let mut messages: Vec<Message> = edges
        .iter()
        .map(|(field, value, _)| Message::new(b"BAD", with(field, value)))
        .collect();
    for (symbol, price, size) in numbers {
        let json = format!(
            r#"{{"symbol":"{symbol}","event_time":{NOON},"sequence":1,"price":{price},"size":"{size}"}}"#
        );
        messages.push(Message::new(symbol.as_bytes(), json));
    }
    publish(&pipeline, messages).await;
    // WHEN a worker has taken them
    let _worker = Worker::start(&pipeline, &[]);
    pipeline.caught_up().await;
    // THEN all are stored as they were meant
    assert_eq!(letters(&pipeline).await, []);
    let mut expected: Vec<Stored> = edges.into_iter().map(|(_, _, row)| row).collect();
    expected.push(row("DIGITS", 1, NOON, digits, "0"));
    expected.push(row("DECIMALS", 1, NOON, decimals, decimals));
    expected.push(row("ZEROS", 1, NOON, "1.5", "100"));
    expected.sort();
    let mut stored = stored(&pipeline).await;
    stored.sort();
    assert_eq!(stored, expected);
    pipeline.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conflict_with_a_stored_tick_is_a_dead_letter_and_a_replay_of_letters_adds_none() {
    // GIVEN a stored tick, and a letter
    let pipeline = Pipeline::with_partitions("conflicts", 1).await;
    let mut worker = Worker::start(&pipeline, &[]);
    publish(&pipeline, vec![good(1).0, Message::new(b"k", "garbage")]).await;
    pipeline.caught_up().await;
    // WHEN the same tick comes with another price, and then as it was
    let conflict = with("symbol", r#""GOOD""#);
    let tick = Tick::new("GOOD", NOON + 1, 1, "100.24", "3");
    let other = Encoding::Json.encode(&tick).unwrap();
    publish(
        &pipeline,
        vec![
            Message::new(b"GOOD", other.clone()),
            good(1).0,
            Message::new(b"GOOD", conflict),
        ],
    )
    .await;
    pipeline.caught_up().await;
    // THEN it is a letter and the stored tick stays
    let before = letters(&pipeline).await;
    assert_eq!(before.len(), 2);
    assert_eq!(before[1].payload.as_deref(), Some(other.as_slice()));
    assert_eq!(
        (before[1].offset, before[1].reason.as_str()),
        (2, "conflict")
    );
    assert_eq!(stored(&pipeline).await.len(), 2);
    assert!(stored(&pipeline).await.contains(&good(1).1));

    // AND WHEN the whole topic is read again
    worker.stops().await;
    let (code, text) = pipeline
        .ingest_command(&["offsets", "reset", "--topic", pipeline.topic()])
        .await;
    assert_eq!(code, 0, "{text}");
    let _worker = Worker::start(&pipeline, &[]);
    pipeline.caught_up().await;
    // THEN there are no more letters than before, and no more ticks
    assert_eq!(letters(&pipeline).await, before);
    assert_eq!(stored(&pipeline).await.len(), 2);
    pipeline.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accepted_range_of_event_times_is_configurable() {
    // GIVEN a worker that takes event times from 2000 to an hour after a record's timestamp
    let pipeline = Pipeline::with_partitions("accept_range", 1).await;
    let settings = [
        ("FDA_ACCEPT__EARLIEST", "2000-01-01T00:00:00Z"),
        ("FDA_ACCEPT__AHEAD", "1h"),
    ];
    let _worker = Worker::start(&pipeline, &settings);
    // WHEN ticks come from both sides of either bound
    let year_2000 = 946_684_800_000_000;
    let times = [year_2000 - 1, year_2000, NOON + HOUR, NOON + HOUR + 1];
    let messages = times.map(|time| Message::new(b"BAD", with("event_time", &time.to_string())));
    publish(&pipeline, messages.into()).await;
    pipeline.caught_up().await;
    // THEN those within it are stored, and the others are letters
    let stored: Vec<DateTime<Utc>> = stored(&pipeline).await.iter().map(|row| row.2).collect();
    assert_eq!(stored, [time(year_2000), time(NOON + HOUR)]);
    let letters: Vec<(i64, String)> = letters(&pipeline)
        .await
        .into_iter()
        .map(|letter| (letter.offset, letter.reason))
        .collect();
    let refused = "time-out-of-range".to_owned();
    assert_eq!(letters, [(0, refused.clone()), (3, refused)]);
}
