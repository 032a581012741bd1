//! Which stored level an answer is made of: the coarsest one that nests in the grid asked for.

use common::calendar::{Grid, Level};
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

/// The source of `interval` over `from <= instant < to` on `grid`, a calendar grid that is in the
/// symbol's own zone or not.
pub(crate) fn plan(interval: Interval, grid: &Grid, own_zone: bool, from: i64, to: i64) -> Source {
    let months = match interval.unit() {
        Unit::Day if own_zone => return Source::Days,
        Unit::Week if own_zone => return Source::View(View::Weeks),
        Unit::Month if own_zone => interval.count(),
        Unit::Quarter if own_zone => interval.count() * 3,
        Unit::Year if own_zone => interval.count() * 12,
        _ => {
            return match grid.level(from, to) {
                Level::Hour => Source::Hours,
                Level::Minute => Source::Minutes,
                Level::Tick => Source::Ticks,
            };
        }
    };
    // Groups count from January 1970, so a multiple of a year or a quarter begins with one.
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
    use common::calendar::Anchor;

    #[test]
    fn the_coarsest_level_that_nests_is_read() {
        let (from, to) = (1_704_067_200_000_000, 1_735_689_600_000_000);
        for (interval, tz, own_zone, source) in [
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
            let interval: Interval = interval.parse().unwrap();
            let grid = Grid::new(interval, tz.parse().unwrap(), Anchor::Calendar);
            assert_eq!(
                plan(interval, &grid, own_zone, from, to),
                source,
                "{interval} {tz}"
            );
        }
    }
}
