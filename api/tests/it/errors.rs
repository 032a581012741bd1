//! Every answer that is no success is a problem document, and the server outlives its database.

use api::App;
use api::config::ApiConfig;
use axum::http::Method;
use common::config::DatabaseUrl;
use serde_json::json;

use crate::fixture::{Fixture, Trade, at, send};

#[tokio::test]
async fn all_faults_of_a_request_are_told_with_its_id() {
    let fixture = Fixture::new().await;
    let target = "/v1/candles/A?interval=1mo&limit=0&session=regular&from=1700000000&tz=EST";
    let answer = fixture
        .send(Method::GET, target, &[("x-request-id", "mine-1")])
        .await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    assert_eq!(answer.headers["x-request-id"], "mine-1");
    let body = answer.json();
    assert_eq!(
        (&body["status"], &body["instance"], &body["title"]),
        (&json!(400), &json!("mine-1"), &json!("Bad Request"))
    );
    let mut named = answer.faults();
    named.sort_unstable();
    assert_eq!(named, ["from", "interval", "limit", "session", "tz"]);
    assert!(
        answer.text.contains(r#""hint":"1M""#) && answer.text.contains(r#""hint":"1700000000000""#),
        "{}",
        answer.text
    );
}

#[tokio::test]
async fn a_range_that_is_none_is_told_with_the_other_faults_before_the_symbol_is_looked_up() {
    let fixture = Fixture::with(|config| {
        config.limits.max_span = Some(std::time::Duration::from_hours(24));
    })
    .await;
    let (reversed, long) = (
        "from=2024-01-02&to=2024-01-01",
        "from=2024-01-01T00:00:00Z&to=2024-01-03T00:00:00Z",
    );
    for (target, faults) in [
        (
            format!("/v1/candles/NONE?interval=1x&{reversed}"),
            vec!["interval", "from"],
        ),
        (
            format!("/v1/candles/NONE?interval=1h&{long}&order=up"),
            vec!["from", "order"],
        ),
        (
            format!("/v1/candles?symbols=NONE,TOO&interval=1h&{reversed}"),
            vec!["from"],
        ),
        (
            format!("/v1/candles?symbols=NONE&interval=1h&{long}"),
            vec!["from"],
        ),
        (
            format!("/v1/ticks/NONE?{reversed}&order=up"),
            vec!["from", "order"],
        ),
        (
            "/v1/candles/NONE?interval=1d&limit=2&fill=no".into(),
            vec!["limit", "fill"],
        ),
        // The day begins at 05:00Z there.
        (
            "/v1/ticks/NONE?from=2024-01-01&to=2024-01-01T04:00:00Z&tz=America/New_York".into(),
            vec!["from"],
        ),
    ] {
        let answer = fixture.get(&target).await;
        assert_eq!(answer.status, 400, "{target}: {}", answer.text);
        assert_eq!(answer.faults(), faults, "{target}");
    }
}

#[tokio::test]
async fn a_server_whose_sessions_are_all_at_work_says_so_and_is_ready() {
    // GIVEN two sessions, both of which wait for a lock
    let fixture = Fixture::with(|config| {
        config.database.connect_timeout = std::time::Duration::from_millis(300);
    })
    .await;
    let trade = Trade::new(at("2024-01-01T00:00:00Z"), 1);
    fixture.add_trades("A", "UTC", &[trade]).await;
    let lock = fixture.lock("candles_1d").await;
    let slow: Vec<_> = (0..2)
        .map(|_| {
            let router = fixture.router.clone();
            let target = "/v1/candles/A?interval=1d";
            tokio::spawn(async move { send(&router, Method::GET, target, &[]).await.status })
        })
        .collect();
    fixture.waiting_sessions(2).await;
    // WHEN another request comes, THEN it is told what is short
    let answer = fixture.get("/v1/symbols").await;
    assert_eq!(
        (
            answer.status.as_u16(),
            answer.headers["retry-after"].to_str().unwrap()
        ),
        (503, "1"),
        "{}",
        answer.text
    );
    assert_eq!(answer.json()["type"], "urn:financial-data-api:problem:busy");
    // AND nobody takes the server for one that cannot answer
    assert_eq!(fixture.get("/_healthcheck").await.status, 200);
    let admin = fixture.app.admin_router();
    assert_eq!(send(&admin, Method::GET, "/readyz", &[]).await.status, 200);
    lock.rollback().await.unwrap();
    for slow in slow {
        assert_eq!(slow.await.unwrap(), 200);
    }
}

#[tokio::test]
async fn unknown_symbols_and_paths_and_methods_are_problems() {
    let fixture = Fixture::new().await;
    fixture.add_symbol("EMPTY", "UTC").await;
    for (method, target, status) in [
        (Method::GET, "/v1/candles/NONE?interval=1d", 404),
        (Method::GET, "/v1/candles/%00?interval=1d", 404),
        (Method::GET, "/v1/candles/%ff?interval=1d", 404),
        (Method::GET, "/v1/symbols/NONE", 404),
        (Method::GET, "/v1/nothing", 404),
        (Method::GET, "/", 404),
        (Method::POST, "/v1/symbols", 405),
        (Method::DELETE, "/stocks/time-series/A", 405),
        (
            Method::GET,
            "/v1/candles/EMPTY?interval=1d&from=2024-01-02&to=2024-01-01",
            400,
        ),
        (
            Method::GET,
            "/v1/candles/EMPTY?interval=1d&interval=1d",
            400,
        ),
    ] {
        let answer = fixture.send(method.clone(), target, &[]).await;
        assert_eq!(answer.status, status, "{target}");
        let body = answer.json();
        assert_eq!(
            (&body["status"], &body["instance"]),
            (
                &json!(status),
                &json!(answer.headers["x-request-id"].to_str().unwrap())
            ),
            "{target}"
        );
        assert_eq!(
            answer.headers.get("allow").map(|v| v.to_str().unwrap()),
            (status == 405).then_some("GET, HEAD, OPTIONS")
        );
    }
    let long = format!("/v1/symbols?q={}", "x".repeat(9_000));
    let answer = fixture.get(&long).await;
    let body = answer.json();
    assert_eq!(
        (answer.status.as_u16(), &body["type"], &body["status"]),
        (
            414,
            &json!("urn:financial-data-api:problem:target-too-long"),
            &json!(414)
        )
    );

    let head = fixture.send(Method::HEAD, "/v1/symbols", &[]).await;
    assert_eq!((head.status.as_u16(), head.text.as_str()), (200, ""));
    let head = fixture.send(Method::HEAD, "/v1/symbols/NONE", &[]).await;
    assert_eq!((head.status.as_u16(), head.text.as_str()), (404, ""));
    assert_eq!(
        fixture
            .send(Method::OPTIONS, "/v1/symbols", &[])
            .await
            .status,
        204
    );
}

#[tokio::test]
async fn a_known_symbol_without_candles_in_the_range_is_no_error() {
    let fixture = Fixture::new().await;
    fixture.add_symbol("EMPTY", "Asia/Kolkata").await;
    let trade = Trade {
        time: at("2024-01-01T00:00:30Z"),
        sequence: 1,
        price: 100,
        size: 0,
    };
    fixture.add_trades("A", "UTC", &[trade]).await;
    assert_eq!(
        fixture.json("/v1/candles/EMPTY?interval=60m").await,
        json!({
            "symbol": "EMPTY", "interval": "60m", "tz": "Asia/Kolkata", "from": null, "to": null, "fill": "none", "as_of": null,
            "available": {"first": null, "last": null}, "candles": [], "next_cursor": null,
        })
    );
    let body = fixture
        .json("/v1/candles/A?interval=1h&from=2020-01-01&to=2020-01-02")
        .await;
    assert_eq!(
        (&body["from"], &body["candles"]),
        (&json!("2020-01-01"), &json!([]))
    );
    assert_eq!(
        body["available"],
        json!({"first": "2024-01-01T00:00:00Z", "last": "2024-01-01T00:00:00Z"})
    );
    // Without volume there is no average price.
    assert_eq!(
        fixture.column("/v1/candles/A?interval=1h", "vwap").await,
        [serde_json::Value::Null]
    );
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_504() {
    // GIVEN a lock that readers wait for, and a short limit
    let fixture = Fixture::new().await;
    fixture
        .execute("alter role market_data_api set lock_timeout = 0")
        .await;
    let mut lock = fixture.lock("symbols").await;
    let mut config = ApiConfig::default();
    let name: String = sqlx::query_scalar("select current_database()")
        .fetch_one(&mut *lock)
        .await
        .unwrap();
    let port: String = sqlx::query_scalar("select current_setting('port')")
        .fetch_one(&mut *lock)
        .await
        .unwrap();
    config.database.url = DatabaseUrl::new(&format!(
        "postgres://market_data_api@127.0.0.1:{port}/{name}"
    ));
    config.database.statement_timeout = std::time::Duration::from_millis(200);
    let app = App::new(&config).unwrap();
    // WHEN a read meets it
    let answer = send(&app.router(), Method::GET, "/v1/symbols", &[]).await;
    // THEN
    assert_eq!(answer.status, 504, "{}", answer.text);
    assert!(!answer.text.contains("statement"), "{}", answer.text);
}

#[tokio::test]
async fn a_database_that_is_away_is_503_and_not_ready() {
    // GIVEN a port that nobody listens on
    let mut config = ApiConfig::default();
    let port = testbed::ports::free().unwrap();
    config.database.url = DatabaseUrl::new(&format!("postgres://nobody@127.0.0.1:{port}/nothing"));
    config.database.connect_timeout = std::time::Duration::from_millis(200);
    let app = App::new(&config).unwrap();
    // WHEN and THEN
    for target in [
        "/v1/symbols",
        "/v1/candles/A?interval=1d",
        "/stocks/time-series/A",
    ] {
        let answer = send(&app.router(), Method::GET, target, &[]).await;
        assert_eq!(
            (
                answer.status.as_u16(),
                answer.headers["retry-after"].to_str().unwrap()
            ),
            (503, "1"),
            "{target}: {}",
            answer.text
        );
        if target.starts_with("/v1") {
            assert_eq!(
                answer.json()["type"],
                "urn:financial-data-api:problem:database-away"
            );
        }
    }
    let answer = send(&app.router(), Method::GET, "/_healthcheck", &[]).await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (503, ""));
    assert_eq!(
        send(&app.admin_router(), Method::GET, "/readyz", &[])
            .await
            .status,
        503
    );
    assert_eq!(
        send(&app.admin_router(), Method::GET, "/livez", &[])
            .await
            .status,
        200
    );
    let metrics = send(&app.admin_router(), Method::GET, "/metrics", &[]).await;
    assert!(metrics.text.contains("api_ready 0"), "{}", metrics.text);
}

#[tokio::test]
async fn health_and_metrics_tell_of_requests() {
    let fixture = Fixture::new().await;
    let health = fixture.get("/_healthcheck").await;
    assert_eq!((health.status.as_u16(), health.text.as_str()), (200, ""));
    fixture.get("/v1/candles/NONE?interval=1d").await;
    fixture.get("/v1/whatever").await;
    let metrics = send(&fixture.app.admin_router(), Method::GET, "/metrics", &[])
        .await
        .text;
    for line in [
        r#"api_http_request_duration_seconds_count{method="GET",route="/v1/candles/{symbol}",status="404"} 1"#,
        r#"api_http_request_duration_seconds_count{method="GET",route="unmatched",status="404"} 1"#,
        "api_database_connections_max 2",
        "api_ready 1",
        r#"api_exports_total{outcome="complete"} 0"#,
        "api_connections_refused_total 0",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
    assert_eq!(
        send(&fixture.app.admin_router(), Method::GET, "/readyz", &[])
            .await
            .status,
        200
    );
}
