//! Following the cursor gives exactly the unpaged set.

use serde_json::Value;

use crate::fixture::{Fixture, Trade, at};

pub(crate) async fn pages(fixture: &Fixture, first: &str) -> Vec<Vec<Value>> {
    let mut target = first.to_owned();
    let mut pages = Vec::new();
    loop {
        let answer = fixture.get(&target).await;
        assert_eq!(answer.status, 200, "{target}: {}", answer.text);
        let body = answer.json();
        pages.push(body["candles"].as_array().unwrap().clone());
        let link = answer
            .headers
            .get("link")
            .map(|link| link.to_str().unwrap().to_owned());
        match (body["next_cursor"].as_str(), link) {
            (Some(cursor), Some(link)) => {
                assert!(link.contains(cursor), "{link}");
                target = link.replace(">; rel=\"next\"", "").split_off(1);
            }
            (None, None) => return pages,
            other => panic!("{target}: {other:?}"),
        }
        assert!(pages.len() < 1_000, "{first} does not end");
    }
}

#[tokio::test]
async fn following_the_cursor_equals_the_unpaged_answer() {
    // GIVEN ticks with gaps
    let fixture = Fixture::new().await;
    let trades: Vec<Trade> = (0..200_i64)
        .map(|n| Trade {
            time: at("2024-01-01T00:00:00Z") + n * n * 37_000_000,
            sequence: n,
            price: 100 + n,
            size: 100,
        })
        .collect();
    fixture.add_trades("A", "Europe/Berlin", &trades).await;

    for (interval, limit) in [
        ("20s", 7),
        ("1m", 13),
        ("3h", 4),
        ("1d", 5),
        ("2d", 1),
        ("1w", 1),
    ] {
        for fill in ["none", "previous"] {
            if fill == "previous" && interval == "20s" {
                continue;
            }
            for range in [
                "",
                "&from=2024-01-03",
                "&to=2024-01-10",
                "&from=2024-01-02T10:00:01Z&to=2024-01-11T00:00:59Z",
            ] {
                for order in ["asc", "desc"] {
                    let query = format!(
                        "/v1/candles/A?interval={interval}&fill={fill}&order={order}{range}"
                    );
                    let mut whole = fixture.json(&format!("{query}&limit=10000")).await["candles"]
                        .as_array()
                        .unwrap()
                        .clone();
                    // Many pages of many filled minutes prove no more than some.
                    let limit = if whole.len() > 2_000 { 997 } else { limit };
                    // WHEN it is read in pages
                    let pages = pages(&fixture, &format!("{query}&limit={limit}")).await;
                    // THEN no candle is missing, none comes twice, and each page has its order
                    assert!(pages.iter().all(|page| page.len() <= limit));
                    let mut read: Vec<Value> = pages.concat();
                    if order == "asc" && !range.contains("from") {
                        // Newest page first.
                        read.sort_by_key(|row| row["open_time"].as_str().unwrap().to_owned());
                    }
                    if whole.len() < 10_000 {
                        assert_eq!(read, whole, "{query}");
                    }
                    let before = whole.clone();
                    whole.sort_by_key(|row| row["open_time"].as_str().unwrap().to_owned());
                    if order == "desc" {
                        whole.reverse();
                    }
                    assert_eq!(before, whole, "{query}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_limit_without_from_gives_the_newest_and_with_from_the_oldest() {
    let fixture = Fixture::new().await;
    let trades: Vec<Trade> = (0..10)
        .map(|n| Trade::new(at("2024-01-01T00:00:00Z") + n * 60_000_000, n))
        .collect();
    fixture.add_trades("A", "UTC", &trades).await;
    for (query, expected) in [
        ("limit=2", ["2024-01-01T00:08:00Z", "2024-01-01T00:09:00Z"]),
        (
            "limit=2&to=2024-01-01T00:05:00Z",
            ["2024-01-01T00:03:00Z", "2024-01-01T00:04:00Z"],
        ),
        (
            "limit=2&to=2024-01-01T00:04:30Z",
            ["2024-01-01T00:03:00Z", "2024-01-01T00:04:00Z"],
        ),
        (
            "limit=2&order=desc",
            ["2024-01-01T00:09:00Z", "2024-01-01T00:08:00Z"],
        ),
        (
            "limit=2&from=2024-01-01T00:03:00Z",
            ["2024-01-01T00:03:00Z", "2024-01-01T00:04:00Z"],
        ),
        (
            "limit=2&from=2024-01-01T00:02:00.000001Z",
            ["2024-01-01T00:03:00Z", "2024-01-01T00:04:00Z"],
        ),
        (
            "limit=2&from=2024-01-01T00:03:00Z&order=desc",
            ["2024-01-01T00:09:00Z", "2024-01-01T00:08:00Z"],
        ),
    ] {
        assert_eq!(
            fixture
                .column(&format!("/v1/candles/A?interval=1m&{query}"), "open_time")
                .await,
            expected,
            "{query}"
        );
    }
}

#[tokio::test]
async fn an_open_candle_comes_only_when_it_is_asked_for() {
    // GIVEN a tick now, one a year ago, and one an hour ahead
    let fixture = Fixture::new().await;
    let now = chrono::Utc::now().timestamp_micros();
    let trade = |time| Trade::new(time, 1);
    fixture
        .add_trades(
            "A",
            "UTC",
            &[
                trade(now - 366 * 86_400_000_000),
                trade(now),
                trade(now + 3_600_000_000),
            ],
        )
        .await;
    // WHEN and THEN
    assert_eq!(
        fixture
            .column("/v1/candles/A?interval=1y", "complete")
            .await,
        [true]
    );
    assert_eq!(
        fixture
            .column("/v1/candles/A?interval=1y&partial=include", "complete")
            .await,
        [true, false]
    );
    assert_eq!(
        fixture
            .column(
                "/v1/candles/A?interval=1m&partial=include&from=2020-01-01",
                "complete"
            )
            .await,
        [true, false]
    );
    assert_eq!(
        fixture
            .column(
                "/v1/candles/A?interval=1m&partial=include&to=9999-01-01",
                "complete"
            )
            .await,
        [true, false, false]
    );
    assert_eq!(
        fixture
            .column("/v1/candles/A?interval=1m&to=9999-01-01", "complete")
            .await,
        [true]
    );
}

#[tokio::test]
async fn a_candle_is_the_same_in_every_page_and_range() {
    // GIVEN a symbol in UTC whose hours have three minutes each, around the shifts of Caracas by half an hour in 2007
    // and 2016, and later
    let fixture = Fixture::new().await;
    let mut trades = Vec::new();
    for start in ["2007-12-08", "2016-04-30", "2020-01-01"] {
        let start = at(&format!("{start}T00:00:00Z"));
        trades.extend((0..3 * 24 * 3).map(|n| Trade {
            time: start + n * 1_200_000_000,
            sequence: n,
            price: 100 + n,
            size: 100,
        }));
    }
    fixture.add_trades("A", "UTC", &trades).await;
    for interval in ["1h", "4h", "1d", "1w", "1M"] {
        let query = format!("/v1/candles/A?interval={interval}&tz=America/Caracas");
        let whole = fixture
            .json(&format!("{query}&limit=10000&from=2000-01-01"))
            .await;
        let whole = whole["candles"].as_array().unwrap();
        assert!(whole.len() > 2, "{query}");
        // WHEN it is read in pages, from either end THEN all rows are the same, their revisions too
        for order in ["asc", "desc"] {
            let mut read = pages(
                &fixture,
                &format!("{query}&order={order}&limit=5&from=2000-01-01"),
            )
            .await
            .concat();
            if order == "desc" {
                read.reverse();
            }
            assert_eq!(&read, whole, "{query} {order}");
        }
        // WHEN one is asked for alone THEN it is the same
        for row in whole.iter().step_by(7) {
            let time = |name: &str| row[name].as_str().unwrap().to_owned();
            let range = format!("from={}&to={}", time("open_time"), time("close_time"));
            let alone = fixture.json(&format!("{query}&{range}")).await;
            assert_eq!(alone["candles"][0], *row, "{query} {range}");
        }
    }
}

#[tokio::test]
async fn a_cursor_does_not_outlive_the_symbols_zone() {
    // GIVEN cursors of candles and ticks of a symbol, in its own zone and in one that is named
    let fixture = Fixture::new().await;
    let trades: Vec<Trade> = (0..200)
        .map(|n| Trade::new(at("2024-01-01T00:00:00Z") + n * 3_600_000_000, n))
        .collect();
    fixture.add_trades("A", "UTC", &trades).await;
    let mut targets = Vec::new();
    for query in [
        "candles/A?interval=1d&limit=2&from=2024-01-02",
        "candles/A?interval=1h&limit=2",
        "ticks/A?limit=2&from=2024-01-02",
        "candles/A?interval=1d&limit=2&tz=UTC",
    ] {
        let page = fixture.json(&format!("/v1/{query}")).await;
        let cursor = page["next_cursor"].as_str().unwrap().to_owned();
        targets.push(format!("/v1/{query}&cursor={cursor}"));
    }
    for target in &targets {
        assert_eq!(fixture.get(target).await.status, 200, "{target}");
    }
    // WHEN the symbol gets another zone
    fixture
        .execute("update symbols set timezone = 'Asia/Kolkata'")
        .await;
    // THEN only the one whose zone is named goes on; the others are cursors of another query
    for (target, status) in targets.iter().zip([400, 400, 400, 200]) {
        let answer = fixture.get(target).await;
        assert_eq!(answer.status, status, "{target}");
        if status == 400 {
            assert_eq!(answer.json()["errors"][0]["parameter"], "cursor");
        }
    }
}
