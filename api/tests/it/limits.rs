//! Caps hold, and `/v1/limits` tells those that hold.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::json;
use tower::ServiceExt as _;

use crate::fixture::{Fixture, Trade, at, send};

#[tokio::test]
async fn the_limits_that_are_told_are_those_that_hold() {
    // GIVEN an api with caps of its own
    let fixture = Fixture::with(|config| {
        config.limits.max_rows = 20;
        config.limits.max_symbols = 3;
        config.limits.max_span = Some(Duration::from_hours(48));
        config.http.request_timeout = Duration::from_secs(7);
    })
    .await;
    fixture.add_symbol("A", "UTC").await;
    let old = Trade::new(at("2024-01-01T00:00:00Z"), 1);
    fixture.add_trades("B", "UTC", &[old]).await;
    // WHEN it is asked for them
    let limits = fixture.json("/v1/limits").await;
    // THEN they are all told
    assert_eq!(
        limits,
        json!({
            "default_rows": 20, "max_rows": 20, "max_symbols": 3, "max_span_ms": 172_800_000, "max_concurrent": null,
            "max_exports": 1, "max_export_rows": 10_000_000, "export_timeout_ms": 600_000,
            "max_indicators": 20, "max_indicator_period": 1_000,
            "max_interval_counts": {
                "s": 86_399, "m": 1_439, "h": 23, "d": 10_000, "w": 1_000, "M": 1_200, "q": 1_000, "y": 1_000,
            },
            "max_connections": 1_000, "header_timeout_ms": 60_000, "write_timeout_ms": 30_000,
            "max_unread_bytes": 67_108_864,
            "max_target_bytes": 8_192, "request_timeout_ms": 7_000, "statement_timeout_ms": 7_000,
        })
    );
    // THEN and each refuses the first request beyond it
    let target = |bytes: usize| format!("{:x<bytes$}", "/v1/symbols?q=");
    let indicators = |count: u32| {
        let keys: Vec<String> = (1..=count).map(|n| format!("sma:{n}")).collect();
        format!("/v1/candles/A?interval=1d&indicators={}", keys.join(","))
    };
    for (within, beyond, status) in [
        ("/v1/symbols?limit=20", "/v1/symbols?limit=21", 400),
        (
            "/v1/candles/A?interval=1h&limit=20",
            "/v1/candles/A?interval=1h&limit=21",
            400,
        ),
        // Without a beginning a range is as long as its candles.
        (
            "/v1/candles/A?interval=1d&limit=2",
            "/v1/candles/A?interval=1d&limit=3",
            400,
        ),
        (
            "/v1/candles/A?interval=1d",
            "/v1/candles/A?interval=1d&limit=20",
            400,
        ),
        (
            "/v1/candles/A?interval=10000d",
            "/v1/candles/A?interval=10001d",
            400,
        ),
        (
            "/v1/candles/A?interval=1d&from=2024-01-01&to=2024-01-03",
            "/v1/candles/A?interval=1d&from=2024-01-01&to=2024-01-03T00:00:01Z",
            400,
        ),
        (
            "/v1/ticks/A?from=2024-01-01&to=2024-01-03",
            "/v1/ticks/A?from=2024-01-01&to=2024-01-03T00:00:01Z",
            400,
        ),
        ("/v1/ticks/A?limit=20", "/v1/ticks/A?limit=21", 400),
        // Without a limit it is as long as all there is.
        (
            "/v1/candles/B?interval=1d&format=csv&limit=2",
            "/v1/candles/B?interval=1d&format=csv",
            400,
        ),
        (&*indicators(20), &*indicators(21), 400),
        (
            "/v1/candles/A?interval=1d&indicators=sma:1000",
            "/v1/candles/A?interval=1d&indicators=sma:1001",
            400,
        ),
        (
            "/v1/ticks/B?format=csv&limit=20",
            "/v1/ticks/B?format=csv",
            400,
        ),
        (&*target(8_192), &*target(8_193), 414),
    ] {
        assert_eq!(fixture.get(within).await.status, 200, "{within}");
        assert_eq!(fixture.get(beyond).await.status, status, "{beyond}");
    }
}

#[tokio::test]
async fn by_default_nothing_caps_spans_and_requests_under_way() {
    let fixture = Fixture::new().await;
    let limits = fixture.json("/v1/limits").await;
    assert_eq!(
        (
            &limits["max_span_ms"],
            &limits["max_concurrent"],
            &limits["max_rows"]
        ),
        (&json!(null), &json!(null), &json!(10_000))
    );
}

