//! `ingest symbols`: the dictionary, and the zones of its daily candles.

use chrono_tz::Tz;
use clap::Subcommand;
use common::database::Database;
use common::tick::{Symbol, TickError};

use super::Failure;
use crate::rezone::{Rezoned, rezone};
use crate::store::symbols;

#[derive(Debug, Subcommand)]
pub(super) enum Symbols {
    /// Print each symbol with its zone, its last tick, and the floor below which its ticks were deleted.
    List {
        /// Only this symbol.
        #[arg(long)]
        symbol: Option<String>,
    },
    /// Give a symbol another zone: its daily candles are made anew, and its weeks to years follow, all at once for
    /// readers. Workers wait meanwhile. A symbol that is not known yet is made.
    Set {
        /// The symbol.
        #[arg(value_parser = name)]
        symbol: String,
        /// An IANA name, such as `America/New_York`.
        #[arg(long, value_parser = zone)]
        timezone: Tz,
        /// Make its days anew although it is in that zone: when the zone's rules have changed.
        #[arg(long)]
        rebuild: bool,
        /// Do the same and take it back: nothing is changed.
        #[arg(long)]
        dry_run: bool,
    },
}

fn zone(name: &str) -> Result<Tz, String> {
    name.parse()
        .map_err(|_| "no IANA zone that this program knows, such as America/New_York".to_owned())
}

fn name(name: &str) -> Result<String, TickError> {
    Symbol::check(name)?;
    Ok(name.to_owned())
}

pub(super) async fn execute(database: &Database, command: Symbols) -> Result<(), Failure> {
    match command {
        Symbols::List { symbol } => {
            let entries = symbols::list(&mut *database.acquire().await?, symbol.as_deref()).await?;
            for entry in &entries {
                let time = |time: Option<chrono::DateTime<chrono::Utc>>| {
                    time.map_or("none".into(), |time| {
                        time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
                    })
                };
                println!(
                    "{}  {}  last tick {}  floor {}",
                    entry.symbol,
                    entry.timezone,
                    time(entry.high_time),
                    time(entry.floor_time)
                );
            }
            println!("{} symbols", entries.len());
            Ok(())
        }
        Symbols::Set {
            symbol,
            timezone,
            rebuild,
            dry_run,
        } => {
            let done = rezone(database, &symbol, timezone, rebuild, dry_run).await?;
            let would = if dry_run { "would be " } else { "" };
            match done {
                Rezoned::Already => println!("{symbol} is in {timezone} already"),
                Rezoned::Made => println!("{symbol} {would}made, in {timezone}"),
                Rezoned::Changed { from, days } if from == timezone.name() => println!(
                    "{symbol} stays in {timezone}: its {} days {would}made anew, as {}",
                    days.0, days.1
                ),
                Rezoned::Changed { from, days } => println!(
                    "{symbol} {would}moved from {from} to {timezone}: its {} days {would}made anew, as {}",
                    days.0, days.1
                ),
            }
            if dry_run {
                println!("nothing was changed");
            }
            Ok(())
        }
    }
}
