//! Every candle equals the fold of its ticks, from whichever stored level it was read.

use common::calendar::{Anchor, Grid};
use serde_json::{Value, json};

use crate::fixture::{Fixture, Trade, at, decimal};

/// A few thousand trades, dense and sparse, from a fixed generator.
fn trades(from: &str, spread: i64, count: i64) -> Vec<Trade> {
    let mut state = 42_u64;
    let mut next = |below: i64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(state >> 33).unwrap() % below
    };
    (0..count)
        .map(|sequence| Trade {
            time: at(from) + next(spread) * 1_000_003,
            sequence,
            price: 1 + next(1_000_000),
            size: next(10_000),
        })
        .collect()
}

fn expected(trades: &[Trade], grid: &Grid) -> Vec<Value> {
    let mut trades = trades.to_vec();
    trades.sort_by_key(|trade| (trade.time, trade.sequence));
    trades
        .chunk_by(|a, b| grid.bucket(a.time) == grid.bucket(b.time))
        .map(|ticks| {
            let sum = |value: fn(&Trade) -> i128| ticks.iter().map(value).sum::<i128>();
            json!([
                grid.bucket(ticks[0].time).start,
                decimal(ticks[0].price.into(), 2),
                decimal(ticks.iter().map(|t| t.price).max().unwrap().into(), 2),
                decimal(ticks.iter().map(|t| t.price).min().unwrap().into(), 2),
                decimal(ticks[ticks.len() - 1].price.into(), 2),
                decimal(sum(|t| t.size.into()), 2),
                decimal(sum(|t| i128::from(t.price) * i128::from(t.size)), 4),
                ticks.len(),
            ])
        })
        .collect()
}

#[tokio::test]
async fn a_candle_is_the_fold_of_its_ticks_in_every_zone_and_interval() {
    // GIVEN three symbols of different zones, refreshed in part
    let fixture = Fixture::new().await;
    let sets = [
        (
            "A",
            "UTC",
            trades("2024-02-20T00:00:00Z", 40 * 86_400, 3_000),
        ),
        (
            "B",
            "America/New_York",
            trades("2023-12-01T00:00:00Z", 500 * 86_400, 800),
        ),
        (
            "C",
            "Africa/Monrovia",
            trades("1971-12-01T00:00:00Z", 90 * 86_400, 500),
        ),
    ];
    for (name, tz, trades) in &sets {
        fixture.add_trades(name, tz, trades).await;
    }
    fixture
        .execute("select refresh_candle_view('candles_1w'), refresh_candle_view('candles_1q')")
        .await;

    let intervals = [
        "30s", "90s", "1m", "7m", "15m", "1h", "4h", "5h", "1d", "2d", "1w", "2w", "1M", "2M",
        "1q", "6M", "1y", "2y",
    ];
    for (name, own, trades) in &sets {
        for tz in [
            *own,
            "UTC",
            "Asia/Kolkata",
            "America/St_Johns",
            "Africa/Monrovia",
        ] {
            for interval in intervals {
                // WHEN all candles are asked for
                let target = format!(
                    "/v1/candles/{name}?interval={interval}&tz={tz}&limit=10000&numbers=string&from=1970-01-01"
                );
                let body = fixture.json(&target).await;
                let found: Vec<Value> = body["candles"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|row| {
                        json!([
                            at(row["open_time"].as_str().unwrap()),
                            row["open"],
                            row["high"],
                            row["low"],
                            row["close"],
                            row["volume"],
                            row["turnover"],
                            row["trades"],
                        ])
                    })
                    .collect();
                // THEN they are the fold of the ticks
                let grid = Grid::new(
                    interval.parse().unwrap(),
                    tz.parse().unwrap(),
                    Anchor::Calendar,
                );
                assert_eq!(found, expected(trades, &grid), "{target}");
            }
        }
    }
}

