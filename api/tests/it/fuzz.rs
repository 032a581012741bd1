//! No request is answered by a 500, and every 400 says what is wrong: intervals, times, zones and cursors among them.
//!
//! `make fuzz` does this for longer. Requests that failed once are in `tests/crashes/request`.

use std::path::PathBuf;
use std::time::Instant;

use axum::http::{Method, StatusCode, Uri};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use testbed::fuzz::{Mutator, budget, keep, kept, seed};

use crate::fixture::{Fixture, Trade, at};

/// Requests that were good once.
const CORPUS: [&str; 13] = [
    "/v1/candles/A?interval=1m&from=2024-03-10&to=2024-03-11&limit=10",
    "/v1/candles/A?interval=4h&tz=America/New_York&from=2024-03-10T05:00:00Z&order=desc&partial=include",
    "/v1/candles/A?interval=1d&indicators=sma:5,macd:3:7:2,bbands:5:1.5,vwap,psar:0.02:0.2&fill=null",
    "/v1/candles/A?interval=3M&anchor=calendar&fill=previous&numbers=string&from=1710046800000",
    "/v1/candles/A?interval=7m&fill=null&to=2024-03-10T06:00:00%2B01:00&limit=10000",
    "/v1/candles/A?interval=1w&tz=Asia/Kolkata&time=local&format=csv",
    "/v1/symbols?q=A",
    "/v1/symbols/A",
    "/stocks/time-series/A",
    "/stocks/time-series/A?interval=2&frequency=Weekly",
    "/v1/candles?symbols=A,B&interval=1d",
    "/v1/ticks/A?from=2024-03-10&limit=5",
    "/v1/latest?symbols=A",
];

fn crashes() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/crashes/request")
}

/// Whether an input is a path and query that an HTTP client could send.
fn target(input: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(input).ok()?;
    (text.starts_with('/') && text.parse::<Uri>().is_ok()).then_some(text)
}

/// A page of minutes.
const FIRST: &str = "/v1/candles/A?from=2024-03-10&interval=1m&limit=10";
/// What its cursor is bound to: the route, the symbol, and the parameters by name.
const BINDING: &str = "candles\0A\0from\x002024-03-10\0interval\x001m\0limit\x0010\0";

/// A cursor with any payload that opens: its check is 64-bit FNV-1a over binding, zero and payload.
fn forged(payload: &[u8]) -> String {
    let bytes = BINDING.bytes().chain([0]).chain(payload.iter().copied());
    let sum = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    URL_SAFE_NO_PAD.encode([sum.to_le_bytes().as_slice(), payload].concat())
}

#[tokio::test]
async fn no_request_is_answered_by_a_500() {
    // GIVEN a symbol with candles, and the cursor of a first page, which can be made here too
    let fixture = Fixture::new().await;
    let trades: Vec<Trade> = (0..300)
        .map(|n| Trade {
            time: at("2024-03-10T05:00:00Z") + n * 61_000_000,
            sequence: n,
            price: 1000 + n,
            size: 100,
        })
        .collect();
    fixture.add_trades("A", "America/New_York", &trades).await;
    let page = fixture.json(FIRST).await;
    let cursor = page["next_cursor"].as_str().unwrap();
    let payload = vec![URL_SAFE_NO_PAD.decode(cursor).unwrap()[8..].to_vec()];
    assert_eq!(forged(&payload[0]), cursor);
    let mut corpus: Vec<Vec<u8>> = CORPUS.map(|text| text.as_bytes().to_vec()).to_vec();
    corpus.push(format!("{FIRST}&cursor={cursor}").into());

    // WHEN requests come that are nearly good THEN none is answered by a 500
    let seed = seed();
    let mut mutator = Mutator::new(seed);
    let (begun, budget) = (Instant::now(), budget());
    let mut pending = [kept(&crashes()), corpus.clone()].concat();
    let (mut requests, mut refused, mut answered) = (0, 0, 0);
    while begun.elapsed() < budget || !pending.is_empty() {
        let input = match pending.pop() {
            Some(input) => input,
            None if requests % 4 == 0 => {
                let cursor = forged(&mutator.next(&payload));
                format!("{FIRST}&cursor={cursor}").into()
            }
            None => mutator.next(&corpus),
        };
        let Some(target) = target(&input) else {
            continue;
        };
        requests += 1;
        let answer = fixture.send(Method::GET, target, &[]).await;
        if answer.status == StatusCode::INTERNAL_SERVER_ERROR {
            let file = keep(&crashes(), &input);
            panic!(
                "{target} is answered by a 500 (seed {seed}): {}\nIt is kept: commit {}",
                answer.text,
                file.display()
            );
        }
        if answer.status == StatusCode::BAD_REQUEST {
            refused += 1;
            let told = answer.text == "\"Bad Request\"" || answer.text.contains("\"errors\":[{");
            assert!(told, "{target}: {}", answer.text);
        }
        answered += i32::from(answer.status.is_success());
    }
    assert!(
        refused > 10 && answered > 10,
        "{requests} requests, {refused} refused, {answered} answered"
    );
    println!("request: {requests} requests, {refused} refused, {answered} answered, seed {seed}");
}
