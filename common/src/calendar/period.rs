//! Periods of whole local dates: days, weeks, months, quarters, years, and groups of them.

use chrono::{Datelike as _, NaiveDate};

use super::{Anchor, zone};
use crate::interval::{Interval, Unit};

/// A day that is a Monday: 1970-01-05, in days after 1970-01-01.
pub(super) const MONDAY: i64 = 4;

/// A grid of local dates, free of zones. Periods tile the calendar.
#[derive(Debug, Clone)]
pub struct Periods(Step);

#[derive(Debug, Clone)]
enum Step {
    /// Length and start of one period, in days after 1970-01-01.
    Days { length: i64, origin: i64 },
    /// Length and start of one period, in months after 1970-01.
    Months { length: i64, origin: i64 },
}

impl Periods {
    /// The periods of `interval`, whose clock units count as one day.
    #[must_use]
    pub fn new(interval: Interval, anchor: Anchor) -> Self {
        let count = i64::from(interval.count());
        let first = match anchor {
            // Whole local dates: a grid without zones has no periods of its own.
            Anchor::Calendar | Anchor::Epoch => None,
            Anchor::First(date) => Some(date),
        };
        let day = first.map(|date| i64::from(date.to_epoch_days()));
        let months = |months_a_unit: i64| {
            let origin = first.map_or(0, |date| {
                month_of(date).div_euclid(months_a_unit) * months_a_unit
            });
            Step::Months {
                length: count * months_a_unit,
                origin,
            }
        };
        Self(match interval.unit() {
            Unit::Second | Unit::Minute | Unit::Hour => Step::Days {
                length: 1,
                origin: 0,
            },
            Unit::Day => Step::Days {
                length: count,
                origin: day.unwrap_or(0),
            },
            Unit::Week => {
                let first_week = |day: i64| day - (day - MONDAY).rem_euclid(7) - 7 * (count - 1);
                Step::Days {
                    length: 7 * count,
                    origin: day.map_or(MONDAY, first_week),
                }
            }
            Unit::Month => months(1),
            Unit::Quarter => months(3),
            Unit::Year => months(12),
        })
    }

    /// The first date of the period that holds `date`.
    #[must_use]
    pub fn start(&self, date: NaiveDate) -> NaiveDate {
        zone::date(self.days(i64::from(date.to_epoch_days())).0)
    }

    /// The period that holds `day`: its first day and the first of the next period, in days after 1970-01-01.
    pub(super) fn days(&self, day: i64) -> (i64, i64) {
        match self.0 {
            Step::Days { length, origin } => {
                let start = day - (day - origin).rem_euclid(length);
                (start, start + length)
            }
            Step::Months { length, origin } => {
                let month = month_of(zone::date(day));
                let start = month - (month - origin).rem_euclid(length);
                (first_day(start), first_day(start + length))
            }
        }
    }
}

/// Months after 1970-01.
fn month_of(date: NaiveDate) -> i64 {
    (i64::from(date.year()) - 1970) * 12 + i64::from(date.month0())
}

/// The first day of a month, in days after 1970-01-01.
fn first_day(month: i64) -> i64 {
    let year = i32::try_from(1970 + month.div_euclid(12)).ok();
    let month0 = u32::try_from(month.rem_euclid(12)).unwrap_or(0);
    let date = year.and_then(|year| NaiveDate::from_ymd_opt(year, month0 + 1, 1));
    date.map_or(
        if month < 0 {
            i64::from(i32::MIN)
        } else {
            i64::from(i32::MAX)
        },
        |date| i64::from(date.to_epoch_days()),
    )
}