#[tokio::test]
async fn one_request_too_many_is_told_to_come_again_and_takes_no_connection() {
    // GIVEN an api that answers one request at a time, and a lock that its answer waits for
    let fixture = Fixture::with(|config| config.limits.max_concurrent = Some(1)).await;
    let lock = fixture.lock("symbols").await;
    let router = fixture.router.clone();
    let first =
        tokio::spawn(async move { send(&router, Method::GET, "/v1/symbols", &[]).await.status });
    fixture.waiting_sessions(1).await;
    // WHEN another comes
    let second = fixture.get("/v1/symbols").await;
    // THEN it is refused at once
    assert_eq!(
        (
            second.status.as_u16(),
            second.headers["retry-after"].to_str().unwrap()
        ),
        (429, "1"),
        "{}",
        second.text
    );
    assert_eq!(
        second.json()["type"],
        "urn:financial-data-api:problem:too-many-requests"
    );
    // THEN and the first is answered, and then there is room again
    lock.rollback().await.unwrap();
    assert_eq!(first.await.unwrap(), 200);
    assert_eq!(fixture.get("/v1/symbols").await.status, 200);
}

#[tokio::test]
async fn a_request_is_under_way_until_its_answer_is_sent() {
    // GIVEN an api that answers one request at a time
    let fixture = Fixture::with(|config| config.limits.max_concurrent = Some(1)).await;
    // WHEN an answer is there and not taken yet
    let request = Request::builder().uri("/v1/limits").body(Body::empty());
    let answer = fixture.router.clone().oneshot(request.unwrap()).await;
    let answer = answer.unwrap();
    assert_eq!(answer.status(), 200);
    // THEN another request has no room, and a probe needs none
    assert_eq!(fixture.get("/v1/limits").await.status, 429);
    assert_eq!(fixture.get("/_healthcheck").await.status, 200);
    // WHEN it was taken or given up, THEN there is room
    let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await;
    assert!(!body.unwrap().is_empty());
    assert_eq!(fixture.get("/v1/limits").await.status, 200);
}

#[tokio::test]
async fn a_statement_that_times_out_gives_its_connection_back() {
    // GIVEN an api with one session, short patience, and a lock that its answers wait for
    let fixture = Fixture::with(|config| {
        config.database.max_connections = 2;
        config.database.statement_timeout = Duration::from_millis(100);
    })
    .await;
    let trade = Trade::new(at("2024-01-01T00:00:00Z"), 1);
    fixture.add_trades("A", "UTC", &[trade]).await;
    let lock = fixture.lock("candles_1d").await;
    // WHEN more requests than it has sessions run into it, one after another
    for _ in 0..6 {
        let answer = fixture.get("/v1/candles/A?interval=1d").await;
        assert_eq!(answer.status, 504, "{}", answer.text);
        assert_eq!(answer.headers["cache-control"], "no-store");
    }
    // THEN those that come after are answered
    lock.rollback().await.unwrap();
    for _ in 0..6 {
        assert_eq!(fixture.get("/v1/candles/A?interval=1d").await.status, 200);
    }
}

#[tokio::test]
async fn the_age_of_the_newest_change_is_told_beside_the_answer() {
    // GIVEN a symbol that changed an hour ago, and one that never did
    let fixture = Fixture::new().await;
    let trade = Trade::new(at("2024-01-01T00:00:00Z"), 1);
    fixture.add_trades("A", "UTC", &[trade]).await;
    fixture.add_symbol("NEW", "UTC").await;
    fixture
        .execute("update symbols set changed_at = clock_timestamp() - interval '1 hour' where symbol = 'A'")
        .await;
    for target in [
        "/v1/candles/A?interval=1d",
        "/v1/candles?symbols=NEW,A&interval=1d",
        "/v1/ticks/A",
        "/v1/latest?symbols=NEW,A",
        "/v1/symbols/A",
    ] {
        // WHEN and THEN
        let answer = fixture.get(target).await;
        let lag: u64 = answer.headers["x-data-lag-ms"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!((3_600_000..3_660_000).contains(&lag), "{target}: {lag}");
        let Some(tag) = answer.headers.get("etag") else {
            assert!(target.starts_with("/v1/latest"), "{target}");
            continue;
        };
        let tag = tag.to_str().unwrap().to_owned();
        let again = fixture
            .send(Method::GET, target, &[("if-none-match", &tag)])
            .await;
        assert_eq!(
            (
                again.status.as_u16(),
                again.headers.contains_key("x-data-lag-ms")
            ),
            (304, true)
        );
    }
    let answer = fixture.get("/v1/symbols/NEW").await;
    assert!(!answer.headers.contains_key("x-data-lag-ms"));
}
