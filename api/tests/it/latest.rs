//! What is newest of symbols agrees with candles and ticks, in one snapshot.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::fixture::{Fixture, Trade, at};

fn trade(time: i64, sequence: i64, price: i64) -> Trade {
    Trade {
        time,
        sequence,
        price,
        size: 150,
    }
}

fn now() -> i64 {
    chrono::Utc::now().timestamp_micros()
}

#[tokio::test]
async fn the_last_tick_its_day_and_the_close_before_are_told() {
    // GIVEN a symbol in Kolkata with ticks on a Friday and the Monday after, two of them at one instant
    let fixture = Fixture::new().await;
    let trades = [
        trade(at("2024-03-08T04:00:00Z"), 1, 10_000),
        trade(at("2024-03-11T04:00:00Z"), 2, 10_100),
        trade(at("2024-03-11T05:00:00.5Z"), 4, 9_900),
        trade(at("2024-03-11T05:00:00.5Z"), 3, 10_200),
    ];
    fixture.add_trades("A", "Asia/Kolkata", &trades).await;
    fixture.add_symbol("NEW", "UTC").await;
    // WHEN it is asked for beside a symbol without ticks and one that is none
    let answer = fixture.get("/v1/latest?symbols=NONE,A,NEW").await;
    // THEN each is there
    assert_eq!(answer.headers["cache-control"], "no-store");
    let body = answer.json();
    let found = &body["latest"]["A"];
    assert!(found["age_ms"].as_i64().unwrap() > 1_000_000_000, "{found}");
    assert_eq!(
        (
            &found["last"],
            &found["previous_close"],
            &found["change"],
            &found["candle"]
        ),
        (
            &json!({"time": "2024-03-11T05:00:00.5Z", "sequence": 4, "price": 99, "size": 1.5}),
            &json!(100),
            &json!(-1),
            &Value::Null
        )
    );
    assert_eq!(
        found["day"],
        json!({
            "date": "2024-03-11", "open_time": "2024-03-10T18:30:00Z", "close_time": "2024-03-11T18:30:00Z",
            "open": 101, "high": 102, "low": 99, "close": 99, "volume": 4.5, "trades": 3, "complete": true,
        })
    );
    assert_eq!(
        body["latest"]["NEW"],
        json!({
            "symbol": "NEW", "timezone": "UTC", "last": null, "candle": null, "previous_close": null, "change": null,
            "day": null, "age_ms": null,
        })
    );
    assert_eq!(body["latest"]["NONE"], Value::Null);
    assert_eq!(
        body["errors"],
        json!([{"parameter": "symbols", "detail": "unknown symbol NONE"}])
    );
    // THEN and decimals come in quotes when they are asked for so
    let quoted = fixture.json("/v1/latest?symbols=A&numbers=string").await;
    assert_eq!(quoted["latest"]["A"]["change"], json!("-1"));
    assert_eq!(quoted["latest"]["A"]["last"]["size"], json!("1.5"));
    assert_eq!(quoted["latest"]["A"]["last"]["sequence"], json!("4"));
}

#[tokio::test]
async fn the_open_candle_is_the_one_that_candles_tell() {
    // GIVEN a symbol with a tick now
    let fixture = Fixture::new().await;
    loop {
        let minute = now() / 60_000_000;
        let name = format!("A{minute}");
        fixture
            .add_trades(
                &name,
                "UTC",
                &[trade(now() - 1, 1, 100), trade(now(), 2, 300)],
            )
            .await;
        // WHEN its open candle is asked for in both ways
        let latest = fixture.json(&format!("/v1/latest?symbols={name}")).await;
        let candles = fixture
            .json(&format!(
                "/v1/candles/{name}?interval=1m&partial=include&limit=1"
            ))
            .await;
        // THEN it is the same; where the minute ended meanwhile, the next one will do
        if now() / 60_000_000 == minute {
            assert_eq!(latest["latest"][&name]["candle"], candles["candles"][0]);
            assert_eq!(latest["latest"][&name]["candle"]["complete"], false);
            return;
        }
    }
}

#[tokio::test]
async fn a_list_of_symbols_is_checked() {
    let fixture = Fixture::with(|config| config.limits.max_symbols = 3).await;
    for (query, detail) in [
        ("", "required"),
        ("symbols=", "empty"),
        ("symbols=A,,B", "empty"),
        ("symbols=A,B,A", "given twice"),
        ("symbols=A,B,C,D", "at most 3"),
        ("symbols=A&interval=1d", "unknown parameter"),
    ] {
        let answer = fixture.get(&format!("/v1/latest?{query}")).await;
        assert_eq!(answer.status, 400, "{query}");
        assert!(answer.text.contains(detail), "{query}: {}", answer.text);
    }
    // What PostgreSQL would refuse is a symbol that is unknown.
    let body = fixture
        .json("/v1/latest?symbols=%00,%27;drop%20table%20symbols")
        .await;
    assert_eq!(body["errors"].as_array().unwrap().len(), 2, "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn symbols_and_their_parts_come_from_one_snapshot() {
    // GIVEN two symbols whose days are changed together, again and again
    let fixture = Arc::new(Fixture::new().await);
    let time = at("2024-01-02T00:00:00Z");
    for name in ["A", "B"] {
        fixture
            .add_trades(name, "UTC", &[trade(time, 1, 100)])
            .await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (fixture, stop) = (fixture.clone(), stop.clone());
        async move {
            while !stop.load(Ordering::Relaxed) {
                fixture
                    .execute("update candles_1d set volume = volume + 1, high = high + 1, revision = revision + 1")
                    .await;
            }
        }
    });
    // WHEN they are asked for meanwhile
    let mut seen = Vec::new();
    for _ in 0..60 {
        let body = fixture.json("/v1/latest?symbols=A,B").await;
        let day = |name: &str| body["latest"][name]["day"].clone();
        // THEN both are of one commit
        assert_eq!(day("A"), day("B"));
        seen.push(day("A")["volume"].to_string());
    }
    stop.store(true, Ordering::Relaxed);
    writer.await.unwrap();
    seen.dedup();
    assert!(seen.len() > 5, "nothing changed meanwhile: {seen:?}");
}
