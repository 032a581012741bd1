//! `testbed publish`: a CSV file of daily bars or ticks, as messages.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result};
use chrono_tz::Tz;
use clap::{Args, ValueEnum};

use crate::bars::Bars;
use crate::publisher::{Delivered, Encoding, Publisher};
use crate::table::Table;
use crate::tick::Tick;
use crate::ticks_csv::{TIME_COLUMNS, TicksCsv};
use crate::{avro, registry};

/// How messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One JSON object a message.
    Json,
    /// Avro in Confluent's wire format; needs a schema registry.
    Avro,
}

/// Where messages go and how they are written.
#[derive(Debug, Clone, Args)]
pub struct Target {
    /// Addresses of brokers, host:port, separated by commas.
    #[arg(long, env = "FDA_KAFKA__BROKERS")]
    pub brokers: String,
    /// The topic, which must exist.
    #[arg(long, default_value = "ticks")]
    pub topic: String,
    /// How messages are written.
    #[arg(long, env = "FDA_KAFKA__FORMAT", value_enum, default_value = "json")]
    pub format: Format,
    /// Base URL of a schema registry, for Avro; the subject is the topic's name and `-value`.
    #[arg(
        long,
        env = "FDA_KAFKA__SCHEMA_REGISTRY_URL",
        required_if_eq("format", "avro")
    )]
    pub schema_registry: Option<String>,
}

impl Target {
    /// The encoding; for Avro the schema is registered first.
    ///
    /// # Errors
    ///
    /// When the registry refuses the schema.
    pub async fn encoding(&self) -> Result<Encoding> {
        match (self.format, &self.schema_registry) {
            (Format::Json, _) => Ok(Encoding::Json),
            (Format::Avro, url) => {
                let url = url
                    .as_deref()
                    .context("Avro needs a schema registry: give --schema-registry URL")?;
                let subject = format!("{}-value", self.topic);
                Ok(Encoding::Avro {
                    schema_id: registry::register(url, &subject, avro::SCHEMA).await?,
                })
            }
        }
    }
}

/// How a file is read.
#[derive(Debug, Clone, Default, Args)]
pub struct Reading {
    /// Read a price as the shortest decimal of the nearest single-precision float (94.681503 is 94.6815).
    #[arg(long)]
    pub float32: bool,
    /// The symbol, for a file of ticks without such a column.
    #[arg(long)]
    pub symbol: Option<String>,
    /// The symbols' time zone, in which a bar's date is a day (IANA name).
    #[arg(long, default_value = "UTC")]
    pub timezone: Tz,
}

/// What `testbed publish` is told.
#[derive(Debug, Clone, Args)]
pub struct Publish {
    /// Daily bars (symbol,date,open,high,low,close,volume) or ticks (`event_time`,price,size or with symbol and sequence).
    ///
    /// An event time is RFC 3339 or microseconds since 1970, and its column may be called `timestamp`. Ticks without a
    /// sequence are numbered as they stand in the file, each symbol's from 1. A file is read to its end before anything is
    /// sent; what comes through a pipe is sent as it is read.
    pub file: PathBuf,
    /// Where messages go.
    #[command(flatten)]
    pub target: Target,
    /// How the file is read.
    #[command(flatten)]
    pub reading: Reading,
}

/// The ticks of a file; whether it holds bars or ticks is told by its columns.
///
/// # Errors
///
/// When the file cannot be read or lacks a column; a bad line is an error of the iterator.
pub fn ticks(
    file: &Path,
    reading: &Reading,
) -> Result<Box<dyn Iterator<Item = Result<Tick>> + Send>> {
    let table = Table::open(file)?;
    if TIME_COLUMNS.iter().any(|name| table.find(name).is_some()) {
        return Ok(Box::new(TicksCsv::from_table(
            table,
            reading.symbol.as_deref(),
            reading.float32,
        )?));
    }
    let zone = reading.timezone;
    let bars = Bars::from_table(table, reading.float32)?;
    Ok(Box::new(bars.flat_map(
        move |bar| match bar.and_then(|bar| bar.ticks(zone)) {
            Ok(ticks) => ticks.map(Ok).into(),
            Err(error) => vec![Err(error)],
        },
    )))
}

