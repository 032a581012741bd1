//! The ticks of a range: by (event time, sequence), in pages that neither miss nor repeat one, without cancelled ones.

use serde_json::{Value, json};

use crate::fixture::{Fixture, Trade, at};

fn trade(time: i64, sequence: i64) -> Trade {
    Trade {
        time,
        sequence,
        price: 100 + sequence,
        size: 250,
    }
}

/// 2 000 ticks, many at the same instant, in blocks of uneven lengths, every fifth of them cancelled.
async fn fixture() -> (Fixture, Vec<Trade>) {
    let fixture = Fixture::new().await;
    let start = at("2024-01-01T00:00:00Z");
    let trades: Vec<Trade> = (0..2_000)
        .map(|n| trade(start + (n / 7) * (n / 7) * 1_003, n))
        .collect();
    let id = fixture.add_trades("A", "Asia/Kolkata", &trades).await;
    fixture.execute("delete from tick_blocks").await;
    let mut rest = trades.as_slice();
    let mut lengths = [1, 2, 300, 17, 64].into_iter().cycle();
    while !rest.is_empty() {
        let (block, after) = rest.split_at(lengths.next().unwrap().min(rest.len()));
        fixture.add_block(id, block).await;
        rest = after;
    }
    fixture
        .execute(
            "update tick_blocks set cancels = (select array_agg(s % 5 = 4 order by n) from unnest(sequences_wide) with ordinality u(s, n))",
        )
        .await;
    let told = trades.into_iter().filter(|trade| trade.sequence % 5 != 4);
    (fixture, told.collect())
}

fn sequences(rows: &Value) -> Vec<i64> {
    let rows = rows["ticks"].as_array().unwrap();
    rows.iter()
        .map(|row| row["sequence"].as_i64().unwrap())
        .collect()
}

#[tokio::test]
async fn pages_of_ticks_are_the_range() {
    let (fixture, trades) = fixture().await;
    let middle = trades[900].time;
    for (range, from, to) in [
        (String::new(), i64::MIN, i64::MAX),
        ("&from=2024-01-01T00:00:00Z".into(), i64::MIN, i64::MAX),
        (
            "&from=2024-01-01T00:00:30.5Z&to=2024-01-01T00:01:00Z".into(),
            at("2024-01-01T00:00:30.5Z"),
            at("2024-01-01T00:01:00Z"),
        ),
        (
            format!("&to={}", middle / 1_000),
            i64::MIN,
            middle / 1_000 * 1_000,
        ),
        ("&from=2030-01-01".into(), i64::MAX, i64::MAX),
    ] {
        let mut expected: Vec<i64> = trades
            .iter()
            .filter(|trade| from <= trade.time && trade.time < to)
            .map(|trade| trade.sequence)
            .collect();
        for (order, limit) in [("asc", 97), ("desc", 97), ("asc", 1_999), ("desc", 3_000)] {
            // WHEN the range is read in pages
            let mut target = format!("/v1/ticks/A?order={order}&limit={limit}{range}");
            let mut pages = Vec::new();
            loop {
                let page = fixture.json(&target).await;
                let told = sequences(&page);
                assert!(told.len() <= limit);
                pages.push(told);
                let Some(cursor) = page["next_cursor"].as_str() else {
                    break;
                };
                target = format!("/v1/ticks/A?order={order}&limit={limit}{range}&cursor={cursor}");
                assert!(pages.len() < 100, "{range} does not end");
            }
            // THEN they are its ticks; without a beginning the newest page came first
            if order == "asc" && !range.contains("from") {
                pages.reverse();
            }
            let told = pages.concat();
            if order == "desc" {
                expected.reverse();
            }
            assert_eq!(told, expected, "{range} {order} {limit}");
            if order == "desc" {
                expected.reverse();
            }
        }
    }
}

