//! Reads during a run: in one snapshot each candle is the aggregate of its ticks; an answer of the API agrees with the
//! snapshot that has the same revision; and what was answered as complete does not vanish.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use chrono::{DateTime, NaiveDate};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use serde_json::Value;
use sqlx::PgPool;

use crate::http;

/// What the reader saw.
#[derive(Debug, Default)]
pub(super) struct Readings {
    /// Days of a symbol read in a snapshot.
    pub(super) snapshots: u64,
    /// Candles compared with their ticks.
    pub(super) candles: u64,
    /// Answers of the API with candles.
    pub(super) answers: u64,
    /// Candles of answers compared with the ticks of a snapshot of the same revision.
    pub(super) agreed: u64,
    /// Complete candles looked for again.
    pub(super) looked_for: u64,
    /// Answers 503 and 504, and connections that failed, all while something was down.
    pub(super) away: u64,
    /// What contradicts the promises.
    pub(super) contradictions: Vec<String>,
}

/// A candle of an answer: its revision, and its values.
type Seen = (i64, String);

/// A stored candle, and what its ticks make of it.
#[derive(Debug, sqlx::FromRow)]
struct Row {
    level: String,
    open_time: i64,
    revision: Option<i64>,
    stored: Option<String>,
    expected: Option<String>,
}

/// Reads until it is told to stop.
pub(super) struct Reader {
    owner: PgPool,
    base: String,
    client: reqwest::Client,
    random: StdRng,
    /// Complete candles by symbol, interval and open time.
    complete: BTreeMap<(String, &'static str), BTreeMap<i64, Seen>>,
    seen: Readings,
}

impl Reader {
    /// A reader of the API at `base` and of the database behind it.
    ///
    /// # Errors
    ///
    /// When the system's sockets cannot be used.
    pub(super) fn new(owner: PgPool, base: &str, random: StdRng) -> Result<Self> {
        Ok(Self {
            owner,
            base: base.to_owned(),
            client: http::local()?,
            random,
            complete: BTreeMap::new(),
            seen: Readings::default(),
        })
    }

