//! The laws, as properties of what is stored in a real server: order and batching of the messages do not matter, replay
//! changes nothing, both ways to a candle end at the same one, and a coarse candle is the fold of the finer ones.
//!
//! Each run draws new cases. A case that fails is shrunk, and its seed is kept in `tests/regressions/laws.txt`: commit
//! it, and every later run begins with it. `PROPTEST_CASES=500` draws more.

mod model;

use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, TestCaseError};
use sqlx::AssertSqlSafe;
use testbed::postgres::{NEWEST, OLDEST};
use tokio::runtime::Runtime;

use self::model::{Message, SYMBOLS, candles, day, hour, line_of, messages, minute, ticks_of};
use crate::database::{DAYS, Database, HOURS, MINUTES, TICKS, VERSIONS_OF_ROWS, done};

const SEEDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/regressions/laws.txt");

/// A pool of connections works with the runtime that made it alone.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

fn config(cases: u32) -> Config {
    let asked = std::env::var("PROPTEST_CASES").ok();
    Config {
        cases: asked.map_or(cases, |text| text.parse().unwrap()),
        // Each step of a shrink makes a database: some 100 ms.
        max_shrink_iters: 150,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(SEEDS))),
        ..Config::default()
    }
}

fn version() -> impl Strategy<Value = &'static str> {
    prop_oneof![3 => Just(NEWEST), 1 => Just(OLDEST)]
}

/// Where the stream of messages is cut into batches.
fn cuts() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(1_usize..25, 0..12)
}

/// A database that knows the symbols' zones.
async fn database(version: &str) -> Database {
    let db = Database::new(version).await;
    for (symbol, zone) in SYMBOLS {
        sqlx::query("insert into symbols (symbol, timezone) values ($1, $2)")
            .bind(symbol)
            .bind(zone.name())
            .execute(&db.owner)
            .await
            .unwrap();
    }
    db
}

/// Stores messages in batches, small blocks merged in between.
async fn store(db: &Database, messages: &[Message], cuts: &[usize]) {
    let all = ticks_of(messages);
    let mut rest = all.as_slice();
    for (number, cut) in cuts.iter().enumerate() {
        let (part, after) = rest.split_at((*cut).min(rest.len()));
        if !part.is_empty() {
            db.store(part).await;
        }
        rest = after;
        if number % 3 == 2 {
            done(&ingest::upkeep::merge_blocks(&db.sessions).await);
        }
    }
    if !rest.is_empty() {
        db.store(rest).await;
    }
}

/// Ticks without their revisions, then the candles of all levels, emptied ones left out.
async fn stored(db: &Database) -> [Vec<String>; 4] {
    let ticks = db.rows(TICKS).await.into_iter();
    let full = |rows: Vec<String>| {
        let mut rows: Vec<String> = rows
            .into_iter()
            .filter(|row| !row.ends_with(" 0 0 0"))
            .collect();
        rows.sort();
        rows
    };
    [
        ticks
            .map(|line| line.rsplit_once(' ').unwrap().0.to_owned())
            .collect(),
        full(db.rows(MINUTES).await),
        full(db.rows(HOURS).await),
        full(db.rows(DAYS).await),
    ]
}

/// The same by a plain loop.
fn expected(messages: &[Message]) -> [Vec<String>; 4] {
    let count = model::those_that_count(messages);
    [
        count.iter().map(line_of).collect(),
        candles(&count, minute),
        candles(&count, hour),
        candles(&count, day),
    ]
}

async fn order_and_batching(
    version: &str,
    messages: &[Message],
    swaps: &[usize],
    cuts: &[usize],
) -> Result<(), TestCaseError> {
    // GIVEN messages in another order
    let db = database(version).await;
    let mut shuffled = messages.to_vec();
    for (index, pick) in swaps.iter().enumerate().take(messages.len()) {
        shuffled.swap(index, pick % messages.len());
    }
    // WHEN they are stored in batches
    store(&db, &shuffled, cuts).await;
    // THEN ticks and candles are those of a plain loop
    for (found, expected) in stored(&db).await.into_iter().zip(expected(messages)) {
        prop_assert_eq!(found, expected);
    }
    let differences = db.differences().await;
    prop_assert!(differences.is_empty(), "{:?}", differences);
    Ok(())
}

async fn replay(version: &str, messages: &[Message], cuts: &[usize]) -> Result<(), TestCaseError> {
    // GIVEN messages that are stored
    let db = database(version).await;
    store(&db, messages, cuts).await;
    let before = db.rows(VERSIONS_OF_ROWS).await;
    // WHEN they come again in one batch
    let outcome = db.store(&ticks_of(messages)).await;
    // THEN no row has a new version
    prop_assert_eq!(
        (outcome.added, outcome.candles, outcome.letters.len()),
        (0, 0, 0)
    );
    prop_assert_eq!(db.rows(VERSIONS_OF_ROWS).await, before);
    Ok(())
}