#[tokio::test]
async fn a_page_says_what_it_is() {
    let fixture = Fixture::new().await;
    let tick = Trade {
        time: at("2024-03-10T05:00:00.25Z"),
        sequence: -3,
        price: 9_230,
        size: 0,
    };
    fixture.add_trades("A", "America/New_York", &[tick]).await;
    fixture
        .execute("update symbols set changed_at = '2024-03-11T00:00:00Z'")
        .await;
    assert_eq!(
        fixture
            .json("/v1/ticks/A?from=2024-03-10&to=2024-03-11")
            .await,
        json!({
            "symbol": "A", "tz": "America/New_York", "from": "2024-03-10", "to": "2024-03-11",
            "as_of": "2024-03-11T00:00:00Z",
            "available": {"first": "2024-03-10T05:00:00.25Z", "last": "2024-03-10T05:00:00.25Z"},
            "ticks": [{"event_time": "2024-03-10T05:00:00.25Z", "sequence": -3, "price": 92.3, "size": 0, "revision": 0}],
            "next_cursor": null,
        })
    );
    let page = fixture
        .json("/v1/ticks/A?from=2024-03-10&tz=UTC&fields=price&numbers=string")
        .await;
    assert_eq!(page["ticks"], json!([{"price": "92.3"}]));
    // A sequence is no number of a parser that reads doubles; a revision is small.
    let wide = Trade {
        sequence: i64::MAX,
        ..tick
    };
    fixture.add_trades("WIDE", "UTC", &[wide]).await;
    let target = "/v1/ticks/WIDE?fields=sequence,revision";
    for (numbers, sequence) in [
        ("number", json!(i64::MAX)),
        ("string", json!("9223372036854775807")),
    ] {
        assert_eq!(
            fixture.json(&format!("{target}&numbers={numbers}")).await["ticks"],
            json!([{"sequence": sequence, "revision": 0}])
        );
    }
    let csv = fixture
        .get(&format!("{target}&numbers=string&format=csv"))
        .await;
    assert_eq!(csv.text, "sequence,revision\r\n9223372036854775807,0\r\n");
    fixture.add_symbol("EMPTY", "UTC").await;
    let empty = fixture.json("/v1/ticks/EMPTY").await;
    assert_eq!(
        (&empty["ticks"], &empty["available"]["first"]),
        (&json!([]), &Value::Null)
    );
}

#[tokio::test]
async fn faults_of_a_query_for_ticks_are_told() {
    let (fixture, _) = fixture().await;
    let page = fixture.json("/v1/ticks/A?limit=1").await;
    let cursor = page["next_cursor"].as_str().unwrap();
    for (target, status) in [
        ("/v1/ticks/A?interval=1m&limit=0&order=x".to_owned(), 400),
        ("/v1/ticks/A?from=2024-01-02&to=2024-01-01".into(), 400),
        (format!("/v1/ticks/A?limit=2&cursor={cursor}"), 400),
        (
            format!("/v1/candles/A?interval=1m&limit=1&cursor={cursor}"),
            400,
        ),
        ("/v1/ticks/NONE".into(), 404),
        ("/v1/ticks/%00".into(), 404),
    ] {
        let answer = fixture.get(&target).await;
        assert_eq!(answer.status, status, "{target}");
        assert_eq!(answer.headers["content-type"], "application/problem+json");
    }
}

#[tokio::test]
async fn ticks_that_come_while_pages_are_read_are_neither_missed_nor_told_twice() {
    // GIVEN the first page of a range without an end
    let (fixture, trades) = fixture().await;
    let target = "/v1/ticks/A?from=2024-01-01&limit=1000";
    let page = fixture.json(target).await;
    let mut told = sequences(&page);
    // WHEN a later tick comes
    let late = trade(trades[trades.len() - 1].time + 1, 9_000);
    let id: i32 = sqlx::query_scalar("select id from symbols")
        .fetch_one(&fixture.pool)
        .await
        .unwrap();
    fixture.add_block(id, &[late]).await;
    // THEN the rest is what the first page was bound to
    let cursor = page["next_cursor"].as_str().unwrap();
    told.extend(sequences(
        &fixture.json(&format!("{target}&cursor={cursor}")).await,
    ));
    let expected: Vec<i64> = trades.iter().map(|trade| trade.sequence).collect();
    assert_eq!(told, expected);
}

#[tokio::test]
async fn cache_control_follows_the_end_of_a_range_of_ticks() {
    let (fixture, _) = fixture().await;
    for (query, expected) in [
        ("", "no-cache"),
        ("?from=2024-01-01", "no-cache"),
        (
            "?to=2024-02-01",
            "public, max-age=60, stale-while-revalidate=60, stale-if-error=86400",
        ),
        ("?to=9999-01-01", "no-cache"),
    ] {
        let answer = fixture.get(&format!("/v1/ticks/A{query}")).await;
        assert_eq!(answer.headers["cache-control"], expected, "{query}");
        let tag = answer.headers["etag"].to_str().unwrap();
        let again = fixture
            .send(
                axum::http::Method::GET,
                &format!("/v1/ticks/A{query}"),
                &[("if-none-match", tag)],
            )
            .await;
        assert_eq!(again.status, 304);
    }
}
