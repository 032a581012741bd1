//! A tag changes whenever the body does, a known one is answered by 304, and `Cache-Control` says how
//! long an answer holds.

use std::time::Duration;

use api::App;
use api::config::ApiConfig;
use axum::http::Method;
use chrono::{SecondsFormat, Utc};
use common::config::DatabaseUrl;
use testbed::eventually;

use crate::fixture::{Answer, Fixture, Trade, at, header, send};

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;
const RAISE: &str = "update symbols set version = version + 1, changed_at = clock_timestamp()";
const SETTLED: &str = "public, max-age=60, stale-while-revalidate=60, stale-if-error=86400";

fn trade(time: i64) -> Trade {
    Trade::new(time, 1)
}

/// Ten hours of 2024-01-01, one trade in each.
async fn fixture() -> Fixture {
    let fixture = Fixture::new().await;
    let start = at("2024-01-01T00:00:00Z");
    let trades: Vec<Trade> = (0..10).map(|n| trade(start + n * HOUR)).collect();
    fixture.add_trades("A", "UTC", &trades).await;
    fixture
}

async fn get_if(fixture: &Fixture, target: &str, tag: &str) -> Answer {
    fixture
        .send(Method::GET, target, &[("if-none-match", tag)])
        .await
}

#[tokio::test]
async fn a_known_tag_is_answered_by_304_on_every_route() {
    let fixture = fixture().await;
    for target in [
        "/stocks/time-series/A",
        "/stocks/time-series/A?interval=1&frequency=Annual",
        "/stocks/time-series/NONE",
        "/v1/candles/A?interval=1h",
        "/v1/candles/A?interval=20s&fill=previous&limit=5",
        "/v1/candles/A?interval=1w&partial=include",
        "/v1/candles/A?interval=1d&indicators=ema:2",
        "/v1/indicators",
        "/v1/limits",
        "/openapi.json",
        "/v1/symbols",
        "/v1/symbols/A",
    ] {
        let whole = fixture.get(target).await;
        let tag = header(&whole, "etag").to_owned();
        assert!(
            tag.starts_with('"') && tag.ends_with('"') && tag.len() > 30,
            "{target}: {tag}"
        );
        assert_eq!(
            header(&whole, "vary"),
            "Accept, Accept-Encoding",
            "{target}"
        );

        for given in [tag.clone(), format!("\"x\", W/{tag}"), "*".to_owned()] {
            for method in [Method::GET, Method::HEAD] {
                let answer = fixture
                    .send(method, target, &[("if-none-match", given.as_str())])
                    .await;
                assert_eq!(
                    (answer.status.as_u16(), answer.text.as_str()),
                    (304, ""),
                    "{target}"
                );
                for name in ["etag", "cache-control", "vary"] {
                    assert_eq!(
                        header(&answer, name),
                        header(&whole, name),
                        "{target} {name}"
                    );
                }
                assert!(!header(&answer, "x-request-id").is_empty());
                assert_eq!(header(&answer, "content-type"), "", "{target}");
            }
        }
        let head = fixture.send(Method::HEAD, target, &[]).await;
        assert_eq!((head.status.as_u16(), head.text.as_str()), (200, ""));
        assert_eq!(header(&head, "etag"), tag);
        assert_eq!(
            header(&head, "content-length"),
            whole.text.len().to_string()
        );
        assert_eq!(get_if(&fixture, target, "\"other\"").await.text, whole.text);
    }
}

