//! Workers that come and go share a topic, and no message is stored twice or not at all, also where a producer spreads a
//! symbol over partitions.

use std::time::{Duration, Instant};

use testbed::Publisher;
use testbed::process::Signal;

use crate::oracle;
use crate::pipeline::Pipeline;
use crate::stream::{Feed, Message, SYMBOLS};
use crate::worker::Worker;

const PARTITIONS: i32 = 4;
const SETTINGS: [(&str, &str); 3] = [
    ("FDA_UPKEEP__REFRESH_INTERVAL", "500ms"),
    ("FDA_UPKEEP__MERGE_INTERVAL", "100ms"),
    ("FDA_BATCH__MAX_MESSAGES", "300"),
];
const BATCHES: &str = "ingest_batches_total";
/// The group gives a frozen worker up after 6 s; timeouts of the database would end it after 60 s.
const SUCCEEDS: Duration = Duration::from_secs(30);

/// A producer that spreads every symbol over all partitions.
struct Producer {
    publisher: Publisher,
    messages: Vec<Message>,
    sent: usize,
}

impl Producer {
    async fn new(pipeline: &Pipeline, feed: Feed) -> Self {
        Self {
            publisher: pipeline.publisher().await,
            messages: feed.messages(),
            sent: 0,
        }
    }

    /// Sends the next messages; there must be as many.
    async fn send(&mut self, count: usize) {
        for (number, message) in self.messages.iter().enumerate().skip(self.sent).take(count) {
            let partition = i32::try_from(number).unwrap() % PARTITIONS;
            let (key, payload) = (message.symbol.as_bytes(), message.payload.as_bytes());
            self.publisher
                .send_raw(Some(key), Some(payload), Some(partition))
                .unwrap();
        }
        self.sent += count;
        assert!(self.sent <= self.messages.len(), "the feed is too short");
        self.publisher.settle().await.unwrap();
    }

    async fn send_rest(&mut self) {
        self.send(self.messages.len() - self.sent).await;
    }

    /// Sends a few messages again and again until something has happened.
    async fn until<T>(&mut self, happens: impl Future<Output = T>) -> T {
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        let mut happens = std::pin::pin!(happens);
        loop {
            tokio::select! {
                biased;
                outcome = &mut happens => return outcome,
                _ = pace.tick() => self.send(20).await,
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_that_joins_and_worker_that_leaves_in_the_middle_lose_and_double_nothing() {
    // GIVEN a worker in the middle of a load, symbols spread over the partitions
    let pipeline = Pipeline::with_partitions("rebalance", PARTITIONS).await;
    let mut producer = Producer::new(
        &pipeline,
        Feed {
            seed: 21,
            trades: 30_000,
            conflicts: false,
        },
    )
    .await;
    let mut first = Worker::start(&pipeline, &SETTINGS);
    producer.send(8_000).await;
    pipeline.stored_at_least(2_000).await;
    // WHEN a second one joins THEN both store
    let second = Worker::start(&pipeline, &SETTINGS);
    producer.until(second.ready()).await;
    producer
        .until(second.metric_becomes(BATCHES, |batches| batches > 0.0))
        .await;
    let before = first.metric(BATCHES).await;
    producer
        .until(first.metric_becomes(BATCHES, |batches| batches > before))
        .await;
    // WHEN the first one is stopped with messages waiting
    producer.send(4_000).await;
    producer.until(first.stops()).await;
    producer.send_rest().await;
    // THEN the other one stores the rest, and all of it is there once
    pipeline.caught_up().await;
    oracle::check(&pipeline, &producer.messages).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_frozen_inside_its_transaction_is_ended_and_its_successor_goes_on() {
    // GIVEN a worker that is frozen inside its transaction, with its positions and its symbols locked
    let pipeline = Pipeline::with_partitions("frozen", PARTITIONS).await;
    pipeline
        .insert_symbols(&SYMBOLS.map(|symbol| (symbol, "UTC")))
        .await;
    let mut producer = Producer::new(
        &pipeline,
        Feed {
            seed: 22,
            trades: 3_000,
            conflicts: false,
        },
    )
    .await;
    let lock = pipeline.lock_symbols().await;
    let mut first = Worker::start(&pipeline, &SETTINGS);
    producer.send(2_000).await;
    pipeline
        .worker_sessions("wait_event_type = 'Lock'", |sessions| sessions > 0)
        .await;
    first.process().signal(Signal::SIGSTOP);
    lock.rollback().await.unwrap();
    pipeline
        .worker_sessions("state = 'idle in transaction'", |sessions| sessions > 0)
        .await;
    // WHEN another one joins the group
    let frozen = Instant::now();
    let _second = Worker::start(&pipeline, &SETTINGS);
    // THEN it stores all of it, soon after the group has given the frozen one up (6 s), not when timeouts end it (60 s)
    pipeline.caught_up().await;
    assert!(frozen.elapsed() < SUCCEEDS, "{:?}", frozen.elapsed());
    // AND WHEN the frozen one goes on, with more to do THEN it does no harm, and works again
    first.process().signal(Signal::SIGCONT);
    producer.send_rest().await;
    pipeline.caught_up().await;
    first.ready().await;
    oracle::check(&pipeline, &producer.messages).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_frozen_with_symbols_that_others_need_does_not_stop_them() {
    // GIVEN two workers, each with some of the partitions over which all symbols are spread
    let pipeline = Pipeline::with_partitions("frozen_symbols", PARTITIONS).await;
    pipeline
        .insert_symbols(&SYMBOLS.map(|symbol| (symbol, "UTC")))
        .await;
    let mut producer = Producer::new(
        &pipeline,
        Feed {
            seed: 23,
            trades: 8_000,
            conflicts: false,
        },
    )
    .await;
    let mut first = Worker::start(&pipeline, &SETTINGS);
    first.ready().await;
    let second = Worker::start(&pipeline, &SETTINGS);
    producer.until(second.ready()).await;
    producer
        .until(second.metric_becomes(BATCHES, |batches| batches > 0.0))
        .await;
    // WHEN one freezes inside its transaction, and the other one waits behind it for a symbol
    let lock = pipeline.lock_symbols().await;
    producer.send(200).await;
    pipeline
        .worker_sessions("wait_event_type = 'Lock'", |sessions| sessions == 2)
        .await;
    first.process().signal(Signal::SIGSTOP);
    lock.rollback().await.unwrap();
    let frozen = Instant::now();
    producer.send(1_000).await;
    // THEN the other one stores all of it, soon after the group has given the frozen one up
    pipeline.caught_up().await;
    assert!(frozen.elapsed() < SUCCEEDS, "{:?}", frozen.elapsed());
    first.process().signal(Signal::SIGCONT);
    producer.send_rest().await;
    pipeline.caught_up().await;
    oracle::check(&pipeline, &producer.messages).await;
}
