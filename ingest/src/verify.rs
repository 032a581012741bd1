//! Proves on the stored data that each candle is the aggregate of its ticks, and each view what it is
//! defined as.
//!
//! One symbol after another, each in one snapshot, in bounded memory: blocks stream by in order and
//! every bucket is compared when it is complete.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::calendar::zone_of;
use common::candle::Candle;
use common::database::Database;
use common::tick::{EventTime, Tick, TickKey};
use sqlx::{AssertSqlSafe, PgConnection};

use crate::fold::{Buckets, Level, gather};
use crate::store::{blocks, candles, marks, timestamp};

/// Blocks in memory at a time.
const BLOCKS_A_STEP: i64 = 50;
/// Before and after all event times that can be stored, in microseconds: years 1 and 10000.
const BEFORE_ALL: i64 = -62_135_596_800_000_000;
const AFTER_ALL: i64 = 253_402_300_800_000_000;

/// Differences that are told one by one.
pub const SENTENCES: usize = 100;

/// Which part of the data is verified.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// One symbol only.
    pub symbol: Option<String>,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Report {
    /// Symbols looked at.
    pub symbols: u64,
    /// Ticks read, cancelled ones included.
    pub ticks: u64,
    /// Candles compared.
    pub candles: u64,
    /// Rows of views compared.
    pub view_rows: i64,
    /// Differences found.
    pub differences: u64,
    /// One sentence for each of the first [`SENTENCES`].
    pub sentences: Vec<String>,
}

impl Report {
    fn differ(&mut self, sentence: String) {
        self.differences += 1;
        if self.sentences.len() < SENTENCES {
            self.sentences.push(sentence);
        }
    }
}

/// Verifies; `progress` is told after each symbol.
///
/// # Errors
/// When the database fails or the symbol is not known.
pub async fn verify(
    database: &Database,
    scope: &Scope,
    mut progress: impl FnMut(&Report, &str),
) -> sqlx::Result<Report> {
    let symbols: Vec<(i32, String, String)> =
        sqlx::query_as("select id, symbol, timezone from symbols where symbol = coalesce($1, symbol) order by symbol")
            .bind(scope.symbol.as_deref())
            .fetch_all(&mut *database.acquire().await?)
            .await?;
    if let (Some(symbol), true) = (&scope.symbol, symbols.is_empty()) {
        return Err(sqlx::Error::InvalidArgument(format!(
            "no symbol {symbol:?} is stored"
        )));
    }
    let mut report = Report::default();
    for (id, symbol, zone) in symbols {
        let zone = zone_of(&symbol, &zone).map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
        let mut snapshot = database.snapshot().await?;
        verify_symbol(&mut snapshot, id, &symbol, &Buckets::new(zone), &mut report).await?;
        report.symbols += 1;
        progress(&report, &symbol);
    }
    let mut snapshot = database.snapshot().await?;
    for (view, unit) in marks::VIEWS {
        verify_view(&mut snapshot, view, unit, &mut report).await?;
    }
    Ok(report)
}

