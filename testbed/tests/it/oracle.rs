//! What is stored and what is answered, held against a program that knows only the published messages.

use std::collections::BTreeSet;
use std::path::Path;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{AssertSqlSafe, FromRow};

use crate::pipeline::Pipeline;
use crate::stream::{self, Message};

/// What `oracle/candles.py` says of a file of messages.
pub(crate) struct Oracle {
    lines: BTreeSet<String>,
    symbols: BTreeSet<String>,
}

/// The tables of candles, with the oracle's name for each.
const TABLES: [(&str, &str); 3] = [
    ("1m", "candles_1m"),
    ("1h", "candles_1h"),
    ("1d", "candles_1d"),
];
/// The views of candles, likewise.
const VIEWS: [(&str, &str); 4] = [
    ("1w", "candles_1w"),
    ("1M", "candles_1mo"),
    ("1q", "candles_1q"),
    ("1y", "candles_1y"),
];
/// What the API is asked for.
const INTERVALS: [&str; 7] = ["1m", "1h", "1d", "1w", "1M", "1q", "1y"];

/// Checks all that is stored and answered, and lets `ingest verify` check it too.
pub(crate) async fn check(pipeline: &Pipeline, messages: &[Message]) {
    let file = stream::write(messages, pipeline.folder());
    Oracle::of(pipeline, &file, &[]).await.check(pipeline).await;
    pipeline.verify().await;
}

/// Checks ticks, conflicts and tables.
pub(crate) async fn check_tables(pipeline: &Pipeline, messages: &[Message]) {
    let file = stream::write(messages, pipeline.folder());
    let oracle = Oracle::of(pipeline, &file, &[]).await;
    oracle.check_tables(pipeline).await;
}

impl Oracle {
    /// Asks the oracle about a file of messages; `zones` are `SYMBOL=ZONE`, all others UTC.
    pub(crate) async fn of(pipeline: &Pipeline, messages: &Path, zones: &[&str]) -> Self {
        let mut arguments = vec![messages.into()];
        arguments.extend(zones.iter().map(Into::into));
        let text = pipeline.oracle("candles.py", &arguments).await;
        let lines: BTreeSet<String> = text.lines().map(ToOwned::to_owned).collect();
        let symbol =
            |line: &String| Some(line.strip_prefix("tick ")?.split_once(' ')?.0.to_owned());
        let symbols = lines.iter().filter_map(symbol).collect();
        Self { lines, symbols }
    }

    /// How many of its lines begin so.
    pub(crate) fn count(&self, prefix: &str) -> usize {
        self.lines
            .iter()
            .filter(|line| line.starts_with(prefix))
            .count()
    }

    /// Everything: ticks, conflicts, tables, and what the API answers at every level.
    pub(crate) async fn check(&self, pipeline: &Pipeline) {
        self.check_tables(pipeline).await;
        self.check_answers(pipeline).await;
    }

    /// The view `ticks`, the dead letters, and the tables of candles.
    pub(crate) async fn check_tables(&self, pipeline: &Pipeline) {
        self.compare("tick ", &ticks(pipeline).await);
        self.compare("conflict ", &conflicts(pipeline).await);
        for (level, table) in TABLES {
            self.compare(
                &format!("candle {level} "),
                &candles(pipeline, level, table).await,
            );
        }
    }

    /// The views' own rows; they are complete only after a refresh.
    pub(crate) async fn check_views(&self, pipeline: &Pipeline) {
        for (level, view) in VIEWS {
            self.compare(
                &format!("candle {level} "),
                &candles(pipeline, level, view).await,
            );
        }
    }

    /// What the API answers at every level.
    pub(crate) async fn check_answers(&self, pipeline: &Pipeline) {
        for interval in INTERVALS {
            let mut lines = BTreeSet::new();
            for symbol in &self.symbols {
                lines.extend(answers(pipeline, symbol, interval).await);
            }
            self.compare(&format!("answer {interval} "), &lines);
        }
    }

