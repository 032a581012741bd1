//! Several symbols in one answer: each as its own route answers, all from one snapshot.

use axum::http::Method;
use serde_json::{Value, json};

use crate::fixture::{Fixture, Trade, at};

const MINUTE: i64 = 60_000_000;

async fn fixture() -> Fixture {
    let fixture = Fixture::new().await;
    for (name, tz, shift) in [
        ("A", "UTC", 0),
        ("B/1", "America/New_York", 7),
        ("É", "Asia/Kolkata", 3),
    ] {
        let trades: Vec<Trade> = (0..30)
            .map(|n| Trade {
                time: at("2024-03-10T05:00:00Z") + (n * n + shift) * MINUTE,
                sequence: n,
                price: 100 + n + shift,
                size: 100,
            })
            .collect();
        fixture.add_trades(name, tz, &trades).await;
    }
    fixture
}

fn path(symbol: &str) -> &str {
    match symbol {
        "B/1" => "B%2F1",
        "É" => "%C3%89",
        other => other,
    }
}

#[tokio::test]
async fn under_each_symbol_stands_what_its_own_route_answers() {
    let fixture = fixture().await;
    for query in [
        "interval=1m",
        "interval=1h&from=2024-03-10&to=2024-03-11&fill=previous&order=desc",
        "interval=1d&tz=Asia/Kolkata&numbers=string&time=local&fields=open_time,close",
        "interval=5m&limit=3&from=2024-03-10",
    ] {
        let many = fixture
            .json(&format!("/v1/candles?symbols=B%2F1,A,%C3%89&{query}"))
            .await;
        assert_eq!(many["errors"], json!([]));
        let symbols = many["symbols"].as_object().unwrap();
        assert_eq!(symbols.len(), 3);
        for (symbol, told) in symbols {
            let one = fixture
                .json(&format!("/v1/candles/{}?{query}", path(symbol)))
                .await;
            assert_eq!(told, &one, "{symbol} {query}");
            assert!(!told["candles"].as_array().unwrap().is_empty());
        }
    }
}

#[tokio::test]
async fn a_symbol_pages_by_its_own_cursor_at_its_own_path() {
    let fixture = fixture().await;
    let query = "interval=1m&limit=7&from=2024-03-10";
    let many = fixture
        .json(&format!("/v1/candles?symbols=A,B%2F1&{query}"))
        .await;
    for symbol in ["A", "B/1"] {
        let mut told: Vec<Value> = Vec::new();
        let mut page = many["symbols"][symbol].clone();
        loop {
            told.extend(page["candles"].as_array().unwrap().iter().cloned());
            let Some(cursor) = page["next_cursor"].as_str() else {
                break;
            };
            page = fixture
                .json(&format!(
                    "/v1/candles/{}?{query}&cursor={cursor}",
                    path(symbol)
                ))
                .await;
            assert!(told.len() <= 30, "{symbol} does not end");
        }
        let whole = fixture
            .json(&format!(
                "/v1/candles/{}?interval=1m&from=2024-03-10",
                path(symbol)
            ))
            .await;
        assert_eq!(json!(told), whole["candles"], "{symbol}");
    }
    // Without a limit the rows are shared out, and the cursor goes on as well.
    let names: Vec<String> = (0..100).map(|n| format!("N{n}")).collect();
    let target = format!(
        "/v1/candles?symbols={},A&interval=1s",
        names[..99].join(",")
    );
    let page = fixture.json(&target).await;
    assert_eq!(page["errors"].as_array().unwrap().len(), 99);
    assert_eq!(
        page["symbols"]["A"]["candles"].as_array().unwrap().len(),
        30
    );
}

#[tokio::test]
async fn unknown_symbols_are_null_and_named_and_no_reason_to_fail() {
    let fixture = fixture().await;
    let target = "/v1/candles?symbols=NONE,A,%00&interval=1d";
    let answer = fixture.get(target).await;
    assert_eq!(answer.status, 200);
    let body = answer.json();
    assert_eq!(body["symbols"]["NONE"], Value::Null);
    assert_eq!(body["symbols"]["\0"], Value::Null);
    assert!(body["symbols"]["A"].is_object());
    assert_eq!(
        body["errors"],
        json!([
            {"parameter": "symbols", "detail": "unknown symbol NONE"},
            {"parameter": "symbols", "detail": "unknown symbol \0"}
        ])
    );
    // A tag does not outlive the coming of a symbol.
    let tag = answer.headers["etag"].to_str().unwrap();
    let headers = [("if-none-match", tag)];
    let again = async || fixture.send(Method::GET, target, &headers).await.status;
    assert_eq!(again().await, 304);
    fixture.add_symbol("NONE", "UTC").await;
    assert_eq!(again().await, 200);
}

