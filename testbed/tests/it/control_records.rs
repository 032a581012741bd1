//! Transactions of producers: only what was committed counts, and positions reach the end over what is never delivered.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use testbed::{Encoding, Tick};

use crate::pipeline::Pipeline;
use crate::worker::Worker;

/// 2024-01-15T12:00:00Z.
const NOON: i64 = 1_705_320_000_000_000;

const LIMIT: Duration = Duration::from_secs(20);

/// A producer of transactions.
struct Transactional {
    producer: BaseProducer,
    topic: String,
}

impl Transactional {
    fn connect(brokers: &str, topic: &str) -> Self {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("transactional.id", format!("producer-of-{topic}"))
            .create()
            .unwrap();
        producer.init_transactions(LIMIT).unwrap();
        Self {
            producer,
            topic: topic.to_owned(),
        }
    }

    /// Begins a transaction and sends ticks to a partition; when this returns the broker has them.
    fn begin(&self, partition: i32, ticks: &[Tick]) {
        self.producer.begin_transaction().unwrap();
        for tick in ticks {
            let payload = Encoding::Json.encode(tick).unwrap();
            let record = BaseRecord::to(&self.topic)
                .key(&tick.symbol)
                .payload(&payload)
                .partition(partition);
            self.producer.send(record).unwrap();
        }
        self.producer.flush(LIMIT).unwrap();
    }

    fn commit(&self) {
        self.producer.commit_transaction(LIMIT).unwrap();
    }

    fn abort(&self) {
        self.producer.abort_transaction(LIMIT).unwrap();
    }
}

async fn producer(pipeline: &Pipeline) -> Transactional {
    let (brokers, topic) = (pipeline.brokers().to_owned(), pipeline.topic().to_owned());
    tokio::task::spawn_blocking(move || Transactional::connect(&brokers, &topic))
        .await
        .unwrap()
}

fn ticks(symbol: &str, sequences: std::ops::Range<i64>) -> Vec<Tick> {
    let tick = |sequence| Tick::new(symbol, NOON + sequence, sequence, "10.5", "1");
    sequences.map(tick).collect()
}

/// Symbol and sequence of each stored tick.
async fn stored(pipeline: &Pipeline) -> Vec<(String, i64)> {
    sqlx::query_as("select symbol, sequence from market_data.ticks order by symbol, sequence")
        .fetch_all(pipeline.pool())
        .await
        .unwrap()
}

fn names(symbol: &str, sequences: std::ops::Range<i64>) -> Vec<(String, i64)> {
    sequences
        .map(|sequence| (symbol.to_owned(), sequence))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn aborted_ticks_are_not_stored_and_positions_reach_the_end_over_control_records() {
    // GIVEN a partition with a committed and an aborted transaction, and one with an aborted one alone
    let pipeline = Pipeline::with_partitions("control_records", 2).await;
    let producer = producer(&pipeline).await;
    producer.begin(0, &ticks("COMMITTED", 0..30));
    producer.commit();
    producer.begin(0, &ticks("ABORTED", 0..7));
    producer.abort();
    producer.begin(1, &ticks("ABORTED", 0..5));
    producer.abort();
    assert_eq!(pipeline.ends().await, [39, 6]);

    // WHEN a worker runs, which a lock stops from storing at first
    let mut lock = pipeline.pool().begin().await.unwrap();
    sqlx::query("lock table market_data.tick_blocks in exclusive mode")
        .execute(&mut *lock)
        .await
        .unwrap();
    let mut worker = Worker::start(&pipeline, &[("FDA_BATCH__MAX_MESSAGES", "5")]);
    // THEN its lag shows
    worker
        .metric_becomes("ingest_lag_messages", |lag| lag > 0.0)
        .await;

    // AND WHEN the lock is gone
    lock.rollback().await.unwrap();
    pipeline.caught_up().await;
    // THEN the committed ticks alone are stored, both positions are at the end, and the lag is 0
    assert_eq!(stored(&pipeline).await, names("COMMITTED", 0..30));
    assert_eq!(pipeline.positions().await.unwrap(), [39, 6]);
    worker
        .metric_becomes("ingest_lag_messages", |lag| lag == 0.0)
        .await;

    // AND WHEN another worker takes over, and transactions go on
    worker.stops().await;
    let worker = Worker::start(&pipeline, &[]);
    for (partition, symbol) in [(0, "COMMITTED"), (1, "OTHER")] {
        producer.begin(partition, &ticks(symbol, 30..33));
        producer.commit();
    }
    pipeline.caught_up().await;
    // THEN it goes on from there
    let expected = [names("COMMITTED", 0..33), names("OTHER", 30..33)].concat();
    assert_eq!(stored(&pipeline).await, expected);
    assert_eq!(pipeline.positions().await.unwrap(), [43, 10]);
    let duplicates = r#"ingest_messages_total{outcome="duplicate"}"#;
    assert!(worker.metric(duplicates).await < 0.5);
    pipeline.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_skipped_while_a_transaction_is_open() {
    // GIVEN a partition with an open transaction, and a tick outside of it that comes later
    let pipeline = Pipeline::with_partitions("open_transaction", 2).await;
    let producer = producer(&pipeline).await;
    producer.begin(0, &ticks("BEFORE", 0..3));
    producer.commit();
    producer.begin(0, &ticks("OPEN", 0..4));
    let plain = pipeline.publisher().await;
    let send = |symbol: &str, partition| {
        let payload = Encoding::Json.encode(&ticks(symbol, 0..1)[0]).unwrap();
        plain
            .send_raw(Some(symbol.as_bytes()), Some(&payload), Some(partition))
            .unwrap();
    };
    send("BEHIND", 0);
    plain.settle().await.unwrap();

    // WHEN a worker has stored all that can be told, a later tick of the other partition included
    let worker = Worker::start(&pipeline, &[]);
    worker.ready().await;
    send("ELSEWHERE", 1);
    plain.settle().await.unwrap();
    pipeline.caught_up().await;
    // THEN its position is where the open transaction begins
    assert_eq!(pipeline.positions().await.unwrap(), [4, 1]);
    let before = [names("BEFORE", 0..3), names("ELSEWHERE", 0..1)].concat();
    assert_eq!(stored(&pipeline).await, before);

    // AND WHEN the transaction is committed
    producer.commit();
    pipeline.caught_up().await;
    // THEN its ticks are stored, and the one behind it
    assert_eq!(pipeline.positions().await.unwrap(), [10, 1]);
    let mut all = [before, names("OPEN", 0..4), names("BEHIND", 0..1)].concat();
    all.sort();
    assert_eq!(stored(&pipeline).await, all);
    worker
        .metric_becomes("ingest_lag_messages", |lag| lag == 0.0)
        .await;
    pipeline.verify().await;
}
