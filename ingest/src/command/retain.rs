//! `ingest ticks retain` and `ingest candles retain`: old rows are deleted.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand, ValueEnum};
use common::database::Database;

use super::Failure;
use crate::fold::Level;
use crate::retain::{self, Deleted};
use crate::store::{self, symbols};

#[derive(Debug, Subcommand)]
pub(super) enum Ticks {
    /// Delete ticks older than that, up to the beginning of a day in each symbol's zone. Their candles stay. From then on
    /// such a tick becomes a dead letter, `below-floor`.
    Retain(What),
}

#[derive(Debug, Subcommand)]
pub(super) enum Candles {
    /// Delete candles of minutes and hours older than that, as far as their ticks have been deleted. Days stay: weeks,
    /// months, quarters and years are made of them.
    Retain {
        #[command(flatten)]
        what: What,
        /// Which candles.
        #[arg(long = "level", value_enum, default_values_t = [Kept::Minutes, Kept::Hours])]
        levels: Vec<Kept>,
    },
}

#[derive(Debug, Args)]
pub(super) struct What {
    /// How old: `90days`, `2years` before the database's clock, or a time: a date (UTC) or RFC 3339.
    #[arg(long, value_parser = age)]
    older_than: Age,
    /// Only of this symbol.
    #[arg(long)]
    symbol: Option<String>,
    /// Say what would be deleted, and change nothing.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Kept {
    /// `candles_1m`
    #[value(name = "1m")]
    Minutes,
    /// `candles_1h`
    #[value(name = "1h")]
    Hours,
}

impl Kept {
    const fn level(self) -> Level {
        match self {
            Self::Minutes => Level::Minute,
            Self::Hours => Level::Hour,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Age {
    Before(Duration),
    At(DateTime<Utc>),
}

fn age(text: &str) -> Result<Age, String> {
    if let Ok(time) = super::verify::time(text) {
        return Ok(Age::At(time));
    }
    match humantime_serde::re::humantime::parse_duration(text) {
        Ok(duration) => Ok(Age::Before(duration)),
        Err(error) => Err(format!(
            "neither a time nor a duration such as 90days: {error}"
        )),
    }
}

pub(super) async fn ticks(database: &Database, command: Ticks) -> Result<(), Failure> {
    let Ticks::Retain(what) = command;
    let cutoff = cutoff(database, what.older_than).await?;
    let entries = symbols::list(&mut *database.acquire().await?, what.symbol.as_deref()).await?;
    let mut summary = Summary::new("ticks", what.dry_run);
    for entry in &entries {
        let deleted = retain::ticks(database, entry, cutoff, what.dry_run).await?;
        summary.add(&entry.symbol, &deleted);
    }
    summary.print();
    Ok(())
}

pub(super) async fn candles(database: &Database, command: Candles) -> Result<(), Failure> {
    let Candles::Retain { what, levels } = command;
    let cutoff = cutoff(database, what.older_than).await?;
    let entries = symbols::list(&mut *database.acquire().await?, what.symbol.as_deref()).await?;
    for kept in levels {
        let level = kept.level();
        let mut summary = Summary::new(level.table(), what.dry_run);
        for entry in &entries {
            let deleted = retain::candles(database, entry, level, cutoff, what.dry_run).await?;
            summary.add(&entry.symbol, &deleted);
        }
        summary.print();
    }
    Ok(())
}

async fn cutoff(database: &Database, age: Age) -> Result<DateTime<Utc>, Failure> {
    let now = store::now(&mut *database.acquire().await?).await?;
    let cutoff = match age {
        Age::At(time) => Some(time),
        Age::Before(age) => chrono::Duration::from_std(age)
            .ok()
            .and_then(|age| now.checked_sub_signed(age)),
    };
    match cutoff {
        Some(cutoff) if cutoff <= now => Ok(cutoff),
        _ => Err(Failure {
            code: 2,
            error: anyhow::anyhow!("--older-than lies in the future, or before all time"),
        }),
    }
}

/// Adds up what was deleted, symbol by symbol.
struct Summary {
    what: &'static str,
    dry_run: bool,
    symbols: usize,
    rows: i64,
    without_floor: u64,
}

impl Summary {
    const fn new(what: &'static str, dry_run: bool) -> Self {
        Self {
            what,
            dry_run,
            symbols: 0,
            rows: 0,
            without_floor: 0,
        }
    }

    fn add(&mut self, symbol: &str, deleted: &Deleted) {
        self.rows += deleted.rows;
        match deleted.before {
            Some(before) if deleted.rows > 0 => {
                self.symbols += 1;
                println!(
                    "{symbol}: {} {}{} before {}",
                    deleted.rows,
                    self.what,
                    self.would(),
                    before.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
                );
            }
            Some(_) => {}
            None => self.without_floor += 1,
        }
    }

    const fn would(&self) -> &'static str {
        if self.dry_run {
            " would be deleted"
        } else {
            " deleted"
        }
    }

    fn print(self) {
        let would = self.would();
        let nothing = if self.dry_run {
            "; nothing was changed"
        } else {
            ""
        };
        println!(
            "{} {}{would}, of {} symbols{nothing}",
            self.rows, self.what, self.symbols
        );
        if self.without_floor > 0 {
            println!(
                "{} symbols keep all of theirs: none of their ticks were deleted",
                self.without_floor
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_a_duration_or_a_time() {
        let day = Duration::from_hours(24);
        assert_eq!(age("90days"), Ok(Age::Before(90 * day)));
        let date = "2024-03-01T00:00:00Z".parse().unwrap();
        assert_eq!(age("2024-03-01"), Ok(Age::At(date)));
        assert_eq!(age("2024-03-01T01:00:00+01:00"), Ok(Age::At(date)));
        for wrong in ["", "90", "-3days", "tomorrow"] {
            assert!(age(wrong).is_err(), "{wrong}");
        }
    }
}
