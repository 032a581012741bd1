//! A worker or a server that dies at any moment loses nothing and doubles nothing.

use std::time::Duration;

use testbed::Postgres;
use testbed::postgres::NEWEST;

use crate::oracle;
use crate::pipeline::Pipeline;
use crate::stream::{Feed, Message, SYMBOLS};

/// Many small commits, and work in the background all the time, so that a crash hits every kind of transaction.
const BUSY: [(&str, &str); 3] = [
    ("FDA_UPKEEP__REFRESH_INTERVAL", "100ms"),
    ("FDA_UPKEEP__MERGE_INTERVAL", "100ms"),
    ("FDA_BATCH__MAX_MESSAGES", "300"),
];

fn settings(group: &str) -> Vec<(&str, &str)> {
    [BUSY.as_slice(), &[("FDA_KAFKA__GROUP", group)]].concat()
}

/// The partition that a message is sent to.
fn partition(message: &Message) -> usize {
    SYMBOLS
        .iter()
        .position(|symbol| *symbol == message.symbol)
        .unwrap()
        % 3
}

/// Sends messages, each to its symbol's partition; returns how many.
async fn send(pipeline: &Pipeline, messages: &[Message]) -> i64 {
    let publisher = pipeline.publisher().await;
    for message in messages {
        let to = i32::try_from(partition(message)).unwrap();
        let (key, payload) = (message.symbol.as_bytes(), message.payload.as_bytes());
        publisher
            .send_raw(Some(key), Some(payload), Some(to))
            .unwrap();
    }
    publisher.settle().await.unwrap();
    i64::try_from(messages.len()).unwrap()
}

/// The messages below the stored positions.
async fn stored(pipeline: &Pipeline, messages: &[Message]) -> Vec<Message> {
    let mut left = pipeline.positions().await.unwrap();
    let mut below = |message: &&Message| {
        left[partition(message)] -= 1;
        left[partition(message)] >= 0
    };
    messages
        .iter()
        .filter(|message| below(message))
        .cloned()
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_killed_again_and_again_stores_every_message_once() {
    // GIVEN a topic with a large load
    let pipeline = Pipeline::new("crash").await;
    let messages = Feed {
        seed: 7,
        trades: 40_000,
        conflicts: true,
    }
    .messages();
    let total = send(&pipeline, &messages).await;
    // WHEN the worker is killed in the middle, several times
    for (kill, group) in (1..).zip(["crash", "crash", "crash_2", "crash_3", "crash_4"]) {
        let mut ingest = pipeline.ingest(&settings(group));
        pipeline.stored_at_least(total * kill / 7).await;
        ingest.kill9();
        pipeline
            .worker_sessions("true", |sessions| sessions == 0)
            .await;
        // THEN what is stored each time is exactly the messages below the positions
        let below = stored(&pipeline, &messages).await;
        assert!(
            below.len() < messages.len(),
            "the worker was faster than the kill"
        );
        if kill == 1 || kill == 4 {
            oracle::check_tables(&pipeline, &below).await;
        }
        pipeline.verify().await;
    }
    // AND the last worker stores the rest
    let _ingest = pipeline.ingest(&settings("crash_5"));
    pipeline.caught_up().await;
    oracle::check(&pipeline, &messages).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_killed_inside_its_transaction_leaves_nothing_of_it() {
    // GIVEN a worker that has taken its positions and waits for a symbol, which the test has locked
    let pipeline = Pipeline::new("crash_inside").await;
    let messages = Feed {
        seed: 8,
        trades: 2_000,
        conflicts: true,
    }
    .messages();
    pipeline
        .insert_symbols(&SYMBOLS.map(|symbol| (symbol, "UTC")))
        .await;
    let lock = pipeline.lock_symbols().await;
    pipeline.publish_messages(&messages).await;
    let mut ingest = pipeline.ingest(&settings("crash_inside"));
    pipeline
        .worker_sessions("wait_event_type = 'Lock'", |sessions| sessions > 0)
        .await;
    // WHEN it is killed there, and the symbol is free again
    ingest.kill9();
    lock.rollback().await.unwrap();
    pipeline
        .worker_sessions("true", |sessions| sessions == 0)
        .await;
    // THEN nothing of the transaction is there
    assert_eq!(pipeline.positions().await.unwrap(), [0, 0, 0]);
    let blocks: i64 = sqlx::query_scalar("select count(*) from market_data.tick_blocks")
        .fetch_one(pipeline.pool())
        .await
        .unwrap();
    assert_eq!(blocks, 0);
    // AND the next worker stores all of it
    let _ingest = pipeline.ingest(&settings("crash_inside_2"));
    pipeline.caught_up().await;
    oracle::check_tables(&pipeline, &messages).await;
    pipeline.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn database_that_restarts_and_crashes_while_the_worker_dies_loses_nothing() {
    // GIVEN a server of the test's own, and a worker in the middle of a load
    let mut postgres = Postgres::temporary(NEWEST).await.unwrap();
    let pipeline = Pipeline::on(&postgres, "crash_database", 3).await;
    let messages = Feed {
        seed: 9,
        trades: 16_000,
        conflicts: true,
    }
    .messages();
    let total = send(&pipeline, &messages).await;
    let mut ingest = pipeline.ingest(&settings("crash_database"));
    pipeline.stored_at_least(total / 5).await;
    // WHEN the server restarts THEN the worker goes on by itself
    postgres.restart().await.unwrap();
    assert!(
        stored(&pipeline, &messages).await.len() < messages.len(),
        "the worker was faster than the restart"
    );
    pipeline.stored_at_least(total * 2 / 5).await;
    ingest.check_alive().unwrap();
    // WHEN the server crashes, and the worker is killed while it is down
    postgres.process().kill9();
    ingest.kill9();
    postgres.restart().await.unwrap();
    let below = stored(&pipeline, &messages).await;
    assert!(
        below.len() < messages.len(),
        "the worker was faster than the crash"
    );
    // THEN what is stored is exactly the messages below the positions
    oracle::check_tables(&pipeline, &below).await;
    // AND the next worker stores the rest, and stops in peace
    let mut ingest = pipeline.ingest(&settings("crash_database_2"));
    pipeline.caught_up().await;
    oracle::check(&pipeline, &messages).await;
    assert!(ingest.stop(Duration::from_secs(5)).unwrap().success());
}
