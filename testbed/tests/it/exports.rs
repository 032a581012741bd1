//! A million candles leave the api in bounded memory, and an answer that is broken off is no answer to a client.

use std::process::Command;

use chrono::DateTime;
use testbed::{http, process};

use crate::api::Api;
use crate::pipeline::Pipeline;

const CANDLES: usize = 1_000_000;
/// How much an export may add to what the api needs for a page of 10 000 candles as JSON: a row group of Parquet and
/// some pages.
const MORE_KIB: u64 = 64 * 1024;

/// So many minutes of one symbol. Days are there for the first and the last tick only.
const MINUTES: &str = "insert into market_data.candles_1m \
    select s.id, m.open_time, 100 + n % 97, 200 + n % 97, 50 + n % 97, 101.25 + n % 97, 1000 + n, 123456.789 * n, 17, \
        m.open_time, n, m.open_time + interval '59 seconds', n, 1, m.open_time \
    from market_data.symbols s, generate_series(1, $1) n, \
        lateral (select timestamptz '2020-01-01Z' + (n - 1) * interval '1 minute' as open_time) m";
const DAYS: &str = "insert into market_data.candles_1d \
    select symbol_id, date_trunc('day', open_time, 'UTC'), open, high, low, close, volume, turnover, trades, \
        open_event_time, open_sequence, close_event_time, close_sequence, 1, updated_at, (open_time at time zone 'UTC')::date \
    from market_data.candles_1m \
    where open_time in ((select min(open_time) from market_data.candles_1m), (select max(open_time) from market_data.candles_1m))";

async fn resident_kib(api: &mut Api) -> u64 {
    let mut ps = Command::new("ps");
    let pid = api.process().pid().to_string();
    ps.args(["-o", "rss=", "-p", pid.as_str()]);
    let text = process::run("ps", ps).await.unwrap();
    text.trim().parse().unwrap()
}

/// Reads an answer to its end: its length, its lines, and the most memory that the api had meanwhile.
async fn read(api: &mut Api, target: &str) -> reqwest::Result<(usize, usize, u64)> {
    let client = http::local().unwrap();
    let url = format!("{}{target}", api.base());
    let mut response = client.get(url).send().await?.error_for_status()?;
    let (mut bytes, mut lines, mut chunks, mut most) = (0, 0, 0_usize, 0);
    while let Some(chunk) = response.chunk().await? {
        bytes += chunk.len();
        lines += chunk.split(|byte| *byte == b'\n').count() - 1;
        chunks += 1;
        if chunks % 64 == 1 {
            most = most.max(resident_kib(api).await);
        }
    }
    Ok((bytes, lines, most.max(resident_kib(api).await)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_candles_leave_in_bounded_memory_or_are_broken_off() {
    // GIVEN a million minutes, and an api that has told a page of them
    let pipeline = Pipeline::new("exports").await;
    pipeline.insert_symbols(&[("A", "UTC")]).await;
    for statement in [
        "alter table market_data.candles_1m set (autovacuum_enabled = false)",
        "update market_data.symbols set price_scale = 3, size_scale = 3",
    ] {
        sqlx::query(statement)
            .execute(pipeline.pool())
            .await
            .unwrap();
    }
    sqlx::query(MINUTES)
        .bind(i32::try_from(CANDLES).unwrap())
        .execute(pipeline.pool())
        .await
        .unwrap();
    sqlx::query(DAYS).execute(pipeline.pool()).await.unwrap();
    let mut api = Api::start(&pipeline, &[]);
    api.ready().await;
    let target = "/v1/candles/A?interval=1m";
    let (_, _, page) = read(&mut api, &format!("{target}&limit=10000"))
        .await
        .unwrap();

    // All in the form that holds nothing back, and three groups in the one that holds a group of rows.
    for format in ["csv", "parquet&from=2021-07-09T13:20:00Z"] {
        // WHEN all of them are read
        let (bytes, lines, most) = read(&mut api, &format!("{target}&format={format}"))
            .await
            .unwrap();
        // THEN none is missing, and the api has held few of them at a time
        if format == "csv" {
            assert_eq!(lines, CANDLES + 1);
        } else {
            assert!(bytes > 5_000_000, "{bytes} bytes of 200 000 candles");
        }
        println!("{format}: {bytes} bytes, {most} KiB resident at most, {page} KiB after a page");
        assert!(
            most < page + MORE_KIB,
            "{format}: {most} KiB resident after {page} KiB for a page; {bytes} bytes were sent"
        );
    }
    let last = api
        .get(&format!("{target}&limit=1&fields=open_time&time=ms"))
        .await
        .unwrap()
        .1;
    let expected = DateTime::from_timestamp(1_577_836_800 + 60 * 999_999, 0).unwrap();
    assert!(
        last.contains(&format!(
            "[{{\"open_time\":{}}}]",
            expected.timestamp_millis()
        )),
        "{last}"
    );

    // WHEN there are more than an export may have
    let mut api = Api::start(&pipeline, &[("FDA_LIMITS__MAX_EXPORT_ROWS", "20000")]);
    api.ready().await;
    for format in ["csv", "ndjson", "arrow", "parquet"] {
        // THEN the client learns that what it got is not the whole
        let broken = read(&mut api, &format!("{target}&format={format}"))
            .await
            .unwrap_err();
        assert!(
            broken.is_body() || broken.is_decode(),
            "{format}: {broken:?}"
        );
    }
    assert!(api.log().contains("more than 20000 rows"), "{}", api.log());
}