    /// The oracle's lines that begin so, against lines that were found.
    fn compare(&self, prefix: &str, found: &BTreeSet<String>) {
        let expected: BTreeSet<&String> = self
            .lines
            .iter()
            .filter(|line| line.starts_with(prefix))
            .collect();
        let found: BTreeSet<&String> = found.iter().collect();
        let some = |lines: &mut dyn Iterator<Item = &&String>| -> Vec<String> {
            lines.take(8).map(|line| format!("  {line}")).collect()
        };
        let missing = some(&mut expected.difference(&found));
        let extra = some(&mut found.difference(&expected));
        assert!(
            missing.is_empty() && extra.is_empty(),
            "{prefix}: {} lines are expected, {} found; of those missing:\n{}\nof those that should not be there:\n{}",
            expected.len(),
            found.len(),
            missing.join("\n"),
            extra.join("\n")
        );
    }
}

async fn ticks(pipeline: &Pipeline) -> BTreeSet<String> {
    let rows: Vec<(String, DateTime<Utc>, i64, String, String, i32)> = sqlx::query_as(
        "select symbol, event_time, sequence, price::text, size::text, revision from market_data.ticks",
    )
    .fetch_all(pipeline.pool())
    .await
    .unwrap();
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
    assert_eq!(lines.len(), count, "a tick is stored twice");
    lines
}

async fn conflicts(pipeline: &Pipeline) -> BTreeSet<String> {
    let payloads: Vec<String> = sqlx::query_scalar(
        "select 'conflict ' || convert_from(payload, 'UTF8') from market_data.dead_letters",
    )
    .fetch_all(pipeline.pool())
    .await
    .unwrap();
    payloads.into_iter().collect()
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
async fn candles(pipeline: &Pipeline, level: &str, table: &str) -> BTreeSet<String> {
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
    let rows: Vec<Row> = sqlx::query_as(AssertSqlSafe(sql))
        .fetch_all(pipeline.pool())
        .await
        .unwrap();
    rows.into_iter()
        .map(|row| {
            let (first, last) = (
                row.first_time.timestamp_micros(),
                row.last_time.timestamp_micros(),
            );
            format!(
                "candle {level} {} {} {} {first} {} {last} {}",
                row.symbol, row.start, row.values, row.first_sequence, row.last_sequence
            )
        })
        .collect()
}

/// All candles of a symbol as the API answers them, page after page.
async fn answers(pipeline: &Pipeline, symbol: &str, interval: &str) -> Vec<String> {
    let query = format!(
        "/v1/candles/{symbol}?interval={interval}&from=1970-01-01&limit=4000&partial=include&numbers=string"
    );
    let mut lines = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = pipeline.get_json(&format!("{query}{cursor}")).await;
        for candle in page["candles"].as_array().unwrap() {
            lines.push(answer(symbol, interval, candle));
        }
        match &page["next_cursor"] {
            Value::Null => return lines,
            next => cursor = format!("&cursor={}", next.as_str().unwrap()),
        }
    }
}

fn answer(symbol: &str, interval: &str, candle: &Value) -> String {
    format!("answer {interval} {symbol} {}", values(candle))
}

/// A candle of an answer as the oracles print it, from its start to its last time.
pub(crate) fn values(candle: &Value) -> String {
    let time = |key: &str| {
        let time = DateTime::parse_from_rfc3339(candle[key].as_str().unwrap()).unwrap();
        time.timestamp_micros().to_string()
    };
    let number = |key: &str| candle[key].as_str().unwrap_or("null").to_owned();
    let mut parts = vec![time("open_time"), time("close_time")];
    parts.extend(["open", "high", "low", "close", "volume", "turnover", "vwap"].map(number));
    parts.push(candle["trades"].to_string());
    parts.extend(["first_time", "last_time"].map(time));
    parts.join(" ")
}