/// Reads a file to its end, so that a bad line is told before anything is sent. What lies in `/dev` can be read once only.
fn check(file: &Path, reading: &Reading, format: Format) -> Result<()> {
    let encoding = match format {
        Format::Json => Encoding::Json,
        // The real one comes from the registry and changes nothing of what can be written.
        Format::Avro => Encoding::Avro { schema_id: 0 },
    };
    if file.is_file() && !file.starts_with("/dev") {
        for tick in ticks(file, reading)? {
            encoding.encode(&tick?)?;
        }
    }
    Ok(())
}

/// Publishes a file and waits until the brokers have confirmed all of it; prints count and rate.
///
/// # Errors
///
/// When the file has a bad line, or the brokers do not take a message.
pub async fn publish(options: &Publish) -> Result<Delivered> {
    let (file, reading) = (options.file.clone(), options.reading.clone());
    let format = options.target.format;
    let checked = tokio::task::spawn_blocking(move || check(&file, &reading, format)).await?;
    checked.context("nothing was sent")?;
    let encoding = options.target.encoding().await?;
    let all = ticks(&options.file, &options.reading)?;
    let (brokers, topic) = (options.target.brokers.clone(), options.target.topic.clone());
    let publisher =
        tokio::task::spawn_blocking(move || Publisher::connect(&brokers, &topic)).await??;
    let start = Instant::now();
    let (publisher, sent) = tokio::task::spawn_blocking(move || {
        let sent = send_all(&publisher, all, encoding, start);
        (publisher, sent)
    })
    .await?;
    let delivered = publisher.settle().await?;
    // A bad line is told after what came before it has arrived.
    sent.with_context(|| format!("stopped after {} messages", delivered.count))?;
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{} messages to {} in {seconds:.1} s ({:.0} a second)",
        delivered.count,
        options.target.topic,
        rate(delivered.count, seconds)
    );
    Ok(delivered)
}

fn send_all(
    publisher: &Publisher,
    ticks: impl Iterator<Item = Result<Tick>>,
    encoding: Encoding,
    start: Instant,
) -> Result<()> {
    for (count, tick) in (1_u64..).zip(ticks) {
        publisher.send(&tick?, encoding)?;
        if count.is_multiple_of(500_000) {
            let seconds = start.elapsed().as_secs_f64();
            eprintln!("{count} sent ({:.0} a second) …", rate(count, seconds));
            std::io::stderr().flush()?;
        }
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
fn rate(count: u64, seconds: f64) -> f64 {
    count as f64 / seconds.max(1e-3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_bad_line_is_told_before_anything_is_sent() {
        // GIVEN a file whose last line cannot be read, or not be written as a message, and no broker
        let name = format!("testbed-publish-{}.csv", std::process::id());
        let file = std::env::temp_dir().join(name);
        for (last, told) in [
            ("2,one,1", ".csv:3"),
            ("9223372036854775807,1,1", "9223372036854775807"),
        ] {
            std::fs::write(&file, format!("event_time,price,size\n1,1,1\n{last}\n")).unwrap();
            let options = Publish {
                file: file.clone(),
                target: Target {
                    brokers: "127.0.0.1:1".into(),
                    topic: "ticks".into(),
                    format: Format::Json,
                    schema_registry: None,
                },
                reading: Reading {
                    symbol: Some("A".into()),
                    ..Reading::default()
                },
            };
            // WHEN it is published THEN that is told, and not the broker
            let error = format!("{:#}", publish(&options).await.unwrap_err());
            assert!(
                error.contains("nothing was sent") && error.contains(told),
                "{error}"
            );
        }
        std::fs::remove_file(file).unwrap();
    }
}