#[tokio::test]
async fn faults_of_a_query_for_several_symbols_are_told() {
    let fixture = Fixture::with(|config| config.limits.max_symbols = 3).await;
    for (query, faults) in [
        ("interval=1d", vec!["symbols"]),
        ("symbols=A&cursor=x", vec!["cursor", "interval"]),
        ("symbols=A,A&interval=1d", vec!["symbols"]),
        ("symbols=A,&interval=1d", vec!["symbols"]),
        ("symbols=&interval=1d", vec!["symbols"]),
        ("symbols=A,B,C,D&interval=1d", vec!["symbols"]),
        ("symbols=A,B&interval=1d&limit=5001", vec!["limit"]),
        ("symbols=A&interval=1d&format=csv", vec!["format"]),
        (
            "symbols=A&interval=1d&from=2024-01-02&to=2024-01-01",
            vec!["from"],
        ),
        // Nobody knows the zone of an unknown symbol's dates.
        (
            "symbols=A&interval=1d&from=2024-01-02&to=2024-01-01T23:00:00Z",
            vec![],
        ),
    ] {
        let answer = fixture.get(&format!("/v1/candles?{query}")).await;
        if faults.is_empty() {
            assert_eq!(answer.status, 200, "{query}");
            continue;
        }
        assert_eq!(answer.status, 400, "{query}: {}", answer.text);
        assert_eq!(answer.faults(), faults, "{query}");
    }
    assert_eq!(
        fixture
            .get("/v1/candles?symbols=A,B&interval=1d&limit=5000")
            .await
            .status,
        200
    );
    let headers = [("accept", "text/csv")];
    let answer = fixture
        .send(Method::GET, "/v1/candles?symbols=A&interval=1d", &headers)
        .await;
    assert_eq!(answer.status, 406);
    // What it says can be done here.
    assert!(!answer.text.contains("format="), "{}", answer.text);
}

#[tokio::test]
async fn several_symbols_come_from_one_snapshot() {
    // GIVEN two symbols whose versions always change together
    let fixture = fixture().await;
    let writer = {
        let pool = fixture.pool.clone();
        tokio::spawn(async move {
            for _ in 0..200 {
                let both = "update candles_1d set revision = revision + 1 where symbol_id in (select id from symbols where symbol in ('A', 'B/1'))";
                sqlx::query(both).execute(&pool).await.unwrap();
            }
        })
    };
    // WHEN they are read while they change
    let target = "/v1/candles?symbols=A,B%2F1&interval=1d&fields=revision&from=2024-03-10&limit=1";
    let mut seen = Vec::new();
    while !writer.is_finished() || seen.is_empty() {
        let body = fixture.json(target).await;
        let revision = |symbol: &str| {
            body["symbols"][symbol]["candles"][0]["revision"]
                .as_i64()
                .unwrap()
        };
        // THEN both are of one state
        assert_eq!(revision("A"), revision("B/1"), "{body}");
        seen.push(revision("A"));
    }
    writer.await.unwrap();
    seen.dedup();
    assert!(seen.len() > 1, "nothing changed meanwhile: {seen:?}");
}

#[tokio::test]
async fn several_symbols_have_one_clock() {
    // GIVEN two symbols with a tick in each second around now, and a database that takes its time to look at each day
    let fixture = Fixture::new().await;
    let now = chrono::Utc::now().timestamp_micros();
    let trades: Vec<Trade> = (0..90)
        .map(|n| Trade::new(now + (n - 10) * 1_000_000, n))
        .collect();
    for name in ["A", "B"] {
        fixture.add_trades(name, "UTC", &trades).await;
    }
    for statement in [
        "alter table candles_1d enable row level security",
        "create policy slow on candles_1d to market_data_api using (pg_sleep(0.4)::text is not null)",
    ] {
        fixture.execute(statement).await;
    }
    // WHEN their newest complete second is asked for
    let target = "/v1/candles?symbols=A,B&interval=1s&limit=1&fields=open_time";
    let body = fixture.json(target).await;
    // THEN it is the same second
    let newest = |symbol: &str| &body["symbols"][symbol]["candles"][0]["open_time"];
    assert!(newest("A").is_string(), "{body}");
    assert_eq!(newest("A"), newest("B"));
}
