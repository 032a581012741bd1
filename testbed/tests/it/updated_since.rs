//! A client that keeps a copy by `updated_since` has what the API has: late ticks, corrections and cancels reach it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;
use testbed::Tick;

use crate::pipeline::Pipeline;

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;
/// 2024-03-09T00:00:00Z, a day before a switch in New York.
const BEGIN: i64 = 1_709_942_400_000_000;

const QUERIES: [&str; 5] = [
    "interval=1m",
    "interval=90m&tz=Asia/Kolkata",
    "interval=4h&order=desc",
    "interval=1d",
    "interval=45s",
];

/// Candles by their open time.
type Replica = BTreeMap<String, Value>;

async fn read(pipeline: &Pipeline, query: &str) -> Vec<Value> {
    let mut rows = Vec::new();
    let mut cursor = String::new();
    loop {
        let target =
            format!("/v1/candles/WALL?{query}&from=2024-01-01&limit=7&partial=include{cursor}");
        let page = pipeline.get_json(&target).await;
        rows.extend(page["candles"].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return rows,
        }
    }
}

fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn key(row: &Value) -> String {
    row["open_time"].as_str().unwrap().to_owned()
}

/// Reads what changed since `since` into a copy; tells how many candles that were.
async fn synchronise(pipeline: &Pipeline, query: &str, copy: &mut Replica, since: &str) -> usize {
    let rows = read(pipeline, &format!("{query}&updated_since={since}")).await;
    for row in &rows {
        let updated_at = row["updated_at"].as_str().unwrap();
        assert!(
            time(updated_at) >= time(since),
            "{query} since {since}: {row}"
        );
        if row["trades"] == 0 {
            assert_eq!(
                (&row["open"], &row["filled"]),
                (&Value::Null, &Value::Bool(false))
            );
            copy.remove(&key(row));
        } else {
            copy.insert(key(row), row.clone());
        }
    }
    rows.len()
}

async fn now(pipeline: &Pipeline) -> String {
    let text =
        r#"select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"#;
    sqlx::query_scalar(text)
        .fetch_one(pipeline.pool())
        .await
        .unwrap()
}

fn tick(random: &mut StdRng, sequence: i64) -> Tick {
    let time = BEGIN + random.random_range(0..4 * DAY);
    let price = format!("{}.5", random.random_range(1..500));
    Tick::new(
        "WALL",
        time,
        sequence,
        price,
        random.random_range(0..9).to_string(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_reads_what_changed_equals_the_whole() {
    // GIVEN a symbol with a few days, and a copy of its candles in several intervals
    let pipeline = Pipeline::new("updated_since").await;
    pipeline
        .insert_symbols(&[("WALL", "America/New_York")])
        .await;
    let _ingest = pipeline.ingest(&[]);
    let mut random = StdRng::seed_from_u64(17);
    let mut ticks: Vec<Tick> = (0..900).map(|n| tick(&mut random, n)).collect();
    pipeline.publish(&ticks).await;
    pipeline.caught_up().await;
    let mut copies: Vec<Replica> = vec![Replica::new(); QUERIES.len()];
    let mut since = "2020-01-01T00:00:00Z".to_owned();
    let mut listed = Vec::new();
    for round in 0..4 {
        // WHEN it reads what changed since it read before
        let next = now(&pipeline).await;
        let mut rows = 0;
        for (query, copy) in QUERIES.iter().zip(&mut copies) {
            rows += synchronise(&pipeline, query, copy, &since).await;
            // THEN it is what the API has
            let whole: Replica = read(&pipeline, query)
                .await
                .into_iter()
                .map(|row| (key(&row), row))
                .collect();
            assert_eq!(*copy, whole, "round {round}: {query}");
        }
        listed.push(rows);
        since = next;
        // Late ticks, corrections and cancels come, the last ones of all at last.
        let mut changes: Vec<Tick> = (0..5)
            .map(|n| tick(&mut random, 1_000 + 10 * round + n))
            .collect();
        let chosen: Vec<usize> = match round {
            2 => (0..ticks.len())
                .filter(|n| ticks[*n].event_time >= BEGIN + 3 * DAY)
                .collect(),
            _ => (0..8)
                .map(|_| random.random_range(0..ticks.len()))
                .collect(),
        };
        for index in chosen {
            let old = &mut ticks[index];
            old.price = "777.25".into();
            old.revision += 1;
            old.cancelled = round == 2 || index % 2 == 0;
            changes.push(old.clone());
        }
        pipeline.publish(&changes).await;
        pipeline.caught_up().await;
        ticks.extend(changes.into_iter().filter(|tick| tick.sequence >= 1_000));
    }
    // THEN and it read much less than the whole, but for the first time and the last
    assert!(
        listed[1] * 8 < listed[0] && listed[2] * 8 < listed[0] && listed[3] > 0,
        "{listed:?}"
    );
}
