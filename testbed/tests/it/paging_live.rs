//! Pages that are read while late ticks and corrections arrive hold each candle once, and none is missing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use testbed::Tick;

use crate::pipeline::Pipeline;

/// 2024-03-10T00:00:00Z
const BEGIN: i64 = 1_710_028_800_000_000;
const MINUTE: i64 = 60_000_000;
const MINUTES: i64 = 600;

fn tick(minute: i64, sequence: i64) -> Tick {
    Tick::new("LIVE", BEGIN + minute * MINUTE, sequence, "10.5", "1")
}

/// All pages of a query.
async fn pages(pipeline: &Pipeline, query: &str) -> Vec<Value> {
    let mut rows = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = pipeline
            .get_json(&format!("/v1/candles/LIVE?{query}{cursor}"))
            .await;
        rows.extend(page["candles"].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return rows,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_a_changing_range_equal_the_unpaged_set() {
    // GIVEN a tick in each minute of ten hours
    let pipeline = Arc::new(Pipeline::new("paging_live").await);
    let _ingest = pipeline.ingest(&[("FDA_BATCH__LINGER", "5ms")]);
    let first: Vec<Tick> = (0..MINUTES).map(|minute| tick(minute, 0)).collect();
    pipeline.publish(&first).await;
    pipeline.caught_up().await;
    // WHEN all pages are read, again and again, while corrections and late ticks come everywhere
    let stop = Arc::new(AtomicBool::new(false));
    let feed = tokio::spawn({
        let (pipeline, stop) = (pipeline.clone(), stop.clone());
        async move {
            for round in 1.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let changes: Vec<Tick> = (0..MINUTES / 6)
                    .map(|n| {
                        let minute = (n * 7 + round) % MINUTES;
                        if n % 2 == 0 {
                            let mut correction = tick(minute, 0);
                            correction.revision = i32::try_from(round).unwrap();
                            correction.price = format!("{round}.25");
                            correction
                        } else {
                            tick(minute, 1_000 * round + n)
                        }
                    })
                    .collect();
                pipeline.publish(&changes).await;
            }
        }
    });
    let queries = [
        "interval=1m&from=2024-03-10&to=2024-03-11&limit=7",
        "interval=7m&from=2024-03-10&to=2024-03-11&limit=3&order=desc",
        "interval=20s&to=2024-03-11&limit=13&order=desc",
    ];
    let mut read = Vec::new();
    for query in queries {
        for _ in 0..2 {
            read.push((query, pages(&pipeline, query).await));
        }
    }
    stop.store(true, Ordering::Relaxed);
    feed.await.unwrap();
    pipeline.caught_up().await;
    // THEN each candle of the unpaged set is there once, in order, as it was at a time or is now
    let mut changed = 0;
    for (query, rows) in read {
        let (unpaged, _) = query.split_once("&limit=").unwrap();
        let order = if query.contains("desc") {
            "desc"
        } else {
            "asc"
        };
        let whole = pages(&pipeline, &format!("{unpaged}&limit=10000&order={order}")).await;
        let starts = |rows: &[Value]| -> Vec<Value> {
            rows.iter().map(|row| row["open_time"].clone()).collect()
        };
        assert_eq!(starts(&rows), starts(&whole), "{query}");
        for (row, now) in rows.iter().zip(&whole) {
            let revision = |row: &Value| row["revision"].as_i64().unwrap();
            assert!(revision(row) <= revision(now), "{query}: {row} {now}");
            if revision(row) == revision(now) {
                assert_eq!(row, now, "{query}");
            } else {
                changed += 1;
            }
        }
    }
    assert!(changed > 100, "{changed} candles changed meanwhile");
}
