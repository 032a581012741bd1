//! The grid: which bucket an instant lies in, in any time zone, for every interval.
//!
//! This is the one function behind aggregation, fill, paging and the stored days. The buckets of a
//! [`Grid`] tile time without gap or overlap and depend on nothing but the interval, the zone and
//! the anchor. Zone rules are bundled with the binary; the process's own zone plays no part.
//!
//! - Clock units: boundaries are the instants whose local time of day is a multiple of the length.
//!   Both passes of a repeated local time are boundaries, a skipped one is none. Every local day
//!   starts a bucket, so that hours nest in days.
//! - `d`: from the first instant of a local date to that of the next.
//! - `w`: ISO weeks; `M`, `q`, `y`: months of the local calendar.
//! - With [`Anchor::Epoch`] all of them but months are lengths of UTC time.
//!
//! Instants are whole microseconds since 1970-01-01T00:00:00Z.

mod period;
#[cfg(test)]
mod tests;
mod zone;

use chrono::NaiveDate;
use chrono_tz::Tz;

pub use period::Periods;
pub use zone::{UnknownZone, day_bounds, day_start, local_date, zone_of};

use crate::interval::{Interval, Unit};
use zone::{DAY, SECOND};

/// What the buckets of a grid are counted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// Local 1970: days from 1970-01-01, weeks from Monday 1970-01-05, months from 1970-01.
    Calendar,
    /// The period of this local date. Weeks differ: a group of N weeks ends with the first week.
    /// Clock units restart each day, so nothing changes for them.
    First(NaiveDate),
    /// 1970-01-01T00:00:00Z, weeks Monday 1970-01-05T00:00:00Z, and then without end: every bucket has
    /// the same length, and no zone moves a boundary. Months, quarters and years have no such grid:
    /// they keep their calendar.
    Epoch,
}

/// The time of one candle: `start <= instant < end`, microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bucket {
    /// First instant, inclusive.
    pub start: i64,
    /// First instant of the next bucket.
    pub end: i64,
}

impl Bucket {
    /// Whether `instant` lies in it.
    #[must_use]
    pub const fn contains(&self, instant: i64) -> bool {
        self.start <= instant && instant < self.end
    }
}

/// The coarsest UTC level of which every bucket of a grid is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Some boundary is not on a whole UTC minute.
    Tick,
    /// All boundaries are on whole UTC minutes.
    Minute,
    /// All boundaries are on whole UTC hours.
    Hour,
}

impl Level {
    /// Of all multiples of `micros`.
    const fn of(micros: i64) -> Self {
        if micros % (3_600 * SECOND) == 0 {
            Self::Hour
        } else if micros % (60 * SECOND) == 0 {
            Self::Minute
        } else {
            Self::Tick
        }
    }
}

/// The buckets of an interval in a zone.
#[derive(Debug, Clone)]
pub struct Grid {
    tz: Tz,
    rule: Rule,
}

#[derive(Debug, Clone)]
enum Rule {
    /// Length in microseconds, below a day.
    Clock(i64),
    /// Length in microseconds, and an instant that is a boundary.
    Even {
        length: i64,
        origin: i64,
    },
    Periods(Periods),
}

impl Grid {
    /// The grid of `interval` in `tz`.
    #[must_use]
    pub fn new(interval: Interval, tz: Tz, anchor: Anchor) -> Self {
        let even = even(interval).filter(|_| anchor == Anchor::Epoch);
        let rule = match (even, interval.seconds()) {
            (Some((length, origin)), _) => Rule::Even { length, origin },
            (None, Some(seconds)) => Rule::Clock(i64::from(seconds) * SECOND),
            (None, None) => Rule::Periods(Periods::new(interval, anchor)),
        };
        Self { tz, rule }
    }

    /// The zone.
    #[must_use]
    pub const fn tz(&self) -> Tz {
        self.tz
    }