async fn both_paths(
    version: &str,
    messages: &[Message],
    cuts: &[usize],
) -> Result<(), TestCaseError> {
    // GIVEN ticks that come once
    let mut last: Vec<Message> = messages
        .iter()
        .map(|message| Message {
            revision: 3,
            cancelled: false,
            ..*message
        })
        .collect();
    last.sort_by_key(|message| (message.symbol, message.time, message.sequence));
    last.dedup();
    let folded = database(version).await;
    store(&folded, &last, cuts).await;
    // WHEN in another database each of them corrects one that has come before
    let recomputed = database(version).await;
    store(&recomputed, messages, cuts).await;
    let outcome = recomputed.store(&ticks_of(&last)).await;
    prop_assert_eq!(
        (outcome.added, outcome.corrections),
        (0, u64::try_from(last.len()).unwrap())
    );
    // THEN the rows are the same
    prop_assert_eq!(stored(&folded).await, stored(&recomputed).await);
    Ok(())
}

/// A level, a finer one, the bucket of the finer one's row `f`, and what names a row `c` of the coarser one.
const FOLDS: [(&str, &str, &str, &str); 7] = [
    (
        "candles_1h",
        "candles_1m",
        "date_trunc('hour', f.open_time)",
        "c.open_time",
    ),
    (
        "candles_1d",
        "candles_1m",
        "(f.open_time at time zone s.timezone)::date",
        "c.local_date",
    ),
    (
        "candles_1d",
        "candles_1h",
        "(f.open_time at time zone s.timezone)::date",
        "c.local_date",
    ),
    (
        "candles_1w",
        "candles_1d",
        "date_trunc('week', f.local_date::timestamp)::date",
        "c.period",
    ),
    (
        "candles_1mo",
        "candles_1d",
        "date_trunc('month', f.local_date::timestamp)::date",
        "c.period",
    ),
    (
        "candles_1q",
        "candles_1d",
        "date_trunc('quarter', f.local_date::timestamp)::date",
        "c.period",
    ),
    (
        "candles_1y",
        "candles_1d",
        "date_trunc('year', f.local_date::timestamp)::date",
        "c.period",
    ),
];

async fn coarser(version: &str, messages: &[Message], cuts: &[usize]) -> Result<(), TestCaseError> {
    // GIVEN what is stored, its views refreshed
    let db = database(version).await;
    store(&db, messages, cuts).await;
    prop_assert_eq!(
        done(&ingest::upkeep::refresh_views(&db.sessions).await),
        4,
        "not all views were refreshed"
    );
    for (coarser, finer, bucket, label) in FOLDS {
        // Only where days begin with an hour can they be made of hours.
        let zones: Vec<&str> = SYMBOLS
            .iter()
            .map(|(_, zone)| zone.name())
            .filter(|zone| finer != "candles_1h" || ["UTC", "America/New_York"].contains(zone))
            .collect();
        let sql = include_str!("laws/coarser.sql")
            .replace("{coarser}", coarser)
            .replace("{finer}", finer)
            .replace("{bucket}", bucket)
            .replace("{label}", label);
        // WHEN PostgreSQL, with its own rules of zones, folds the finer level
        let (rows, differences): (i64, i64) = sqlx::query_as(AssertSqlSafe(sql))
            .bind(&zones)
            .fetch_one(&db.owner)
            .await
            .unwrap();
        // THEN it comes to the coarser one
        prop_assert_eq!(
            differences,
            0,
            "{} from {}, of {} rows",
            coarser,
            finer,
            rows
        );
        let any = model::those_that_count(messages)
            .iter()
            .any(|message| zones.contains(&SYMBOLS[message.symbol].1.name()));
        prop_assert_eq!(rows > 0, any, "{} is empty", coarser);
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(24))]
    #[test]
    fn order_and_batching_do_not_matter(
        version in version(), messages in messages(120), swaps in proptest::collection::vec(0_usize..120, 120), cuts in cuts(),
    ) {
        RUNTIME.block_on(order_and_batching(version, &messages, &swaps, &cuts))?;
    }
}

proptest! {
    #![proptest_config(config(12))]
    #[test]
    fn replay_writes_no_row(version in version(), messages in messages(80), cuts in cuts()) {
        RUNTIME.block_on(replay(version, &messages, &cuts))?;
    }

    #[test]
    fn folding_and_recomputing_end_at_the_same_rows(version in version(), messages in messages(80), cuts in cuts()) {
        RUNTIME.block_on(both_paths(version, &messages, &cuts))?;
    }

    #[test]
    fn coarse_candles_are_the_fold_of_the_finer_ones(version in version(), messages in messages(80), cuts in cuts()) {
        RUNTIME.block_on(coarser(version, &messages, &cuts))?;
    }
}
