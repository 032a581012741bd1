//! A whole range goes out in constant memory: it equals its pages, it is broken off where it cannot be told to its end,
//! and it takes no session from short answers.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, Response, StatusCode, Version};
use testbed::eventually;
use tower::ServiceExt as _;

use crate::fixture::{Fixture, Trade, at, send};

const MINUTES: i64 = 12_000;

/// So many minutes with a trade each, but for every seventh.
async fn fill(fixture: &Fixture) {
    let start = at("2024-01-01T00:00:00Z");
    let trades: Vec<Trade> = (0..MINUTES)
        .filter(|minute| minute % 7 != 3)
        .map(|minute| Trade {
            time: start + minute * 60_000_000,
            sequence: minute,
            price: 100 + minute,
            size: 100,
        })
        .collect();
    fixture.add_trades("A", "UTC", &trades).await;
}

/// The lines of all pages.
async fn paged(fixture: &Fixture, target: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut next = format!("{target}&limit=2999");
    loop {
        let answer = fixture.get(&next).await;
        assert_eq!(answer.status, 200, "{next}: {}", answer.text);
        lines.extend(answer.text.lines().map(ToOwned::to_owned));
        let Some(link) = answer.headers.get("link") else {
            return lines;
        };
        let link = link.to_str().unwrap().split_once('>').unwrap();
        link.0[1..].clone_into(&mut next);
        assert!(lines.len() <= 20_000, "{target} does not end");
    }
}

async fn ask(fixture: &Fixture, target: &str) -> Response<Body> {
    let request = Request::builder().uri(target).body(Body::empty()).unwrap();
    fixture.router.clone().oneshot(request).await.unwrap()
}

#[tokio::test]
async fn an_export_equals_its_pages() {
    let fixture = Fixture::new().await;
    fill(&fixture).await;
    for target in [
        "/v1/candles/A?interval=1m&format=ndjson&from=2024-01-01",
        "/v1/candles/A?interval=1m&format=ndjson&from=2024-01-01&fill=previous",
        "/v1/candles/A?interval=1m&format=ndjson&order=desc",
        "/v1/candles/A?interval=30s&format=ndjson&from=2024-01-01&to=2024-01-09",
        "/v1/candles/A?interval=1m&format=ndjson&from=2024-01-01&fill=null&indicators=sma:9,ema:7,vwap,stochrsi",
        "/v1/candles/A?interval=1m&format=ndjson&order=desc&indicators=sma:9,ema:7,vwap,stochrsi",
        "/v1/ticks/A?format=ndjson&from=2024-01-01",
        "/v1/ticks/A?format=ndjson&order=desc&to=2024-01-09T00:00:01Z",
    ] {
        let whole = fixture.get(target).await;
        assert_eq!(whole.status, 200, "{target}: {}", whole.text);
        assert!(!whole.headers.contains_key("link"), "{target}");
        let lines: Vec<&str> = whole.text.lines().collect();
        assert!(lines.len() > 9_000, "{target}: {}", lines.len());
        assert_eq!(lines, paged(&fixture, target).await, "{target}");
    }
    // Without a beginning it tells all there is, oldest first.
    let all = fixture.get("/v1/candles/A?interval=1m&format=csv").await;
    assert_eq!(
        all.text.lines().nth(1).unwrap().split(',').next(),
        Some("2024-01-01T00:00:00Z")
    );
    assert_eq!(all.text.lines().count(), 1 + 10_286);
}

#[tokio::test]
async fn an_export_has_a_tag_and_is_not_sent_again() {
    let fixture = Fixture::new().await;
    fill(&fixture).await;
    let target = "/v1/candles/A?interval=1m&format=csv";
    let whole = fixture.get(target).await;
    let tag = whole.headers["etag"].to_str().unwrap().to_owned();
    let again = async || {
        let headers = [("if-none-match", tag.as_str())];
        fixture
            .send(axum::http::Method::GET, target, &headers)
            .await
    };
    let answer = again().await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (304, ""));
    assert_eq!(answer.headers["etag"], tag);
    // It may be larger than the whole store of nginx.
    assert_eq!(whole.headers["x-accel-expires"], "0");
    fixture
        .execute("update symbols set version = version + 1, changed_at = clock_timestamp()")
        .await;
    assert_eq!(again().await.status, 200);
}

#[tokio::test]
async fn an_export_longer_than_the_cap_is_broken_off() {
    // GIVEN a cap that the rows just reach, and one below
    for (cap, whole) in [
        (10_287, true),
        (10_286, true),
        (10_285, false),
        (5_000, false),
    ] {
        let fixture = Fixture::with(|config| config.limits.max_export_rows = cap).await;
        fill(&fixture).await;
        for format in ["csv", "ndjson", "arrow", "parquet"] {
            // WHEN all are asked for
            let response = ask(
                &fixture,
                &format!("/v1/candles/A?interval=1m&format={format}"),
            )
            .await;
            assert_eq!(response.status(), 200);
            let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
            // THEN the body ends only when it is whole
            assert_eq!(body.is_ok(), whole, "{cap} {format}");
        }
        assert_eq!(fixture.get("/v1/candles/A?interval=1m").await.status, 200);
    }
}

