//! Marks: periods of the views that changed at or after their end, see
//! `migrations/0005_candle_views.sql`.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use common::calendar::{Anchor, Periods, day_start};
use common::interval::{Interval, Unit};
use sqlx::PgConnection;

/// The views, with the unit of their periods.
pub const VIEWS: [(&str, Unit); 4] = [
    ("candles_1w", Unit::Week),
    ("candles_1mo", Unit::Month),
    ("candles_1q", Unit::Quarter),
    ("candles_1y", Unit::Year),
];

/// A period that ends within this time is marked already: a refresh after its end may have begun
/// before the transaction that writes the mark commits. No transaction lives that long.
const AHEAD: Duration = Duration::from_hours(1);

/// A mark: view, symbol id, first date of the period.
pub type Mark = (&'static str, i32, NaiveDate);

/// The marks that changes of days call for at the time `now` of the database: symbol id, local date, zone.
pub fn of_days(
    days: impl Iterator<Item = (i32, NaiveDate, Tz)>,
    now: DateTime<Utc>,
) -> BTreeSet<Mark> {
    // Many symbols change on few days.
    let mut ended: HashMap<(NaiveDate, Tz), Vec<(&'static str, NaiveDate)>> = HashMap::new();
    days.flat_map(|(id, date, zone)| {
        let periods = ended
            .entry((date, zone))
            .or_insert_with(|| ended_periods(date, zone, now));
        let marks: Vec<Mark> = periods
            .iter()
            .map(|(view, period)| (*view, id, *period))
            .collect();
        marks
    })
    .collect()
}

/// The periods that hold a day and have ended, or end soon.
///
/// # Panics
/// Never: one of a unit is an interval.
fn ended_periods(date: NaiveDate, zone: Tz, now: DateTime<Utc>) -> Vec<(&'static str, NaiveDate)> {
    let horizon = (now + AHEAD).timestamp_micros();
    let mut ended = Vec::new();
    for (view, unit) in VIEWS {
        let Ok(interval) = Interval::new(1, unit) else {
            unreachable!("one of a unit is an interval")
        };
        let periods = Periods::new(interval, Anchor::Calendar);
        let period = periods.start(date);
        // The longest period has 366 days: the next one begins within that time of this one's start.
        let next = (1..=366)
            .map(|periods_of_days| period + chrono::Days::new(periods_of_days))
            .find(|day| periods.start(*day) == *day);
        if next.is_some_and(|next| day_start(next, zone) <= horizon) {
            ended.push((view, period));
        }
    }
    ended
}

/// Writes marks, in order; a mark that is there gets a new generation.
///
/// # Errors
/// When the database fails.
pub async fn write(db: &mut PgConnection, marks: &BTreeSet<Mark>) -> sqlx::Result<()> {
    if marks.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into view_marks as m (view, symbol_id, period) \
         select * from unnest($1::text[], $2::integer[], $3::date[]) \
         on conflict (view, symbol_id, period) do update set generation = m.generation + 1",
    )
    .bind(marks.iter().map(|mark| mark.0).collect::<Vec<_>>())
    .bind(marks.iter().map(|mark| mark.1).collect::<Vec<_>>())
    .bind(marks.iter().map(|mark| mark.2).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}

/// Marks every period that has a day of the symbol.
///
/// # Errors
/// When the database fails.
pub async fn write_all(db: &mut PgConnection, symbol_id: i32) -> sqlx::Result<()> {
    sqlx::query(include_str!("marks_write_all.sql"))
        .bind(symbol_id)
        .execute(db)
        .await?;
    Ok(())
}
