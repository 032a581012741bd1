//! Which stored level an answer is made of: the coarsest one that nests in the grid asked for.

use common::calendar::{Anchor, Grid, Level};
use common::interval::{Interval, Unit};

/// A stored level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// Weeks to years of the symbol's own zone, with days where the view is behind.
    View(View),
    /// Days of the symbol's own zone.
    Days,
    /// UTC hours.
    Hours,
    /// UTC minutes.
    Minutes,
    /// Ticks.
    Ticks,
}

/// A materialized view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum View {
    Weeks,
    Months,
    Quarters,
    Years,
}

/// The source of `interval` on `grid`, whose days are those of the symbol's own zone or not; all that is stored lies in
/// `from <= instant <= to`.
pub(crate) fn plan(
    interval: Interval,
    anchor: Anchor,
    grid: &Grid,
    own_days: bool,
    (from, to): (i64, i64),
) -> Source {
    let unit = match interval.unit() {
        Unit::Day if own_days => return Source::Days,
        Unit::Week if own_days => return Source::View(View::Weeks),
        Unit::Month if own_days => 1,
        Unit::Quarter if own_days => 3,
        Unit::Year if own_days => 12,
        _ => {
            return match grid.level(from, to) {
                Level::Hour => Source::Hours,
                Level::Minute => Source::Minutes,
                Level::Tick => Source::Ticks,
            };
        }
    };
    let months = match anchor {
        // Groups may begin with any unit.
        Anchor::First(_) => unit,
        // Groups count from January 1970, so a multiple of a year or a quarter begins with one.
        Anchor::Calendar | Anchor::Epoch => unit * interval.count(),
    };
    Source::View(match months {
        months if months.is_multiple_of(12) => View::Years,
        months if months.is_multiple_of(3) => View::Quarters,
        _ => View::Months,
    })
}

impl Source {
    /// About how many rows of it make one candle, to read a page in one go.
    pub(crate) fn rows_a_candle(self, interval: Interval) -> u64 {
        let count = u64::from(interval.count());
        let days = match interval.unit() {
            Unit::Second | Unit::Minute | Unit::Hour => 1,
            Unit::Day => count,
            Unit::Week => count * 7,
            Unit::Month => count * 31,
            Unit::Quarter => count * 92,
            Unit::Year => count * 366,
        };
        let minutes = interval
            .seconds()
            .map_or(days * 1_440, |seconds| u64::from(seconds).div_ceil(60));
        match self {
            Self::View(View::Weeks) => days.div_ceil(7),
            Self::View(View::Months) => days.div_ceil(31),
            Self::View(View::Quarters) => days.div_ceil(92),
            Self::View(View::Years) => days.div_ceil(366),
            Self::Days => days,
            Self::Hours => minutes.div_ceil(60),
            Self::Minutes => minutes,
            Self::Ticks => minutes * 60,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The source in 2024, in a zone whose days are the symbol's own or not.
    fn source(interval: &str, tz: &str, anchor: Anchor, own_days: bool) -> Source {
        let (from, to) = (1_704_067_200_000_000, 1_735_689_600_000_000);
        let interval: Interval = interval.parse().unwrap();
        let grid = Grid::new(interval, tz.parse().unwrap(), anchor);
        plan(interval, anchor, &grid, own_days, (from, to))
    }

    #[test]
    fn the_coarsest_level_that_nests_is_read() {
        for (interval, tz, own_days, expected) in [
            ("1w", "Asia/Kolkata", true, Source::View(View::Weeks)),
            ("3w", "UTC", true, Source::View(View::Weeks)),
            ("1M", "UTC", true, Source::View(View::Months)),
            ("3M", "UTC", true, Source::View(View::Quarters)),
            ("6M", "UTC", true, Source::View(View::Quarters)),
            ("12M", "UTC", true, Source::View(View::Years)),
            ("4q", "UTC", true, Source::View(View::Years)),
            ("2y", "UTC", true, Source::View(View::Years)),
            ("7d", "Asia/Kolkata", true, Source::Days),
            ("1d", "America/New_York", false, Source::Hours),
            ("1M", "Asia/Kolkata", false, Source::Minutes),
            ("1d", "Asia/Kolkata", false, Source::Minutes),
            ("1h", "Asia/Kolkata", true, Source::Minutes),
            ("4h", "America/New_York", true, Source::Hours),
            ("60m", "UTC", true, Source::Hours),
            ("5m", "UTC", true, Source::Minutes),
            ("60s", "UTC", true, Source::Minutes),
            ("30s", "UTC", true, Source::Ticks),
        ] {
            let found = source(interval, tz, Anchor::Calendar, own_days);
            assert_eq!(found, expected, "{interval} {tz}");
        }
    }

    #[test]
    fn an_anchor_decides_which_level_nests() {
        let first = Anchor::First("2024-02-29".parse().unwrap());
        for (interval, anchor, own_days, expected) in [
            ("12M", first, true, Source::View(View::Months)),
            ("4q", first, true, Source::View(View::Quarters)),
            ("2y", first, true, Source::View(View::Years)),
            ("3w", first, true, Source::View(View::Weeks)),
            ("5d", first, true, Source::Days),
            ("2w", Anchor::Epoch, true, Source::View(View::Weeks)),
            ("2d", Anchor::Epoch, false, Source::Hours),
            ("7h", Anchor::Epoch, false, Source::Hours),
            ("90m", Anchor::Epoch, false, Source::Minutes),
        ] {
            let found = source(interval, "Asia/Kolkata", anchor, own_days);
            assert_eq!(found, expected, "{interval} {anchor:?}");
        }
    }
}