    /// Reads until `stop`.
    pub(super) async fn run(mut self, stop: Arc<AtomicBool>) -> Readings {
        while !stop.load(Ordering::Relaxed) {
            if let Err(error) = self.turn().await {
                // Only what an outage brings; the rest is noted as a contradiction.
                if outage(&error) {
                    self.seen.away += 1;
                } else {
                    self.seen.contradictions.push(format!("{error:#}"));
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.seen
    }

    async fn turn(&mut self) -> Result<()> {
        let days: Vec<(String, String, NaiveDate)> = sqlx::query_as(
            "select symbol, timezone, local_date from market_data.candles_1d join market_data.symbols on id = symbol_id",
        )
        .fetch_all(&self.owner)
        .await?;
        let Some((symbol, zone, date)) = days.choose(&mut self.random).cloned() else {
            return Ok(());
        };
        let next = date.succ_opt().context("no next day")?;
        let range =
            format!("from={date}&to={next}&tz={zone}&limit=5000&partial=include&numbers=string");
        let minutes = self.ask(&symbol, "1m", &range).await?;
        let day = self.ask(&symbol, "1d", &range).await?;
        let rows = self.snapshot(&symbol, date).await?;
        self.agree(&symbol, "1m", minutes, &rows);
        self.agree(&symbol, "1d", day, &rows);
        for interval in ["1d", "1w", "1M", "1q", "1y"] {
            self.persist(&symbol, interval).await?;
        }
        Ok(())
    }

    /// The candles of an answer by their open times, complete ones marked.
    async fn ask(
        &mut self,
        symbol: &str,
        interval: &str,
        range: &str,
    ) -> Result<BTreeMap<i64, (Seen, bool)>> {
        let url = format!(
            "{}/v1/candles/{symbol}?interval={interval}&{range}",
            self.base
        );
        let response = self.client.get(&url).send().await?;
        let (status, text) = (response.status().as_u16(), response.text().await?);
        if [503, 504].contains(&status) {
            return Err(Away(status).into());
        }
        if status != 200 {
            return Err(anyhow!("{url} was answered by {status}: {text}"));
        }
        self.seen.answers += 1;
        let page: Value = serde_json::from_str(&text)?;
        let candles = page["candles"].as_array().context("no `candles`")?;
        candles.iter().map(candle).collect()
    }

    /// The candles of one day of a symbol in one snapshot; all of them must be what their ticks make.
    async fn snapshot(&mut self, symbol: &str, date: NaiveDate) -> Result<Vec<Row>> {
        let mut snapshot = self
            .owner
            .begin_with("begin isolation level repeatable read, read only")
            .await?;
        let rows: Vec<Row> = sqlx::query_as(include_str!("reader.sql"))
            .bind(symbol)
            .bind(date)
            .fetch_all(&mut *snapshot)
            .await?;
        snapshot.rollback().await?;
        self.seen.snapshots += 1;
        for row in &rows {
            self.seen.candles += 1;
            if row.stored != row.expected {
                let Row {
                    level,
                    open_time,
                    stored,
                    expected,
                    ..
                } = row;
                self.seen.contradictions.push(format!(
                    "{symbol} {level} {open_time}: {stored:?} is stored, its ticks make {expected:?}"
                ));
            }
        }
        Ok(rows)
    }

    /// Candles of an answer that have the revision of the snapshot have its values.
    fn agree(
        &mut self,
        symbol: &str,
        level: &str,
        answer: BTreeMap<i64, (Seen, bool)>,
        rows: &[Row],
    ) {
        for (open_time, ((revision, values), _)) in answer {
            let same = |row: &&Row| {
                row.level == level && row.open_time == open_time && row.revision == Some(revision)
            };
            let Some(row) = rows.iter().find(same) else {
                continue;
            };
            self.seen.agreed += 1;
            if row.expected.as_ref() != Some(&values) {
                self.seen.contradictions.push(format!(
                    "{symbol} {level} {open_time}: the API answered {values}, the ticks of revision {revision} make {:?}",
                    row.expected
                ));
            }
        }
    }

    /// Complete candles that were answered before are answered again, unless they have changed to nothing.
    async fn persist(&mut self, symbol: &str, interval: &'static str) -> Result<()> {
        let range = "from=1970-01-01&limit=5000&partial=include&numbers=string";
        let key = (symbol.to_owned(), interval);
        let now = self.ask(symbol, interval, range).await?;
        let before = self.complete.remove(&key).unwrap_or_default();
        let mut suspects = Vec::new();
        for (open_time, seen) in &before {
            self.seen.looked_for += 1;
            if !now.contains_key(open_time) {
                suspects.push((*open_time, seen.0));
            }
        }
        let complete = now.into_iter().filter(|(_, (_, complete))| *complete);
        self.complete.insert(
            key,
            complete.map(|(time, (seen, _))| (time, seen)).collect(),
        );
        if suspects.is_empty() {
            return Ok(());
        }
        let again = self.ask(symbol, interval, range).await?;
        for (open_time, revision) in suspects {
            let now = again.get(&open_time).map(|((revision, _), _)| *revision);
            if now == Some(revision) {
                self.seen.contradictions.push(format!(
                    "{symbol} {interval} {open_time}: complete, vanished and came back with revision {revision}"
                ));
            } else if now.is_none() && self.has_ticks(symbol, interval, open_time).await? {
                self.seen.contradictions.push(format!(
                    "{symbol} {interval} {open_time}: complete, and vanished though it has ticks"
                ));
            }
        }
        Ok(())
    }

    async fn has_ticks(&self, symbol: &str, interval: &str, open_time: i64) -> Result<bool> {
        let unit = match interval {
            "1d" => "1 day",
            "1w" => "7 days",
            "1M" => "1 month",
            "1q" => "3 months",
            _ => "1 year",
        };
        let sql = "select exists (select from market_data.symbols s \
             cross join lateral (select timestamptz 'epoch' + $2 * interval '1 microsecond' as start) p \
             cross join lateral market_data.ticks_between($1, p.start, \
                 ((p.start at time zone s.timezone) + $3::interval) at time zone s.timezone) t where s.symbol = $1)";
        Ok(sqlx::query_scalar(sql)
            .bind(symbol)
            .bind(open_time)
            .bind(unit)
            .fetch_one(&self.owner)
            .await?)
    }
}

/// The open time, revision and values of a candle, and whether it is complete.
fn candle(candle: &Value) -> Result<(i64, (Seen, bool))> {
    let open_time =
        DateTime::parse_from_rfc3339(candle["open_time"].as_str().context("no open_time")?)?;
    let revision = candle["revision"].as_i64().context("no revision")?;
    let texts = ["open", "high", "low", "close", "volume", "turnover"]
        .map(|field| candle[field].as_str().unwrap_or("null"));
    let values = format!("{} {}", texts.join(" "), candle["trades"]);
    let complete = candle["complete"].as_bool().context("no complete")?;
    Ok((open_time.timestamp_micros(), ((revision, values), complete)))
}

/// An answer that says that the database is away.
#[derive(Debug)]
struct Away(u16);

impl std::fmt::Display for Away {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "status {}", self.0)
    }
}

impl std::error::Error for Away {}

/// Whether a failure is what a database that is away brings.
fn outage(error: &anyhow::Error) -> bool {
    if error.is::<Away>() {
        return true;
    }
    if let Some(error) = error.downcast_ref::<sqlx::Error>() {
        let code = error
            .as_database_error()
            .and_then(|error| error.code().map(std::borrow::Cow::into_owned));
        return match code {
            // Connections, resources, an administrator, a crash, a plan that a migration has made old.
            Some(code) => ["08", "53", "57", "58", "0A"]
                .iter()
                .any(|class| code.starts_with(class)),
            None => matches!(
                error,
                sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::Protocol(_)
            ),
        };
    }
    false
}
