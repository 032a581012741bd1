//! Local days of a time zone.
//!
//! A local date may lack its midnight, have it twice, or be skipped as a whole (Pacific/Apia,
//! 2011-12-30). A day starts at the first instant whose local date is that date or a later one; so
//! days tile time, and a skipped one is empty. The date of an instant is the one whose day holds it:
//! where clocks go back over midnight, the second pass belongs to the later date, which had begun.
//!
//! Of all transitions in the zone database no two of one zone are less than 95 hours apart (the
//! closest: Africa/Freetown, September 1939; since 1970 166 hours). So two instants of at most
//! [`APART`] distance have at most one transition between them.

use chrono::{DateTime, NaiveDate, Offset as _, TimeZone as _};
use chrono_tz::Tz;

use super::Level;

pub(super) const SECOND: i64 = 1_000_000;
pub(super) const DAY: i64 = 86_400 * SECOND;

/// See the head of this file.
const APART: i64 = 3 * DAY;
/// More than any zone's distance from UTC (15 h 13 min, America/Juneau before 1867).
const REACH: i64 = 26 * 3_600 * SECOND;
/// Instants are pinned to about the years -10 000 to 14 000, which leaves room to add to them.
const LIMIT: i64 = 400_000_000_000 * SECOND;

pub(super) fn clamp(instant: i64) -> i64 {
    instant.clamp(-LIMIT, LIMIT)
}

/// Local time minus UTC at `instant`, in microseconds.
pub(super) fn offset(instant: i64, tz: Tz) -> i64 {
    if tz == Tz::UTC {
        return 0;
    }
    let utc = DateTime::from_timestamp(clamp(instant).div_euclid(SECOND), 0).unwrap_or_default();
    i64::from(
        tz.offset_from_utc_datetime(&utc.naive_utc())
            .fix()
            .local_minus_utc(),
    ) * SECOND
}

/// The instant of the one transition in `before < instant <= after`, whose offsets differ.
pub(super) fn transition(before: i64, after: i64, tz: Tz) -> i64 {
    let target = offset(after, tz);
    // Transitions are on whole seconds.
    let (mut low, mut high) = (before.div_euclid(SECOND), after.div_euclid(SECOND));
    while low + 1 < high {
        let middle = low.midpoint(high);
        if offset(middle * SECOND, tz) == target {
            high = middle;
        } else {
            low = middle;
        }
    }
    high * SECOND
}

/// The first instant whose local time, in microseconds since local 1970-01-01T00:00, is at least `local`.
fn first_instant(local: i64, tz: Tz) -> i64 {
    let (before, after) = (local - REACH, local + REACH);
    let (old, new) = (offset(before, tz), offset(after, tz));
    if old == new {
        return local - old;
    }
    let change = transition(before, after, tz);
    if local - old < change {
        local - old
    } else {
        change.max(local - new)
    }
}

/// The start of the local day that is `day` days after 1970-01-01.
pub(super) fn start_of_day(day: i64, tz: Tz) -> i64 {
    first_instant(day * DAY, tz)
}

/// The start of the first day after `day` that begins after `instant`; dates that are skipped begin
/// with the next one.
pub(super) fn start_of_next_day(day: i64, instant: i64, tz: Tz) -> i64 {
    let mut next = day + 1;
    loop {
        let start = start_of_day(next, tz);
        if start > instant {
            return start;
        }
        next += 1;
    }
}

/// The local day of `instant`, in days after 1970-01-01.
pub(super) fn local_day(instant: i64, tz: Tz) -> i64 {
    let mut day = (instant + offset(instant, tz)).div_euclid(DAY);
    // Clocks that go back over midnight (America/St_Johns at 00:01): the later date has begun.
    while start_of_day(day + 1, tz) <= instant {
        day += 1;
    }
    day
}

pub(super) fn date(day: i64) -> NaiveDate {
    let end = if day < 0 {
        NaiveDate::MIN
    } else {
        NaiveDate::MAX
    };
    i32::try_from(day)
        .ok()
        .and_then(NaiveDate::from_epoch_days)
        .unwrap_or(end)
}

/// A symbol's zone that is not in the zone database of this program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "symbol {symbol} has the zone {zone:?}, which is no IANA zone that this program knows: give it another \
     with `ingest symbols set`, or run a version that knows it"
)]
pub struct UnknownZone {
    symbol: String,
    zone: String,
}

/// The zone of a symbol by its stored IANA name, spelled as there.
///
/// # Errors
/// When the name is not known.
pub fn zone_of(symbol: &str, zone: &str) -> Result<Tz, UnknownZone> {
    zone.parse().map_err(|_| UnknownZone {
        symbol: symbol.to_owned(),
        zone: zone.to_owned(),
    })
}

/// The first instant of a local date, in microseconds since 1970-01-01T00:00:00Z.
#[must_use]
pub fn day_start(date: NaiveDate, tz: Tz) -> i64 {
    start_of_day(i64::from(date.to_epoch_days()), tz)
}

/// A local date's first instant and that of the next date. Both are equal for a date that the zone skipped.
#[must_use]
pub fn day_bounds(date: NaiveDate, tz: Tz) -> (i64, i64) {
    let day = i64::from(date.to_epoch_days());
    (start_of_day(day, tz), start_of_day(day + 1, tz))
}

/// The local date whose day holds `instant`, microseconds since 1970-01-01T00:00:00Z.
#[must_use]
pub fn local_date(instant: i64, tz: Tz) -> NaiveDate {
    date(local_day(clamp(instant), tz))
}

/// The coarsest UTC level on which all local hours and days of `from <= instant <= to` begin.
pub(super) fn level(tz: Tz, from: i64, to: i64) -> Level {
    if tz == Tz::UTC {
        return Level::Hour;
    }
    let to = clamp(to);
    let mut at = clamp(from);
    let mut current = offset(at, tz);
    let mut level = Level::of(current);
    while at < to && level > Level::Tick {
        let step = at.saturating_add(APART).min(to);
        let later = offset(step, tz);
        if later != current {
            level = level
                .min(Level::of(later))
                .min(Level::of(transition(at, step, tz)));
        }
        (at, current) = (step, later);
    }
    level
}