#[tokio::test]
async fn a_revision_counts_changes_of_emptied_parts_too() {
    // GIVEN two minutes with a tick, and one between them that cancels emptied at its third change
    let fixture = Fixture::new().await;
    let trade = |time| Trade::new(at(time), 1);
    let id = fixture
        .add_trades(
            "A",
            "UTC",
            &[trade("2024-01-01T00:00:10Z"), trade("2024-01-01T00:02:10Z")],
        )
        .await;
    let emptied = "insert into candles_1m (symbol_id, open_time, volume, turnover, trades, revision, updated_at) \
        values ($1, '2024-01-01T00:01:00Z', 0, 0, 0, 3, '2100-01-01')";
    sqlx::query(emptied)
        .bind(id)
        .execute(&fixture.pool)
        .await
        .unwrap();
    // THEN the minute itself is left out, and coarser candles count its changes
    for (interval, revisions) in [
        ("1m", json!([1, 1])),
        ("3m", json!([5])),
        ("90s", json!([4, 4])),
        ("20s", json!([1, 1])),
    ] {
        for order in ["asc", "desc"] {
            let target = format!("/v1/candles/A?interval={interval}&order={order}");
            assert_eq!(
                json!(fixture.column(&target, "revision").await),
                revisions,
                "{target}"
            );
        }
    }
    assert_eq!(
        fixture
            .column("/v1/candles/A?interval=3m", "updated_at")
            .await,
        ["2100-01-01T00:00:00Z"]
    );
}

#[tokio::test]
async fn seconds_without_ticks_have_not_changed_and_are_filled_alike_in_every_page() {
    // GIVEN two ticks of a minute, 40 s apart
    let fixture = Fixture::new().await;
    let trade = |time| Trade::new(at(time), 1);
    let trades = [trade("2024-01-01T00:00:10Z"), trade("2024-01-01T00:00:50Z")];
    fixture.add_trades("A", "UTC", &trades).await;
    for order in ["asc", "desc"] {
        // WHEN what has changed is asked for THEN it is their seconds and no others
        let target = format!("/v1/candles/A?interval=1s&order={order}&updated_since=2020-01-01");
        assert_eq!(fixture.column(&target, "trades").await, [1, 1], "{target}");
        // WHEN a second between them is the page's first, last or in its middle THEN nothing ever changed it
        for (from, to) in [("20", "21"), ("20", "40"), ("05", "21"), ("15", "30")] {
            let target = format!(
                "/v1/candles/A?interval=1s&fill=previous&order={order}&from=2024-01-01T00:00:{from}Z&to=2024-01-01T00:00:{to}Z"
            );
            let body = fixture.json(&target).await;
            let rows = body["candles"].as_array().unwrap();
            let row = rows
                .iter()
                .find(|row| row["open_time"] == "2024-01-01T00:00:20Z");
            let row = row.unwrap();
            assert_eq!(
                (&row["revision"], &row["updated_at"], &row["filled"]),
                (&json!(0), &Value::Null, &json!(true)),
                "{target}"
            );
        }
    }
}

#[tokio::test]
async fn an_interval_spelled_otherwise_has_the_same_candles() {
    let fixture = Fixture::new().await;
    let trades = trades("2024-03-10T00:00:00Z", 1_500_000, 40);
    fixture.add_trades("A", "America/New_York", &trades).await;
    for (one, other) in [("1h", "60m"), ("1m", "60s"), ("1q", "3M"), ("1w", "7d")] {
        let mut pages = Vec::new();
        for interval in [one, other] {
            let target = format!("/v1/candles/A?interval={interval}&fill=previous");
            let mut page = fixture.json(&target).await;
            // As it was asked for.
            assert_eq!(page["interval"], interval);
            assert!(!page["candles"].as_array().unwrap().is_empty());
            pages.push(page["candles"].take());
        }
        // Weeks begin on Mondays, seven days on a Thursday of 1970.
        assert_eq!(pages[0] == pages[1], one != "1w", "{one} {other}");
    }
}
