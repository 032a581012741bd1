//! Loading history through Kafka, at the pace of `ingest`: the embedded broker keeps only about 5 MiB a partition.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use chrono::{DateTime, NaiveDate};
use sqlx::{Connection as _, PgConnection};

use super::parts::Programs;
use crate::publish::{self, Reading};
use crate::publisher::{Delivered, Encoding, Publisher};
use crate::tick::Tick;
use crate::{eventually_while, workspace};

/// Ticks between two waits; some 120 bytes each, so that a partition never holds more than a quarter of what it keeps.
const CHUNK: usize = 8_000;

/// Publishes the bars that the database lacks, waits until they are stored, and says what was done.
pub(super) async fn load(
    publisher: &Publisher,
    topic: &str,
    database: &str,
    programs: &mut Programs,
) -> Result<String> {
    let file = workspace::root().join("testbed/data/stocks_daily.csv");
    let reading = Reading {
        float32: true,
        ..Reading::default()
    };
    let all: Vec<Tick> = publish::ticks(&file, &reading)?.collect::<Result<_>>()?;
    let mut connection = PgConnection::connect(database)
        .await
        .context("the database cannot be reached")?;
    let missing = missing(&mut connection, all).await?;
    if missing.is_empty() {
        return Ok("history is loaded already".to_owned());
    }
    for chunk in missing.chunks(CHUNK) {
        for tick in chunk {
            publisher.send(tick, Encoding::Json)?;
        }
        let delivered = publisher.settle().await?;
        wait_until_stored(&mut connection, topic, &delivered, programs).await?;
    }
    connection
        .close()
        .await
        .context("the database closed the connection")?;
    Ok(format!(
        "history is loaded: {} daily bars of AAPL, AMZN, GOOG, META, NFLX, NVDA",
        missing.len() / 4
    ))
}

/// The ticks from each symbol's last whole day on; that day comes again, and duplicates do no harm. A day is whole when its
/// four ticks are stored.
async fn missing(connection: &mut PgConnection, all: Vec<Tick>) -> Result<Vec<Tick>> {
    let date = |tick: &Tick| {
        DateTime::from_timestamp_micros(tick.event_time).map(|time| time.date_naive())
    };
    let mut ends: HashMap<String, NaiveDate> = HashMap::new();
    for tick in &all {
        if let Some(day) = date(tick) {
            let end = ends.entry(tick.symbol.clone()).or_insert(day);
            *end = day.max(*end);
        }
    }
    let mut stored: HashMap<String, NaiveDate> = HashMap::new();
    for (symbol, end) in &ends {
        let last: Option<NaiveDate> = sqlx::query_scalar(
            "select max(c.local_date) from market_data.candles_1d c join market_data.symbols s on s.id = c.symbol_id \
             where s.symbol = $1 and c.local_date <= $2 and c.trades >= 4",
        )
        .bind(symbol)
        .bind(end)
        .fetch_one(&mut *connection)
        .await
        .context("what history is loaded cannot be read")?;
        stored.extend(last.map(|last| (symbol.clone(), last)));
    }
    let done = |tick: &Tick| stored.get(&tick.symbol) == ends.get(&tick.symbol);
    let needed = |tick: &Tick| {
        !done(tick)
            && stored
                .get(&tick.symbol)
                .is_none_or(|last| date(tick) >= Some(*last))
    };
    Ok(all.into_iter().filter(|tick| needed(tick)).collect())
}

async fn wait_until_stored(
    connection: &mut PgConnection,
    topic: &str,
    delivered: &Delivered,
    programs: &mut Programs,
) -> Result<()> {
    eventually_while(
        "ingest stores the history",
        Duration::from_mins(2),
        || programs.check_alive(),
        async || {
            for (partition, end) in &delivered.ends {
                let next: Option<i64> = sqlx::query_scalar(
                r#"select max(next_offset) from market_data.ingest_offsets where topic = $1 and "partition" = $2"#,
            )
            .bind(topic)
            .bind(partition)
            .fetch_one(&mut *connection)
            .await?;
                if next.is_none_or(|next| next < *end) {
                    return Err(anyhow!(
                        "partition {partition} is at {} of {end}",
                        next.unwrap_or(0)
                    ));
                }
            }
            Ok(())
        },
    )
    .await
}