#[tokio::test]
async fn exports_leave_sessions_to_short_answers_and_give_theirs_back() {
    // GIVEN two sessions, one of which an export may have, and a client that does not read
    let fixture = Fixture::new().await;
    fill(&fixture).await;
    let target = "/v1/ticks/A?format=csv";
    let slow = ask(&fixture, target).await;
    assert_eq!(slow.status(), 200);
    // WHEN another export is asked for, THEN it has to wait, and a page has not
    let refused = fixture.get(target).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(
        refused.json()["type"],
        "urn:financial-data-api:problem:too-many-exports"
    );
    assert_eq!(fixture.get("/v1/ticks/A").await.status, 200);
    assert_eq!(
        fixture.get("/v1/ticks/A?format=csv&limit=5").await.status,
        200
    );
    // WHEN the client goes away, THEN another one has its turn
    drop(slow);
    eventually("the session is free", Duration::from_secs(30), async || {
        let answer = fixture.get(target).await;
        if answer.status == 200 {
            Ok(())
        } else {
            Err(answer.text)
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_range_that_waits_for_its_place_holds_no_session() {
    // GIVEN two sessions, one of which an export may have, and one that waits for a lock
    let fixture = Fixture::new().await;
    fill(&fixture).await;
    let mut lock = fixture.pool.begin().await.unwrap();
    sqlx::query("lock table candles_1m in access exclusive mode")
        .execute(&mut *lock)
        .await
        .unwrap();
    let target = "/v1/candles/A?interval=1m&format=csv";
    let router = fixture.router.clone();
    let first = tokio::spawn(async move { send(&router, Method::GET, target, &[]).await.status });
    fixture.waiting_sessions(1).await;
    // WHEN others come, THEN they are refused without one, and a page is answered
    assert_eq!(fixture.get(target).await.status, 429);
    assert_eq!(fixture.get("/v1/symbols").await.status, 200);
    // WHEN the lock is gone, THEN the first is told, and then a short range, which gives its place back
    lock.rollback().await.unwrap();
    assert_eq!(first.await.unwrap(), 200);
    for _ in 0..3 {
        let short = format!("{target}&from=2024-01-01&to=2024-01-02");
        assert_eq!(fixture.get(&short).await.status, 200);
    }
}

#[tokio::test]
async fn http_1_0_is_told_pages_only() {
    // GIVEN a client to which the end of the connection is the end of the answer
    let fixture = Fixture::new().await;
    fill(&fixture).await;
    let ask = async |target: &str| {
        let request = Request::builder().version(Version::HTTP_10).uri(target);
        let request = request.body(Body::empty()).unwrap();
        let response = fixture.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
        (
            status.as_u16(),
            String::from_utf8(body.unwrap().to_vec()).unwrap(),
        )
    };
    for target in [
        "/v1/candles/A?interval=1m&format=csv",
        "/v1/ticks/A?format=ndjson",
    ] {
        // WHEN it asks for a whole range, THEN it is told what to ask for
        let (status, text) = ask(target).await;
        assert_eq!(status, 400, "{text}");
        assert!(text.contains(r#""parameter":"limit""#), "{text}");
        // AND gets that
        assert_eq!(ask(&format!("{target}&limit=5")).await.0, 200);
    }
}

/// Waits until an export ended so.
async fn ended(fixture: &Fixture, outcome: &str) {
    let line = format!("api_exports_total{{outcome=\"{outcome}\"}} 1");
    eventually("the end is counted", Duration::from_secs(30), async || {
        let metrics = send(&fixture.app.admin_router(), Method::GET, "/metrics", &[]).await;
        if metrics.text.contains(&line) {
            Ok(())
        } else {
            Err(metrics.text)
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn how_an_export_ended_is_counted() {
    let target = "/v1/candles/A?interval=1m&fill=null&format=ndjson";
    // GIVEN one that is read to its end
    let fixture = Fixture::new().await;
    fill(&fixture).await;
    assert_eq!(fixture.get(target).await.status, 200);
    ended(&fixture, "complete").await;
    // AND one whose client goes away
    drop(ask(&fixture, target).await);
    ended(&fixture, "client_gone").await;
    // AND one that fails
    let open = ask(&fixture, target).await;
    fixture
        .execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'market_data_api' and datname = current_database()")
        .await;
    let body = axum::body::to_bytes(open.into_body(), usize::MAX).await;
    assert!(body.is_err());
    ended(&fixture, "failed").await;
    // AND one with more rows than there may be
    let fixture = Fixture::with(|config| config.limits.max_export_rows = 5_000).await;
    fill(&fixture).await;
    let body = axum::body::to_bytes(ask(&fixture, target).await.into_body(), usize::MAX).await;
    assert!(body.is_err());
    ended(&fixture, "row_limit").await;
    // AND one that takes too long, whose client is not to blame
    let fixture =
        Fixture::with(|config| config.limits.export_timeout = Duration::from_millis(300)).await;
    fill(&fixture).await;
    let _unread = ask(&fixture, target).await;
    ended(&fixture, "deadline").await;
    // AND one whose client does not read
    let fixture =
        Fixture::with(|config| config.http.request_timeout = Duration::from_millis(300)).await;
    fill(&fixture).await;
    let _unread = ask(&fixture, target).await;
    ended(&fixture, "slow_client").await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_given_up() {
    // GIVEN little patience, and a client that does not read
    let fixture =
        Fixture::with(|config| config.http.request_timeout = Duration::from_millis(300)).await;
    fill(&fixture).await;
    let target = "/v1/candles/A?interval=1m&fill=null&format=ndjson";
    let slow = ask(&fixture, target).await;
    assert_eq!(slow.status(), 200);
    // WHEN its time is up, THEN the session is free while it is still there
    eventually("the session is free", Duration::from_secs(30), async || {
        let answer = ask(&fixture, target).await;
        if answer.status() == 200 {
            Ok(())
        } else {
            Err(answer.status())
        }
    })
    .await
    .unwrap();
    // AND it sees that its answer is none
    assert!(
        axum::body::to_bytes(slow.into_body(), usize::MAX)
            .await
            .is_err()
    );
}
