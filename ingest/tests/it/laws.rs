//! The laws: order and batching of the messages do not matter, replay changes nothing, and every
//! candle is what a plain loop over the ticks gives.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike as _, Timelike as _, Utc};
use common::tick::{EventTime, Price, Size, Tick, TickKey};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::database::{DAYS, Database, HOURS, MINUTES, TICKS, VERSIONS, VERSIONS_OF_ROWS, done};

/// 2024-02-28T23:50:00Z in microseconds: minutes, hours, days and a leap day are near.
const START: i64 = 1_709_164_200_000_000;
const SYMBOLS: [&str; 3] = ["A", "B", "C"];

/// A message in small numbers: symbol, time, sequence, revision, cancelled. Price and size follow from
/// identity and revision, so that there are no conflicts.
type Message = (usize, i64, i64, i32, bool);

fn messages() -> impl Strategy<Value = Vec<Message>> {
    let close = (
        0_usize..3,
        0_i64..40,
        0_i64..3,
        0_i32..3,
        prop::bool::weighted(0.15),
    );
    proptest::collection::vec(close, 1..120)
}

fn price_of((_, time, sequence, revision, _): Message) -> i64 {
    100 + (time * 31 + sequence * 17 + i64::from(revision) * 7) % 50
}

fn tick_of(message: Message) -> (&'static str, Tick) {
    let (symbol, time, sequence, revision, cancelled) = message;
    // Steps of 37 s: several to a minute now and then, over an hour's and a day's end.
    let tick = Tick {
        key: TickKey {
            event_time: EventTime::from_micros(START + time * 37_000_000),
            sequence,
        },
        price: Price::new(price_of(message).to_string().parse().unwrap()).unwrap(),
        size: Size::new("3".parse().unwrap()).unwrap(),
        revision,
        cancelled,
    };
    (SYMBOLS[symbol], tick)
}

/// The ticks that count, by a plain loop.
fn ticks_that_count(messages: &[Message]) -> BTreeMap<(usize, i64, i64), i64> {
    let mut best: BTreeMap<(usize, i64, i64), (i32, bool, i64)> = BTreeMap::new();
    for message in messages {
        let (symbol, time, sequence, revision, cancelled) = *message;
        let entry = best.entry((symbol, time, sequence)).or_insert((
            revision,
            cancelled,
            price_of(*message),
        ));
        if (revision, cancelled) > (entry.0, entry.1) {
            *entry = (revision, cancelled, price_of(*message));
        }
    }
    best.into_iter()
        .filter(|(_, best)| !best.1)
        .map(|(key, best)| (key, best.2))
        .collect()
}

/// Candle lines as the queries print them, by a plain loop; emptied buckets are left out.
fn candles(
    ticks: &BTreeMap<(usize, i64, i64), i64>,
    label: fn(DateTime<Utc>) -> String,
) -> Vec<String> {
    let mut buckets: BTreeMap<(usize, String), Vec<i64>> = BTreeMap::new();
    for ((symbol, time, _), price) in ticks {
        let at = DateTime::from_timestamp_micros(START + time * 37_000_000).unwrap();
        buckets
            .entry((*symbol, label(at)))
            .or_default()
            .push(*price);
    }
    buckets
        .into_iter()
        .map(|((symbol, label), prices)| {
            let (high, low) = (prices.iter().max().unwrap(), prices.iter().min().unwrap());
            let (open, close) = (prices[0], prices[prices.len() - 1]);
            let sum: i64 = prices.iter().sum();
            format!(
                "{} {label} {open} {high} {low} {close} {} {} {}",
                SYMBOLS[symbol],
                3 * prices.len(),
                3 * sum,
                prices.len()
            )
        })
        .collect()
}

async fn check(version: &str, messages: Vec<Message>, cuts: Vec<usize>, order: Vec<usize>) {
    // GIVEN messages in some order, cut into batches, blocks merged in between
    let db = Database::new(version).await;
    let mut shuffled = messages.clone();
    for (index, pick) in order.iter().enumerate().take(shuffled.len()) {
        let other = pick % shuffled.len();
        shuffled.swap(index, other);
    }
    let all: Vec<(&str, Tick)> = shuffled.iter().map(|message| tick_of(*message)).collect();
    let mut rest = all.as_slice();
    for (index, cut) in cuts.iter().enumerate() {
        let (part, after) = rest.split_at((*cut).min(rest.len()));
        if !part.is_empty() {
            db.store(part).await;
        }
        rest = after;
        if index % 3 == 2 {
            done(&ingest::upkeep::merge_blocks(&db.sessions).await);
        }
    }
    if !rest.is_empty() {
        db.store(rest).await;
    }

    // THEN ticks and candles are those of a plain loop
    let expected = ticks_that_count(&messages);
    let ticks: Vec<String> = expected
        .iter()
        .map(|((symbol, time, sequence), price)| {
            let at = DateTime::from_timestamp_micros(START + time * 37_000_000).unwrap();
            format!(
                "{} {} {sequence} {price} 3",
                SYMBOLS[*symbol],
                at.format("%Y-%m-%d %H:%M:%S%.6f")
            )
        })
        .collect();
    let stored: Vec<String> = db
        .rows(TICKS)
        .await
        .into_iter()
        .map(|line| line.rsplit_once(' ').unwrap().0.to_owned())
        .collect();
    assert_eq!(stored, ticks, "{version}");
    let full = |rows: Vec<String>| {
        rows.into_iter()
            .filter(|row| !row.ends_with(" 0 0 0"))
            .collect::<Vec<_>>()
    };
    let minute = |at: DateTime<Utc>| at.format("%m-%d %H:%M").to_string();
    let hour = |at: DateTime<Utc>| format!("{:02}-{:02} {:02}:00", at.month(), at.day(), at.hour());
    let day = |at: DateTime<Utc>| format!("{} {}", at.format("%Y-%m-%d"), at.format("%m-%d 00:00"));
    assert_eq!(full(db.rows(MINUTES).await), candles(&expected, minute));
    assert_eq!(full(db.rows(HOURS).await), candles(&expected, hour));
    assert_eq!(full(db.rows(DAYS).await), candles(&expected, day));
    assert!(db.differences().await.is_empty());

    // AND all of them again, in their first order, write no row
    let before = db.rows(VERSIONS_OF_ROWS).await;
    let again: Vec<(&str, Tick)> = messages.iter().map(|message| tick_of(*message)).collect();
    let outcome = db.store(&again).await;
    assert_eq!(
        (outcome.added, outcome.candles, outcome.letters.len()),
        (0, 0, 0)
    );
    assert_eq!(db.rows(VERSIONS_OF_ROWS).await, before);
}

#[test]
fn order_batching_and_replay_do_not_matter() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    for (version, cases) in VERSIONS.into_iter().zip([24, 6]) {
        // A fixed seed: a failure names its case and comes again.
        let mut runner = TestRunner::new_with_rng(
            Config::default(),
            TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]),
        );
        let input = (
            messages(),
            proptest::collection::vec(1_usize..25, 0..12),
            proptest::collection::vec(any::<usize>(), 120),
        );
        for case in 0..cases {
            let (messages, cuts, order) = input.new_tree(&mut runner).unwrap().current();
            println!(
                "PostgreSQL {version}, case {case}: {} messages, cuts {cuts:?}",
                messages.len()
            );
            runtime.block_on(check(version, messages, cuts, order));
        }
    }
}
