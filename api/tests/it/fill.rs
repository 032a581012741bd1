//! Gaps are filled between the first candle and the last, and nowhere else.

use serde_json::json;

use crate::fixture::{Fixture, Trade, at};

async fn fixture() -> Fixture {
    let fixture = Fixture::new().await;
    let trade = |time, price| Trade {
        time: at(time),
        sequence: 1,
        price,
        size: 100,
    };
    let trades = [
        trade("2024-01-01T00:01:00Z", 1000),
        trade("2024-01-01T00:04:30Z", 1250),
    ];
    fixture.add_trades("A", "UTC", &trades).await;
    fixture
}

#[tokio::test]
async fn a_gap_is_filled_with_the_close_before_or_with_nulls() {
    let fixture = fixture().await;
    let wide = "/v1/candles/A?interval=1m&from=2023-12-31&to=2024-01-02";
    for (fill, closes, filled) in [
        ("none", json!([10, 12.5]), json!([false, false])),
        (
            "null",
            json!([10, null, null, 12.5]),
            json!([false, true, true, false]),
        ),
        (
            "previous",
            json!([10, 10, 10, 12.5]),
            json!([false, true, true, false]),
        ),
    ] {
        let target = format!("{wide}&fill={fill}");
        assert_eq!(
            json!(fixture.column(&target, "close").await),
            closes,
            "{fill}"
        );
        assert_eq!(
            json!(fixture.column(&target, "filled").await),
            filled,
            "{fill}"
        );
    }
    let row = &fixture.json(&format!("{wide}&fill=previous")).await["candles"][1];
    assert_eq!(
        *row,
        json!({
            "open_time": "2024-01-01T00:02:00Z", "close_time": "2024-01-01T00:03:00Z", "open": 10, "high": 10, "low": 10, "close": 10,
            "volume": 0, "turnover": 0, "vwap": null, "trades": 0, "first_time": null, "last_time": null, "complete": true,
            "revision": 0, "updated_at": null, "filled": true,
        })
    );
}

#[tokio::test]
async fn the_close_before_a_page_or_a_range_is_looked_up() {
    let fixture = fixture().await;
    for query in [
        "interval=1m&from=2024-01-01T00:02:00Z&to=2024-01-01T00:04:00Z",
        "interval=1m&to=2024-01-01T00:04:00Z&limit=2",
        "interval=20s&to=2024-01-01T00:02:40Z&limit=2",
    ] {
        let target = format!("/v1/candles/A?fill=previous&{query}");
        assert_eq!(fixture.column(&target, "close").await, [10, 10], "{query}");
    }
    assert!(
        fixture
            .column(
                "/v1/candles/A?fill=previous&interval=1m&to=2024-01-01T00:01:00Z",
                "close"
            )
            .await
            .is_empty()
    );
    assert!(
        fixture
            .column(
                "/v1/candles/A?fill=previous&interval=1m&from=2024-01-01T00:05:00Z",
                "close"
            )
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn of_ticks_at_one_instant_the_last_in_sequence_fills_what_follows() {
    // GIVEN two ticks of one instant, in a symbol that is read by the second
    let fixture = Fixture::new().await;
    let trade = |sequence, price| Trade {
        time: at("2024-01-01T00:01:00Z"),
        sequence,
        price,
        size: 100,
    };
    let later = Trade {
        time: at("2024-01-01T01:00:00Z"),
        ..trade(3, 900)
    };
    fixture
        .add_trades("A", "UTC", &[trade(1, 1000), trade(2, 1100), later])
        .await;
    // WHEN a range after them is filled THEN it is with the second's price
    let target = "/v1/candles/A?interval=20s&from=2024-01-01T00:30:00Z&to=2024-01-01T00:31:00Z&fill=previous";
    assert_eq!(
        json!(fixture.column(target, "close").await),
        json!([11, 11, 11])
    );
}

#[tokio::test]
async fn the_open_bucket_is_told_and_nothing_is_filled_after_the_last_that_is_complete() {
    let fixture = Fixture::new().await;
    loop {
        // GIVEN a tick three minutes ago, and one in the minute that has not ended
        let minute = chrono::Utc::now().timestamp_micros() / 60_000_000;
        let name = format!("A{minute}");
        let trade = |minute: i64, price| Trade {
            time: minute * 60_000_000,
            sequence: 1,
            price,
            size: 100,
        };
        fixture
            .add_trades(
                &name,
                "UTC",
                &[trade(minute - 3, 1000), trade(minute, 1200)],
            )
            .await;
        // WHEN the gap is filled with the open candle and without
        let target = format!("/v1/candles/{name}?interval=1m&fill=previous&to=9999-01-01");
        let without = fixture.column(&target, "filled").await;
        let rows = fixture.json(&format!("{target}&partial=include")).await;
        // THEN the open candle is itself; where the minute ended meanwhile, the next one will do
        if chrono::Utc::now().timestamp_micros() / 60_000_000 != minute {
            continue;
        }
        assert_eq!(json!(without), json!([false, true, true]));
        let told = |field: &str| -> Vec<serde_json::Value> {
            let rows = rows["candles"].as_array().unwrap();
            rows.iter().map(|row| row[field].clone()).collect()
        };
        assert_eq!(json!(told("close")), json!([10, 10, 10, 12]));
        assert_eq!(json!(told("filled")), json!([false, true, true, false]));
        assert_eq!(json!(told("complete")), json!([true, true, true, false]));
        return;
    }
}
