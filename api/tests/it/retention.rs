//! What is made in part of deleted ticks, minutes or hours is not told: an interval begins with its first whole candle.

use serde_json::{Value, json};

use crate::fixture::{Fixture, Trade, at};

/// Midnights in New York from which ticks, minutes and hours are kept.
const TICKS: &str = "2024-02-20T05:00:00Z";
const MINUTES: &str = "2024-02-10T05:00:00Z";
const HOURS: &str = "2024-01-25T05:00:00Z";
const DAYS: &str = "2000-01-01T00:00:00Z";

/// Intervals, zones, and from when on what they are made of is kept.
const GRIDS: [(&str, &str, &str); 17] = [
    ("30s", "America/New_York", TICKS),
    ("45s", "Asia/Kolkata", TICKS),
    ("3500s", "UTC", TICKS),
    ("1m", "America/New_York", MINUTES),
    ("40m", "UTC", MINUTES),
    ("1h", "Asia/Kolkata", MINUTES),
    ("1d", "Asia/Kolkata", MINUTES),
    ("1M", "Asia/Kolkata", MINUTES),
    ("1h", "America/New_York", HOURS),
    ("7h", "UTC", HOURS),
    ("1d", "UTC", HOURS),
    ("1w", "UTC", HOURS),
    ("1M", "UTC", HOURS),
    ("1d", "America/New_York", DAYS),
    ("1w", "America/New_York", DAYS),
    ("1M", "America/New_York", DAYS),
    ("1y", "America/New_York", DAYS),
];

/// A trade each 20 minutes, from 2024-01-15 to 2024-03-10.
fn trades() -> Vec<Trade> {
    (0..55 * 72)
        .map(|n| Trade {
            time: at("2024-01-15T05:00:00Z") + n * 1_200_000_000,
            sequence: n,
            price: 100 + n % 91,
            size: 100,
        })
        .collect()
}

async fn delete(fixture: &Fixture) {
    for statement in [
        "update symbols set floor_time = '2024-02-20T05:00:00Z', minutes_from = '2024-02-10T05:00:00Z', \
            hours_from = '2024-01-25T05:00:00Z', version = version + 1",
        "delete from candles_1m where open_time < '2024-02-10T05:00:00Z'",
        "delete from candles_1h where open_time < '2024-01-25T05:00:00Z'",
    ] {
        fixture.execute(statement).await;
    }
}

fn rows(page: &Value) -> &Vec<Value> {
    page["candles"].as_array().unwrap()
}

#[tokio::test]
async fn nothing_is_told_that_is_made_in_part_of_what_was_deleted() {
    // GIVEN a symbol, and its candles in many grids
    let fixture = Fixture::new().await;
    fixture.add_trades("A", "America/New_York", &trades()).await;
    let targets: Vec<(String, i64)> = GRIDS
        .iter()
        .flat_map(|(interval, tz, kept)| {
            let target = format!("/v1/candles/A?interval={interval}&tz={tz}&limit=10000");
            let mut targets = vec![
                target.clone(),
                format!("{target}&from=2024-01-01"),
                format!("{target}&updated_since=2024-01-01"),
            ];
            if !interval.ends_with(['s', 'm']) {
                targets.push(format!("{target}&fill=previous"));
            }
            targets.into_iter().map(|target| (target, at(kept)))
        })
        .collect();
    let mut before = Vec::new();
    for (target, _) in &targets {
        before.push(fixture.json(target).await);
    }
    // WHEN its old ticks, minutes and hours are deleted, ticks not yet
    delete(&fixture).await;
    // THEN of each grid the candles that begin then or later are told, as they were
    for ((target, kept), before) in targets.iter().zip(&before) {
        let page = fixture.json(target).await;
        let start = |row: &Value| at(row["open_time"].as_str().unwrap());
        let whole: Vec<&Value> = rows(before)
            .iter()
            .filter(|row| start(row) >= *kept)
            .collect();
        assert!(!whole.is_empty(), "{target}");
        assert_eq!(rows(&page).iter().collect::<Vec<_>>(), whole, "{target}");
        // THEN and the first of them is what is available
        assert_eq!(
            page["available"]["first"], whole[0]["open_time"],
            "{target}"
        );
        assert_eq!(page["available"]["last"], before["available"]["last"]);
    }
    // THEN and the same with ticks
    let page = fixture.json("/v1/ticks/A?from=2024-01-01&limit=1").await;
    assert_eq!(page["ticks"][0]["event_time"], TICKS);
    assert_eq!(page["available"]["first"], TICKS);
}

#[tokio::test]
async fn a_symbol_without_ticks_below_its_floor_loses_nothing() {
    // GIVEN a symbol that began after what others lost
    let fixture = Fixture::new().await;
    let trade = Trade::new(at("2024-03-05T10:37:00Z"), 1);
    fixture.add_trades("A", "America/New_York", &[trade]).await;
    delete(&fixture).await;
    // THEN it has a candle in every grid, also where the bucket begins before
    for (interval, tz, _) in GRIDS {
        let target = format!("/v1/candles/A?interval={interval}&tz={tz}&partial=include");
        let page = fixture.json(&target).await;
        assert_eq!(rows(&page).len(), 1, "{target}");
    }
    let months = "/v1/candles/A?interval=2q&tz=UTC";
    assert_eq!(fixture.column(months, "trades").await, [1]);
}

#[tokio::test]
async fn where_nothing_is_left_nothing_is_available() {
    // GIVEN a symbol whose last tick is older than all that is kept
    let fixture = Fixture::new().await;
    let trade = |time: &str| Trade::new(at(time), 1);
    let old = [trade("2024-01-10T10:00:00Z"), trade("2024-01-20T10:00:00Z")];
    fixture.add_trades("OLD", "UTC", &old).await;
    // AND one that has a tick before and one after
    let both = [trade("2024-01-10T10:00:00Z"), trade("2024-02-12T12:00:00Z")];
    fixture.add_trades("BOTH", "UTC", &both).await;
    delete(&fixture).await;
    // THEN the first has days, and else nothing
    let nothing = json!({"first": null, "last": null});
    for query in [
        "candles/OLD?interval=30s",
        "candles/OLD?interval=1h&fill=null",
        "ticks/OLD?",
    ] {
        let page = fixture.json(&format!("/v1/{query}")).await;
        assert_eq!(page["available"], nothing, "{query}");
        assert_eq!(page["next_cursor"], Value::Null);
    }
    let days = "/v1/candles/OLD?interval=1d";
    assert_eq!(fixture.column(days, "trades").await, [1, 1]);
    // THEN and the second is not filled with a close that is not there
    let filled = "/v1/candles/BOTH?interval=1m&fill=previous&from=2024-02-12T11:00:00Z";
    assert_eq!(
        fixture.column(filled, "open_time").await,
        ["2024-02-12T12:00:00Z"]
    );
}