async fn verify_symbol(
    db: &mut PgConnection,
    id: i32,
    symbol: &str,
    buckets: &Buckets,
    report: &mut Report,
) -> sqlx::Result<()> {
    let mut after: (DateTime<Utc>, i64) = (timestamp(BEFORE_ALL), i64::MIN);
    let mut compared = [BEFORE_ALL; 3];
    let mut open: [Option<(common::calendar::Bucket, Candle)>; 3] = [None, None, None];
    let mut last_key: Option<TickKey> = None;
    loop {
        let rows = blocks::after(db, id, after, BLOCKS_A_STEP).await?;
        let mut ticks: Vec<Tick> = Vec::new();
        for row in &rows {
            after = (row.first_time, row.first_sequence);
            ticks.extend(row.ticks()?);
        }
        report.ticks += ticks.len() as u64;
        for tick in &ticks {
            if last_key.is_some_and(|last| last >= tick.key) {
                report.differ(format!(
                    "{symbol}: ticks overlap or are out of order at {}",
                    tick.key.event_time
                ));
            }
            last_key = Some(tick.key);
        }
        ticks.retain(|tick| !tick.cancelled);
        let done = rows.is_empty();
        for (level, (compared, open)) in Level::ALL
            .into_iter()
            .zip(compared.iter_mut().zip(&mut open))
        {
            let parts = ticks
                .iter()
                .map(|tick| (tick.key.event_time.micros(), Candle::of(tick)));
            let mut gathered = gather(parts, |instant| buckets.bucket(level, instant));
            if let Some((bucket, candle)) = open.take() {
                match gathered.first_mut() {
                    Some((first, whole)) if *first == bucket => whole.merge(&candle),
                    _ => gathered.insert(0, (bucket, candle)),
                }
            }
            // The last bucket may go on in the next blocks.
            if !done {
                *open = gathered.pop();
            }
            let until = if done {
                AFTER_ALL
            } else {
                open.as_ref().map_or(*compared, |(bucket, _)| bucket.start)
            };
            let expected: BTreeMap<i64, Candle> = gathered
                .into_iter()
                .map(|(bucket, candle)| (bucket.start, candle))
                .collect();
            compare(db, id, symbol, level, (*compared, until), expected, report).await?;
            *compared = until;
        }
        if done {
            break;
        }
    }
    // Ticks above the mark would be taken for new ones when they come again.
    let (high_time, high_sequence): (Option<DateTime<Utc>>, Option<i64>) =
        sqlx::query_as("select high_time, high_sequence from symbols where id = $1")
            .bind(id)
            .fetch_one(db)
            .await?;
    let high = high_time.zip(high_sequence).map(TickKey::from);
    if last_key > high {
        report.differ(format!(
            "{symbol}: its high-water mark is below its last tick"
        ));
    }
    Ok(())
}

async fn compare(
    db: &mut PgConnection,
    id: i32,
    symbol: &str,
    level: Level,
    (from, to): (i64, i64),
    mut expected: BTreeMap<i64, Candle>,
    report: &mut Report,
) -> sqlx::Result<()> {
    let sentence = |start: i64, what: &str| {
        let time = EventTime::from_micros(start);
        format!("{symbol} {} {time}: {what}", level.table())
    };
    for ((_, start), stored) in candles::between(db, level, id, from, to).await? {
        report.candles += 1;
        match (expected.remove(&start), stored) {
            (Some(expected), Some(stored)) if expected == stored => {}
            (None, None) => {}
            (Some(_), Some(_)) => report.differ(sentence(
                start,
                "the candle is not the aggregate of its ticks",
            )),
            (Some(_), None) => report.differ(sentence(start, "the candle is empty but has ticks")),
            (None, Some(_)) => report.differ(sentence(start, "the candle has no ticks")),
        }
    }
    for start in expected.into_keys() {
        report.differ(sentence(start, "the candle is missing"));
    }
    Ok(())
}

/// Compares the rows of a view that readers may use with the view's own definition.
async fn verify_view(
    db: &mut PgConnection,
    view: &str,
    unit: common::interval::Unit,
    report: &mut Report,
) -> sqlx::Result<()> {
    let definition: String = sqlx::query_scalar("select rtrim(pg_get_viewdef($1::regclass), ';')")
        .bind(view)
        .fetch_one(&mut *db)
        .await?;
    let length = match unit {
        common::interval::Unit::Week => "7 days",
        common::interval::Unit::Month => "1 month",
        common::interval::Unit::Quarter => "3 months",
        _ => "1 year",
    };
    let sql = include_str!("store/view_differences.sql")
        .replace("{view}", view)
        .replace("{length}", length)
        .replace("{definition}", &definition);
    let (rows, missing, extra): (i64, i64, i64) =
        sqlx::query_as(AssertSqlSafe(sql)).fetch_one(db).await?;
    report.view_rows += rows;
    if missing + extra > 0 {
        report.differ(format!(
            "{view}: {missing} rows are missing or differ, {extra} are stale"
        ));
    }
    Ok(())
}
