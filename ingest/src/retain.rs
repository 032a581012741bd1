//! Retention: old ticks and old candles are deleted, in short transactions beside the workers.
//!
//! Ticks go first. A symbol's floor is raised before anything below it is deleted, in the row that
//! every writer locks; from then on no candle below it changes. Candles go only below the floor, where
//! nothing can be added to them, and only after the symbol's row says so: readers then tell nothing that
//! is made of them in part. Days stay: weeks, months, quarters and years are made of them.

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use common::calendar::{day_start, local_date, zone_of};
use common::database::Database;

use crate::fold::{Buckets, Level};
use crate::store::symbols::Entry;
use crate::store::{blocks, candles, hours, symbols, timestamp};

/// Blocks and candles that one transaction deletes: it holds the symbol's lock well under a second.
const A_STEP: i64 = 2_000;
/// Days that are tried for one that begins on a whole minute.
const DAYS_BACK: usize = 400;
const MINUTE: i64 = 60_000_000;

/// What was deleted of one symbol, or would be.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Deleted {
    /// Everything before it; `None`: nothing is.
    pub before: Option<DateTime<Utc>>,
    /// Ticks, cancelled ones included, or candles.
    pub rows: i64,
}

/// The start of the last day in `zone` that begins at or before `instant`, and on a whole minute: a
/// minute is deleted as a whole or not at all. Where zones were not yet whole minutes from UTC there is
/// none.
fn day_at_or_before(instant: i64, zone: Tz) -> Option<i64> {
    std::iter::successors(Some(local_date(instant, zone)), NaiveDate::pred_opt)
        .take(DAYS_BACK)
        .map(|date| day_start(date, zone))
        .find(|start| *start <= instant && start.rem_euclid(MINUTE) == 0)
}

/// Deletes the ticks of a symbol before the day that holds `cutoff`, and refuses such ticks from then on.
///
/// # Errors
/// When the database fails, or the symbol's zone is not known.
pub async fn ticks(
    database: &Database,
    symbol: &Entry,
    cutoff: DateTime<Utc>,
    dry_run: bool,
) -> sqlx::Result<Deleted> {
    let zone = zone_of(&symbol.symbol, &symbol.timezone)?;
    let day = day_at_or_before(cutoff.timestamp_micros(), zone).map(timestamp);
    let Some(floor) = day.max(symbol.floor_time) else {
        return Ok(Deleted::default());
    };
    let mut deleted = Deleted {
        before: Some(floor),
        rows: 0,
    };
    if dry_run {
        let mut connection = database.acquire().await?;
        deleted.rows = blocks::count_below(&mut connection, symbol.id, floor).await?;
        return Ok(deleted);
    }
    let mut tx = database.begin().await?;
    symbols::lock(&mut tx, &[symbol.id]).await?;
    symbols::raise_floor(&mut tx, symbol.id, floor).await?;
    tx.commit().await?;
    loop {
        let mut tx = database.begin().await?;
        symbols::lock(&mut tx, &[symbol.id]).await?;
        let gone = blocks::delete_below(&mut tx, symbol.id, floor, A_STEP).await?;
        if gone == 0 {
            return Ok(deleted);
        }
        symbols::touch(&mut tx, symbol.id).await?;
        tx.commit().await?;
        deleted.rows += gone;
    }
}

/// Deletes the candles of `level` of a symbol before the day that holds `cutoff`, and before its floor.
///
/// # Errors
/// When the database fails, or the symbol's zone is not known.
///
/// # Panics
/// For the level of days, which stay.
pub async fn candles(
    database: &Database,
    symbol: &Entry,
    level: Level,
    cutoff: DateTime<Utc>,
    dry_run: bool,
) -> sqlx::Result<Deleted> {
    assert!(level != Level::Day, "days stay");
    let zone = zone_of(&symbol.symbol, &symbol.timezone)?;
    let Some(floor) = symbol.floor_time else {
        return Ok(Deleted::default());
    };
    let Some(day) = day_at_or_before(cutoff.min(floor).timestamp_micros(), zone) else {
        return Ok(Deleted::default());
    };
    // The hour that the day begins in is made of minutes that may still change.
    let before = timestamp(Buckets::new(zone).bucket(Level::Hour, day).start);
    let mut deleted = Deleted {
        before: Some(before),
        rows: 0,
    };
    if dry_run {
        let mut connection = database.acquire().await?;
        deleted.rows = candles::count_before(&mut connection, level, symbol.id, before).await?;
        return Ok(deleted);
    }
    let mut tx = database.begin().await?;
    symbols::lock(&mut tx, &[symbol.id]).await?;
    symbols::raise_kept(&mut tx, symbol.id, level, before).await?;
    tx.commit().await?;
    loop {
        let mut tx = database.begin().await?;
        symbols::lock(&mut tx, &[symbol.id]).await?;
        let gone = candles::delete_before(&mut tx, level, symbol.id, before, A_STEP).await?;
        if level == Level::Minute {
            hours::delete_before(&mut tx, symbol.id, before).await?;
        }
        if gone == 0 {
            return Ok(deleted);
        }
        symbols::touch(&mut tx, symbol.id).await?;
        tx.commit().await?;
        deleted.rows += i64::try_from(gone).unwrap_or(i64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(time: &str) -> i64 {
        time.parse::<DateTime<Utc>>().unwrap().timestamp_micros()
    }

    #[test]
    fn a_floor_is_a_days_start_on_a_whole_minute_at_or_before_the_cutoff() {
        for (cutoff, zone, expected) in [
            (
                "2024-03-04T10:00:00Z",
                Tz::UTC,
                Some("2024-03-04T00:00:00Z"),
            ),
            (
                "2024-03-04T00:00:00Z",
                Tz::UTC,
                Some("2024-03-04T00:00:00Z"),
            ),
            (
                "2024-03-04T18:29:59Z",
                Tz::Asia__Kolkata,
                Some("2024-03-03T18:30:00Z"),
            ),
            (
                "2024-03-04T18:30:00Z",
                Tz::Asia__Kolkata,
                Some("2024-03-04T18:30:00Z"),
            ),
            // Until 1972-01-07 Liberia was 44 minutes and 30 seconds behind.
            (
                "1972-01-08T20:00:00Z",
                Tz::Africa__Monrovia,
                Some("1972-01-08T00:00:00Z"),
            ),
            ("1972-01-06T20:00:00Z", Tz::Africa__Monrovia, None),
        ] {
            let floor = day_at_or_before(micros(cutoff), zone);
            assert_eq!(floor, expected.map(micros), "{cutoff} {zone}");
        }
    }
}