    /// The bucket that `instant` lies in. A caller that goes through time in order keeps the bucket
    /// and asks again when an instant leaves it.
    #[must_use]
    pub fn bucket(&self, instant: i64) -> Bucket {
        let instant = zone::clamp(instant);
        match &self.rule {
            Rule::Even { length, origin } => {
                let start = instant - (instant - origin).rem_euclid(*length);
                Bucket {
                    start,
                    end: start + length,
                }
            }
            Rule::Clock(length) => {
                let day = zone::local_day(instant, self.tz);
                Bucket {
                    start: floor(instant, *length, self.tz).max(zone::start_of_day(day, self.tz)),
                    end: next(instant, *length, self.tz)
                        .min(zone::start_of_next_day(day, instant, self.tz)),
                }
            }
            Rule::Periods(periods) => {
                let (first, after) = periods.days(zone::local_day(instant, self.tz));
                Bucket {
                    start: zone::start_of_day(first, self.tz),
                    end: zone::start_of_day(after, self.tz),
                }
            }
        }
    }

    /// The bucket after `bucket`.
    #[must_use]
    pub fn after(&self, bucket: Bucket) -> Bucket {
        self.bucket(bucket.end)
    }

    /// The bucket before `bucket`.
    #[must_use]
    pub fn before(&self, bucket: Bucket) -> Bucket {
        self.bucket(bucket.start - 1)
    }

    /// The first boundary at or after `instant`.
    #[must_use]
    pub fn ceil(&self, instant: i64) -> i64 {
        let bucket = self.bucket(instant);
        if bucket.start == instant {
            instant
        } else {
            bucket.end
        }
    }

    /// The buckets that start in `from <= start < to`, oldest first.
    pub fn buckets(&self, from: i64, to: i64) -> impl Iterator<Item = Bucket> + '_ {
        let first = self.bucket(self.ceil(from));
        std::iter::successors(Some(first), |bucket| Some(self.after(*bucket)))
            .take_while(move |bucket| bucket.start < to)
    }

    /// The coarsest UTC level that nests in every bucket that touches `from <= instant < to`.
    #[must_use]
    pub fn level(&self, from: i64, to: i64) -> Level {
        let own = match self.rule {
            Rule::Even { length, .. } => return Level::of(length),
            Rule::Clock(length) => Level::of(length),
            Rule::Periods(_) => Level::Hour,
        };
        // Touching buckets reach beyond the range.
        let from = self.bucket(from).start;
        let to = self.bucket(to.max(from)).end;
        own.min(zone::level(self.tz, from, to))
    }
}

/// Length and a boundary of the buckets that no zone moves, for units that have a length.
fn even(interval: Interval) -> Option<(i64, i64)> {
    let count = i64::from(interval.count());
    match interval.unit() {
        Unit::Second => Some((count * SECOND, 0)),
        Unit::Minute => Some((count * 60 * SECOND, 0)),
        Unit::Hour => Some((count * 3_600 * SECOND, 0)),
        Unit::Day => Some((count * DAY, 0)),
        Unit::Week => Some((count * 7 * DAY, period::MONDAY * DAY)),
        Unit::Month | Unit::Quarter | Unit::Year => None,
    }
}

/// The last clock boundary at or before `instant`: the zone's day start may come after it.
fn floor(instant: i64, length: i64, tz: Tz) -> i64 {
    let offset = zone::offset(instant, tz);
    let boundary = instant - (instant + offset).rem_euclid(DAY) % length;
    let earlier = zone::offset(boundary, tz);
    if earlier == offset {
        return boundary;
    }
    // The clock jumped in between, and the boundary lies before the jump: go on from there.
    let last = zone::transition(boundary, instant, tz) - 1;
    last - (last + earlier).rem_euclid(DAY) % length
}

/// The first clock boundary after `instant`, local midnight included.
fn next(instant: i64, length: i64, tz: Tz) -> i64 {
    let after = |instant: i64, offset: i64| {
        let time = (instant + offset).rem_euclid(DAY);
        instant - time + (time - time % length + length).min(DAY)
    };
    let offset = zone::offset(instant, tz);
    let boundary = after(instant, offset);
    let later = zone::offset(boundary, tz);
    if later == offset {
        return boundary;
    }
    // The clock jumps first. Its first instant after the jump may be a boundary itself.
    after(zone::transition(instant, boundary, tz) - 1, later)
}
