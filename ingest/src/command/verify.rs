//! `ingest verify`: is each candle the aggregate of its ticks?

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use clap::Args;
use common::database::Database;

use super::Failure;
use super::progress::Progress;
use crate::verify::{self, Report, Scope};

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// Only this symbol.
    #[arg(long)]
    symbol: Option<String>,
    /// Only the days, in each symbol's zone, from the one that holds this time: RFC 3339, or a date (UTC).
    #[arg(long, value_parser = time)]
    from: Option<DateTime<Utc>>,
    /// Only the days that begin before this time.
    #[arg(long, value_parser = time)]
    to: Option<DateTime<Utc>>,
    /// Recompute the candles that differ, refresh the views that differ, and look again. Blocks of ticks that overlap are
    /// told only.
    #[arg(long)]
    repair: bool,
}

/// RFC 3339, or a date: its first instant (UTC).
pub(super) fn time(text: &str) -> Result<DateTime<Utc>, String> {
    let date = text.parse::<NaiveDate>();
    let date = date.map(|date| date.and_time(NaiveTime::MIN).and_utc());
    date.or_else(|_| text.parse())
        .map_err(|_| "neither a date nor a time such as 2024-01-15T12:00:00Z".to_owned())
}

pub(super) async fn execute(database: &Database, arguments: Verify) -> Result<(), Failure> {
    if let Some((from, to)) = arguments.from.zip(arguments.to)
        && from > to
    {
        let error = anyhow::anyhow!("--from {from} is after --to {to}: exchange them");
        return Err(Failure { code: 2, error });
    }
    let mut scope = Scope {
        symbol: arguments.symbol,
        from: arguments.from,
        to: arguments.to,
        repair: arguments.repair,
    };
    let mut report = verify(database, &scope).await?;
    if report.differences > 0 && scope.repair {
        println!(
            "{} candles and views were made anew; looking again",
            report.repaired
        );
        scope.repair = false;
        report = verify(database, &scope).await?;
    }
    if report.differences == 0 {
        Ok(())
    } else {
        Err(anyhow::anyhow!("{} differences", report.differences).into())
    }
}

async fn verify(database: &Database, scope: &Scope) -> sqlx::Result<Report> {
    let mut progress = Progress::new();
    let report = verify::verify(database, scope, |report, place| {
        progress.show(place.share, || {
            format!(
                "{}, {} of {} symbols, {} ticks, {} differences",
                place.symbol, report.symbols, place.of, report.ticks, report.differences
            )
        });
    })
    .await?;
    progress.end();
    for sentence in &report.sentences {
        println!("{sentence}");
    }
    if report.differences > report.sentences.len() as u64 {
        println!("… and more; these are the first {}", report.sentences.len());
    }
    println!(
        "{} symbols, {} ticks, {} candles and {} rows of views compared: {} differences",
        report.symbols, report.ticks, report.candles, report.view_rows, report.differences
    );
    Ok(report)
}
