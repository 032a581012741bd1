//! What is stored and what is answered, as lines of text in the words of the oracle (`oracle/candles.py`), to be held
//! against what it says.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{AssertSqlSafe, FromRow, PgPool};

/// The tables of candles, with the oracle's name for each.
pub const TABLES: [(&str, &str); 3] = [
    ("1m", "candles_1m"),
    ("1h", "candles_1h"),
    ("1d", "candles_1d"),
];
/// The views of candles, likewise.
pub const VIEWS: [(&str, &str); 4] = [
    ("1w", "candles_1w"),
    ("1M", "candles_1mo"),
    ("1q", "candles_1q"),
    ("1y", "candles_1y"),
];
/// The intervals at which the oracle knows the API's answers.
pub const INTERVALS: [&str; 7] = ["1m", "1h", "1d", "1w", "1M", "1q", "1y"];

/// The rows of the view `ticks`.
///
/// # Errors
///
/// When the database fails, or a tick is there twice.
pub async fn ticks(pool: &PgPool) -> Result<BTreeSet<String>> {
    let rows: Vec<(String, DateTime<Utc>, i64, String, String, i32)> = sqlx::query_as(
        "select symbol, event_time, sequence, price::text, size::text, revision from market_data.ticks",
    )
    .fetch_all(pool)
    .await?;
    let count = rows.len();
    let lines: BTreeSet<String> = rows
        .into_iter()
        .map(|(symbol, time, sequence, price, size, revision)| {
            format!(
                "tick {symbol} {} {sequence} {price} {size} {revision}",
                time.timestamp_micros()
            )
        })
        .collect();
    ensure!(lines.len() == count, "a tick is stored twice");
    Ok(lines)
}

#[derive(FromRow)]
struct Row {
    symbol: String,
    start: String,
    values: String,
    first_time: DateTime<Utc>,
    first_sequence: i64,
    last_time: DateTime<Utc>,
    last_sequence: i64,
}

/// The candles of a table or view that are not empty.
///
/// # Errors
///
/// When the database fails.
pub async fn candles(pool: &PgPool, level: &str, table: &str) -> Result<BTreeSet<String>> {
    let start = match level {
        "1m" | "1h" => "(extract(epoch from open_time) * 1000000)::bigint::text",
        "1d" => "local_date::text",
        _ => "period::text",
    };
    let sql = format!(
        "select symbol, {start} as start, \
         concat_ws(' ', trim_scale(open), trim_scale(high), trim_scale(low), trim_scale(close), trim_scale(volume), \
         trim_scale(turnover), trades) as values, \
         open_event_time as first_time, open_sequence as first_sequence, close_event_time as last_time, \
         close_sequence as last_sequence \
         from market_data.{table} join market_data.symbols on id = symbol_id where trades > 0"
    );
    let rows: Vec<Row> = sqlx::query_as(AssertSqlSafe(sql)).fetch_all(pool).await?;
    let line = |row: Row| {
        let (first, last) = (
            row.first_time.timestamp_micros(),
            row.last_time.timestamp_micros(),
        );
        format!(
            "candle {level} {} {} {} {first} {} {last} {}",
            row.symbol, row.start, row.values, row.first_sequence, row.last_sequence
        )
    };
    Ok(rows.into_iter().map(line).collect())
}

/// All candles of a symbol as the API answers them, page after page; `get` gives the body of a path.
///
/// # Errors
///
/// When `get` fails, or a body is not what the API promises.
pub async fn answers(
    symbol: &str,
    interval: &str,
    mut get: impl AsyncFnMut(&str) -> Result<Value>,
) -> Result<Vec<String>> {
    let query = format!(
        "/v1/candles/{symbol}?interval={interval}&from=1970-01-01&limit=4000&partial=include&numbers=string"
    );
    let mut lines = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = get(&format!("{query}{cursor}")).await?;
        for candle in page["candles"].as_array().context("no `candles`")? {
            lines.push(format!("answer {interval} {symbol} {}", values(candle)?));
        }
        match page["next_cursor"].as_str() {
            None => return Ok(lines),
            Some(next) => cursor = format!("&cursor={next}"),
        }
    }
}

/// A candle of an answer as the oracles print it, from its start to its last time.
///
/// # Errors
///
/// When a field is not what the API promises.
pub fn values(candle: &Value) -> Result<String> {
    let time = |key: &str| {
        let text = candle[key]
            .as_str()
            .with_context(|| format!("no `{key}`"))?;
        let time = DateTime::parse_from_rfc3339(text)?;
        Ok::<_, anyhow::Error>(time.timestamp_micros().to_string())
    };
    let number = |key: &str| candle[key].as_str().unwrap_or("null").to_owned();
    let mut parts = vec![time("open_time")?, time("close_time")?];
    parts.extend(["open", "high", "low", "close", "volume", "turnover", "vwap"].map(number));
    parts.push(candle["trades"].to_string());
    parts.extend([time("first_time")?, time("last_time")?]);
    Ok(parts.join(" "))
}