#[tokio::test]
async fn a_change_of_the_body_changes_the_tag_and_a_change_elsewhere_does_not() {
    // GIVEN the tags of a range, of one beside it and of the days
    let fixture = fixture().await;
    let range = "/v1/candles/A?interval=1h&from=2024-01-01T02:00:00Z&to=2024-01-01T05:00:00Z";
    let beside = "/v1/candles/A?interval=1h&from=2024-01-01T05:00:00Z&to=2024-01-01T08:00:00Z";
    let days = "/stocks/time-series/A";
    let mut tags = Vec::new();
    for target in [range, beside, days] {
        tags.push(header(&fixture.get(target).await, "etag").to_owned());
    }
    // WHEN candles of the range change
    fixture
        .execute(
            "update candles_1h set high = 7, revision = 2 where open_time = '2024-01-01T03:00:00Z'",
        )
        .await;
    fixture
        .execute("update candles_1d set high = 7, revision = 2")
        .await;
    fixture.execute(RAISE).await;
    // THEN the old tag of what holds them is worth nothing, and the one beside it still holds
    for (target, tag, status) in [
        (range, &tags[0], 200),
        (beside, &tags[1], 304),
        (days, &tags[2], 200),
    ] {
        let answer = get_if(&fixture, target, tag).await;
        assert_eq!(answer.status, status, "{target}");
        assert_eq!(header(&answer, "etag") == tag, status == 304, "{target}");
        assert_eq!(
            answer.text.contains(r#""high":7"#),
            status == 200,
            "{}",
            answer.text
        );
    }
    // AND a symbol that comes to be is not the unknown one
    let unknown = fixture.get("/stocks/time-series/B").await;
    fixture
        .add_trades("B", "UTC", &[trade(at("2024-01-01T00:00:00Z"))])
        .await;
    let answer = get_if(&fixture, "/stocks/time-series/B", header(&unknown, "etag")).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn another_number_of_rows_by_default_is_another_tag() {
    // GIVEN the tags of an api, and one with smaller pages beside it
    let fixture = fixture().await;
    let mut config = ApiConfig::default();
    config.database.url = DatabaseUrl::new(&fixture.url().await);
    config.limits.max_rows = 2;
    let other = App::new(&config).unwrap().router();
    for target in [
        "/v1/candles/A?interval=1h",
        "/v1/candles?symbols=A&interval=1h",
        "/v1/ticks/A",
    ] {
        let tag = header(&fixture.get(target).await, "etag").to_owned();
        // WHEN that one is asked with the tag, THEN its own page is told
        let headers = [("if-none-match", tag.as_str())];
        let answer = send(&other, Method::GET, target, &headers).await;
        assert_eq!(answer.status, 200, "{target}");
    }
}

#[tokio::test]
async fn another_zone_of_the_symbol_is_another_tag() {
    let fixture = fixture().await;
    let target = "/v1/candles/A?interval=1h";
    let tag = header(&fixture.get(target).await, "etag").to_owned();
    fixture
        .execute("update symbols set timezone = 'Asia/Kolkata'")
        .await;
    assert_eq!(get_if(&fixture, target, &tag).await.status, 200);
}

#[tokio::test]
async fn a_304_of_unchanged_data_reads_no_candles() {
    // GIVEN a tag
    let fixture = fixture().await;
    let target = "/v1/candles/A?interval=1h";
    let tag = header(&fixture.get(target).await, "etag").to_owned();
    // WHEN nobody can read hours
    let mut lock = fixture.pool.begin().await.unwrap();
    sqlx::query("lock table candles_1h in access exclusive mode")
        .execute(&mut *lock)
        .await
        .unwrap();
    // THEN the tag is answered all the same
    let answer = tokio::time::timeout(Duration::from_secs(5), get_if(&fixture, target, &tag));
    assert_eq!(answer.await.unwrap().status, 304);
}

#[tokio::test]
async fn the_end_of_a_candle_changes_the_tag_though_no_tick_comes() {
    // GIVEN a tick in a bucket that ends in some seconds, and what is told of it before
    let fixture = Fixture::new().await;
    let soon = Utc::now().timestamp_micros() + 5_000_000;
    fixture.add_trades("A", "UTC", &[trade(soon)]).await;
    let bucket = "/v1/candles/A?interval=1s&to=9999-01-01";
    let both = [format!("{bucket}&partial=include"), bucket.to_owned()];
    let mut before = Vec::new();
    for target in &both {
        before.push(fixture.get(target).await);
    }
    assert!(
        before[0].text.contains(r#""complete":false"#),
        "{}",
        before[0].text
    );
    assert!(
        before[1].text.contains(r#""candles":[]"#),
        "{}",
        before[1].text
    );
    for (target, before) in both.iter().zip(&before) {
        // WHEN its end passes, THEN the old tag no longer holds, with and without open candles
        let after = eventually("the tag changes", Duration::from_mins(1), async || {
            let answer = get_if(&fixture, target, header(before, "etag")).await;
            let whole = fixture.get(target).await;
            // What 304 stands for is what is told now.
            if answer.status == 304 && whole.text != before.text {
                let again = get_if(&fixture, target, header(before, "etag")).await;
                assert_eq!(again.status, 200, "{}", whole.text);
            }
            if answer.status == 200 {
                Ok(answer)
            } else {
                Err("304")
            }
        })
        .await
        .unwrap();
        assert!(after.text.contains(r#""complete":true"#), "{}", after.text);
    }
}

#[tokio::test]
async fn cache_control_follows_the_end_of_the_range() {
    // GIVEN trades 40, 20 and 0 days ago
    let fixture = Fixture::new().await;
    let now = Utc::now();
    let ago = |days: i64| trade(now.timestamp_micros() - days * DAY);
    fixture
        .add_trades("A", "UTC", &[ago(40), ago(39), ago(20), ago(0)])
        .await;
    let before =
        |days: i64| (now - chrono::Duration::days(days)).to_rfc3339_opts(SecondsFormat::Secs, true);
    let candles = "/v1/candles/A?interval=1h";
    let page = fixture.json(&format!("{candles}&limit=1&order=desc")).await;
    let older = format!(
        "{candles}&limit=1&order=desc&cursor={}",
        page["next_cursor"].as_str().unwrap()
    );
    for (target, expected) in [
        (format!("{candles}&to={}", before(31)), SETTLED),
        (
            format!("{candles}&to={}&partial=include", before(31)),
            SETTLED,
        ),
        (
            format!("{candles}&from={}&to={}", before(50), before(45)),
            SETTLED,
        ),
        // The page before a cursor ends where the page after it began.
        (older, "no-cache"),
        (format!("{candles}&to={}", before(29)), "no-cache"),
        (candles.to_owned(), "no-cache"),
        (format!("{candles}&to=9999-01-01"), "no-cache"),
        // Without an end new candles may come, however old the last one is.
        (format!("{candles}&from={}&limit=1", before(50)), "no-cache"),
        (format!("{candles}&partial=include"), "public, max-age=1"),
        (
            format!("{candles}&partial=include&to=9999-01-01"),
            "public, max-age=1",
        ),
        ("/stocks/time-series/A".into(), "public, max-age=1"),
        ("/stocks/time-series/NONE".into(), "public, max-age=1"),
        ("/v1/symbols".into(), "no-cache"),
        ("/v1/symbols/A".into(), "no-cache"),
        ("/_healthcheck".into(), "no-store"),
        ("/stocks/time-series/A?x=1".into(), "no-store"),
        ("/v1/candles/A?interval=1h&x=1".into(), "no-store"),
        ("/v1/candles/NONE?interval=1h".into(), "no-store"),
        ("/nothing".into(), "no-store"),
    ] {
        let answer = fixture.get(&target).await;
        assert_eq!(header(&answer, "cache-control"), expected, "{target}");
        // nginx stores what must be validated only when it is told so.
        assert_eq!(
            header(&answer, "x-accel-expires") == "@1",
            expected == "no-cache",
            "{target}"
        );
        assert_eq!(
            header(&answer, "etag").is_empty(),
            expected == "no-store",
            "{target}"
        );
    }
    let page = fixture
        .json(&format!("{candles}&limit=1&to={}", before(10)))
        .await;
    let older = format!(
        "{candles}&limit=1&to={}&cursor={}",
        before(10),
        page["next_cursor"].as_str().unwrap()
    );
    let page = fixture.get(&older).await;
    assert_eq!(header(&page, "cache-control"), "no-cache");
    let oldest = format!(
        "{candles}&limit=1&to={}&cursor={}",
        before(10),
        page.json()["next_cursor"].as_str().unwrap()
    );
    assert_eq!(
        header(&fixture.get(&oldest).await, "cache-control"),
        SETTLED
    );
}

#[tokio::test]
async fn the_correction_horizon_is_configured() {
    let fixture = fixture().await;
    let url = fixture.url().await;
    let mut config = api::config::ApiConfig::default();
    config.database.url = common::config::DatabaseUrl::new(&url);
    config.http.correction_horizon = Duration::from_hours(24_000_000);
    let app = api::App::new(&config).unwrap();
    let target = "/v1/candles/A?interval=1h&to=2024-01-01T05:00:00Z";
    let answer = send(&app.router(), Method::GET, target, &[]).await;
    assert_eq!(header(&answer, "cache-control"), "no-cache");
    assert_eq!(header(&fixture.get(target).await, "cache-control"), SETTLED);
}

#[tokio::test]
async fn as_of_is_the_newest_change_in_the_range_and_a_cancel_moves_it_on() {
    // GIVEN two hours and what is told of them
    let fixture = fixture().await;
    fixture.execute(RAISE).await;
    let hours = "interval=1h&from=2024-01-01T08:00:00Z";
    let as_of = async |changed: &str| {
        let page = fixture.json(&format!("/v1/candles/A?{hours}")).await;
        let many = fixture
            .json(&format!("/v1/candles?symbols=A&{hours}"))
            .await;
        let csv = fixture
            .get(&format!("/v1/candles/A?{hours}&format=csv"))
            .await;
        // All agree.
        let as_of = page["as_of"].as_str().unwrap().to_owned();
        assert_eq!(many["symbols"]["A"]["as_of"], page["as_of"], "{changed}");
        assert_eq!(header(&csv, "x-as-of"), as_of, "{changed}");
        (at(&as_of), page["candles"].as_array().unwrap().len())
    };
    let before = as_of("before").await;
    // WHEN a cancel empties one
    fixture
        .execute(
            "update candles_1h set trades = 0, open = null, high = null, low = null, close = null, volume = 0, turnover = 0, \
             revision = 2, updated_at = clock_timestamp() where open_time = '2024-01-01T09:00:00Z'",
        )
        .await;
    fixture.execute(RAISE).await;
    // THEN it is told no more, and the answer is of a later time
    let after = as_of("after").await;
    assert_eq!((before.1, after.1), (2, 1));
    assert!(after.0 > before.0, "{before:?} {after:?}");
}
