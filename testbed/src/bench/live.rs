//! A live feed after the backlog: what a tick waits from `send` to its commit, and what a batch costs.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use sqlx::PgConnection;

use super::Bench;
use super::feed::Feed;
use crate::http;
use crate::publisher::{Encoding, Publisher};

/// What was measured.
pub(super) struct Live {
    /// Ticks a second that were sent.
    pub(super) rate: f64,
    /// From `send` to the commit, in order of length.
    waits: Vec<Duration>,
    /// Ticks in a transaction, on average.
    pub(super) ticks_a_batch: f64,
    /// Time of a transaction, on average.
    pub(super) batch: Duration,
    /// Written-ahead log of everything that happened meanwhile.
    pub(super) wal_bytes_a_tick: f64,
}

impl Live {
    /// The wait that so many of 100 ticks do not exceed.
    pub(super) fn wait(&self, percent: usize) -> Duration {
        let index = self.waits.len() * percent / 100;
        self.waits.get(index).copied().unwrap_or_default()
    }
}

/// Sends the ticks of the feed after its first `options.ticks`, as of now and at an even rate, and watches the stored
/// positions.
pub(super) async fn run(
    publisher: &Publisher,
    db: &mut PgConnection,
    admin: &str,
    options: &Bench,
) -> Result<Live> {
    let count = options.live_ticks();
    let mut feed = Feed::new(options).skip(options.ticks as usize);
    let mut stored = u64::from(options.ticks);
    let end = stored + u64::from(count);
    let (batches, seconds) = batches(admin).await?;
    let wal = wal(db).await?;
    let mut sent = VecDeque::new();
    let mut waits = Vec::with_capacity(count as usize);
    let begun = Instant::now();
    let deadline = begun + Duration::from_secs(u64::from(options.live_seconds) * 3 + 30);
    let mut last_sent = begun;
    while stored < end {
        let due = begun.elapsed().as_millis() * u128::from(options.live_rate) / 1000;
        let due = due.min(count.into());
        while ((waits.len() + sent.len()) as u128) < due {
            let mut trade = feed.next().context("the feed ended early")?;
            last_sent = Instant::now();
            trade.time = chrono::Utc::now().timestamp_micros();
            sent.push_back(last_sent);
            publisher.send(&trade.message(), Encoding::Json)?;
        }
        publisher.serve()?;
        let now_stored = super::stored(db).await?;
        let seen = Instant::now();
        for _ in stored..now_stored {
            let sent = sent.pop_front().context("more is stored than was sent")?;
            waits.push(seen - sent);
        }
        stored = now_stored;
        if seen > deadline {
            bail!("{stored} of {end} ticks are stored, long after the last was sent");
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    waits.sort_unstable();
    let (batches_after, seconds_after) = self::batches(admin).await?;
    let made = batches_after - batches;
    Ok(Live {
        rate: f64::from(count) / (last_sent - begun).as_secs_f64(),
        waits,
        ticks_a_batch: f64::from(count) / made,
        batch: Duration::from_secs_f64((seconds_after - seconds) / made),
        wal_bytes_a_tick: (self::wal(db).await? - wal) / f64::from(count),
    })
}

/// Batches that the worker has committed, and the seconds they took.
async fn batches(admin: &str) -> Result<(f64, f64)> {
    let url = format!("http://{admin}/metrics");
    let text = http::local()?.get(url).send().await?.text().await?;
    let value = |series: &str| {
        let value = http::metric(&text, series);
        value.with_context(|| format!("the worker's metrics have no {series}"))
    };
    Ok((
        value("ingest_batch_duration_seconds_count")?,
        value("ingest_batch_duration_seconds_sum")?,
    ))
}

async fn wal(db: &mut PgConnection) -> Result<f64> {
    let query = "select (pg_current_wal_lsn() - '0/0')::float8";
    Ok(sqlx::query_scalar(query).fetch_one(db).await?)
}
