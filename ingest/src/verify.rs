//! Proves on the stored data that each candle is the aggregate of its ticks, and each view what it is
//! defined as.
//!
//! One symbol after another, each in one snapshot, in bounded memory: blocks stream by in order and
//! every bucket is compared when it is complete. Below a symbol's floor there are no ticks to compare
//! with, and nothing is.

mod symbol;

use chrono::{DateTime, Utc};
use common::calendar::zone_of;
use common::database::Database;

pub(crate) use self::symbol::{AFTER_ALL, BEFORE_ALL};

use self::symbol::Check;
use crate::fold::{Buckets, Level};
use crate::repair;
use crate::store::days::MovedDay;
use crate::store::symbols::Entry;
use crate::store::views::Compared;
use crate::store::{self, marks, symbols, views};

/// Differences that are told one by one.
pub const SENTENCES: usize = 100;

/// Which part of the data is verified, and what is done about differences.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// One symbol only.
    pub symbol: Option<String>,
    /// Only the days, in the symbol's zone, from the one that holds this instant.
    pub from: Option<DateTime<Utc>>,
    /// Only the days that begin before this instant.
    pub to: Option<DateTime<Utc>>,
    /// Candles that differ are recomputed, and views that differ refreshed.
    pub repair: bool,
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
    /// Candles that were written anew, and views that were refreshed.
    pub repaired: u64,
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

/// Where a verification is.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The symbol.
    pub symbol: &'a str,
    /// All symbols that are looked at.
    pub of: usize,
    /// The share of everything that is done, 0 to 1.
    pub share: f64,
}

/// A bucket that differs.
pub type Wrong = (Level, i64);

/// Verifies; `progress` is told again and again.
///
/// # Errors
/// When the database fails or the symbol is not known.
pub async fn verify(
    database: &Database,
    scope: &Scope,
    mut progress: impl FnMut(&Report, &Place<'_>),
) -> sqlx::Result<Report> {
    let listed = symbols::list(&mut *database.acquire().await?, scope.symbol.as_deref()).await?;
    let mut report = Report::default();
    for Entry { symbol, .. } in &listed {
        let mut snapshot = database.snapshot().await?;
        // It idles while a repair runs, and while whoever is told of the progress is slow.
        store::no_idle_timeout(&mut snapshot).await?;
        // Its floor and its zone as of this snapshot, whatever they were when the list was made.
        let mut entry = symbols::list(&mut snapshot, Some(symbol)).await?;
        let entry = entry.remove(0);
        let zone = zone_of(&entry.symbol, &entry.timezone)?;
        let mut check = Check::begin(&mut snapshot, &entry, Buckets::new(zone), scope).await?;
        loop {
            let more = check.step(&mut snapshot, &mut report).await?;
            let share = symbol::share(report.symbols, check.share(), listed.len());
            progress(
                &report,
                &Place {
                    symbol: &entry.symbol,
                    of: listed.len(),
                    share,
                },
            );
            let wrong = check.take_wrong();
            if scope.repair {
                match repair::candles(database, entry.id, &wrong).await {
                    Ok(written) => report.repaired += written,
                    // The other symbols can be repaired.
                    Err(error) => match MovedDay::of(&error) {
                        Some(moved) => report.differ(moved.to_string()),
                        None => return Err(error),
                    },
                }
            }
            if !more {
                break;
            }
        }
        if check.mark_is_low(&mut snapshot, &mut report).await? && scope.repair {
            repair::mark(database, entry.id).await?;
            report.repaired += 1;
        }
        report.symbols += 1;
    }
    for (view, unit) in marks::VIEWS {
        // A refresh needs a transaction of its own, and the next view one that sees it.
        let Compared {
            rows,
            missing,
            stale,
        } = views::compare(&mut *database.snapshot().await?, view, unit).await?;
        report.view_rows += rows;
        if missing + stale == 0 {
            continue;
        }
        report.differ(format!(
            "{view}: {missing} rows are missing or differ, {stale} are stale"
        ));
        if scope.repair {
            repair::view(database, view).await?;
            report.repaired += 1;
        }
    }
    Ok(report)
}
