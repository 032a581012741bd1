//! Parts in order of time, in either direction, become rows of the grid.

use common::calendar::{Bucket, Grid};
use common::candle::Candle;

use crate::indicators::Values;
use crate::store::{Changes, Part};

/// A candle of the answer, or a filled gap.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) bucket: Bucket,
    /// `None` in a bucket without ticks.
    pub(crate) candle: Option<Candle>,
    /// Sum of the revisions of all stored rows that the bucket touches.
    pub(crate) revision: i64,
    /// Latest change of those rows, microseconds since 1970-01-01T00:00:00Z.
    pub(crate) updated_at: Option<i64>,
    /// The values of the indicators, in the order asked for; `None` where one has not begun. Empty
    /// when none is asked for, and in a row without ticks.
    pub(crate) indicators: Vec<Option<Values>>,
}

impl Row {
    /// A bucket of which nothing is known.
    pub(crate) const fn empty(bucket: Bucket) -> Self {
        Self {
            bucket,
            candle: None,
            revision: 0,
            updated_at: None,
            indicators: Vec::new(),
        }
    }

    /// The candle of the ticks, which a filled row has none of.
    pub(crate) fn traded(&self) -> Option<&Candle> {
        self.candle.as_ref().filter(|candle| candle.trades > 0)
    }

    fn change(&mut self, changes: &Changes) {
        if changes.touch(self.bucket) {
            self.revision += changes.revision;
            self.updated_at = self.updated_at.max(Some(changes.updated_at));
        }
    }
}

/// Which rows are told.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Tell {
    /// All that are stored, those without a candle too.
    Stored,
    /// Those with a candle.
    Traded,
    /// Those that changed at this time (microseconds since 1970-01-01T00:00:00Z) or later, emptied ones too.
    Changed(i64),
}

/// Merges the parts of each bucket. It holds the rows that are told and no others.
pub(crate) struct Fold<'a> {
    grid: &'a Grid,
    tell: Tell,
    current: Option<Row>,
    /// Whether that bucket has ticks, or had some.
    counts: bool,
    /// The last changes seen: a minute that is cut by a boundary changes two buckets.
    changes: Option<Changes>,
    rows: Vec<Row>,
    /// The newest change of all buckets, told or not.
    newest: Option<i64>,
}

impl<'a> Fold<'a> {
    /// Rows of a grid.
    pub(crate) const fn new(grid: &'a Grid, tell: Tell) -> Self {
        Self {
            grid,
            tell,
            current: None,
            counts: false,
            changes: None,
            rows: Vec::new(),
            newest: None,
        }
    }

    /// Adds the next part.
    pub(crate) fn push(&mut self, part: Part) {
        if !self
            .current
            .as_ref()
            .is_some_and(|row| row.bucket.contains(part.time))
        {
            self.close();
            let mut row = Row::empty(self.grid.bucket(part.time));
            // A minute that is read in two pieces comes again with the second one.
            let again = |seen: &&Changes| {
                let own = part.changes.as_ref();
                own.is_some_and(|own| own.covers.from == seen.covers.from)
            };
            if let Some(changes) = self.changes.as_ref().filter(|seen| !again(seen)) {
                row.change(changes);
            }
            self.current = Some(row);
        }
        self.counts |= part.counts;
        let Some(row) = &mut self.current else { return };
        if let Some(changes) = part.changes {
            row.change(&changes);
            self.changes = Some(changes);
        }
        match (&mut row.candle, part.candle) {
            (Some(whole), Some(part)) => whole.merge(&part),
            (whole @ None, Some(part)) => *whole = Some(part),
            (_, None) => (),
        }
    }

    fn close(&mut self) {
        let counts = std::mem::take(&mut self.counts);
        let Some(row) = self.current.take() else {
            return;
        };
        self.newest = self.newest.max(row.updated_at);
        let told = match self.tell {
            Tell::Stored => counts,
            Tell::Traded => row.candle.is_some(),
            Tell::Changed(since) => counts && row.updated_at >= Some(since),
        };
        if told {
            self.rows.push(row);
        }
    }

    /// How many rows are told and closed: no more parts of them can come.
    pub(crate) const fn told(&self) -> usize {
        self.rows.len()
    }

    /// The rows that no more parts can change, in the order of the parts.
    pub(crate) fn take(&mut self) -> Vec<Row> {
        std::mem::take(&mut self.rows)
    }

    /// The rows, in the order of the parts.
    pub(crate) fn finish(self) -> Vec<Row> {
        self.finish_as_of().0
    }

    /// The same with the newest change of all buckets. That of an emptied one counts, which is not told: what answers
    /// are as of would go back otherwise.
    pub(crate) fn finish_as_of(mut self) -> (Vec<Row>, Option<i64>) {
        self.close();
        (self.rows, self.newest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Range;
    use common::calendar::Anchor;

    const MINUTE: i64 = 60_000_000;

    fn minute(time: i64, revision: i64) -> Part {
        let covers = Range {
            from: time,
            to: time + MINUTE,
        };
        Part {
            time,
            candle: None,
            changes: Some(Changes {
                covers,
                revision,
                updated_at: revision,
            }),
            counts: true,
        }
    }

    #[test]
    fn a_minute_that_a_boundary_cuts_changes_both_buckets() {
        // GIVEN buckets of 90 s and two minutes, the second cut in its middle
        let grid = Grid::new("90s".parse().unwrap(), chrono_tz::UTC, Anchor::Calendar);
        let mut fold = Fold::new(&grid, Tell::Stored);
        // WHEN parts lie in both buckets
        fold.push(minute(0, 5));
        fold.push(minute(MINUTE, 7));
        fold.push(Part {
            time: 100_000_000,
            candle: None,
            changes: None,
            counts: true,
        });
        // THEN the first bucket has both revisions, the second one that of the cut minute
        let rows = fold.finish();
        let revisions: Vec<_> = rows
            .iter()
            .map(|row| (row.bucket.start, row.revision, row.updated_at))
            .collect();
        assert_eq!(revisions, [(0, 12, Some(7)), (90_000_000, 7, Some(7))]);
    }

    #[test]
    fn of_a_minute_that_changed_the_buckets_that_have_or_had_ticks_have_changed() {
        // GIVEN buckets of 25 s in a minute that changed, and a cancelled tick in the second one
        let grid = Grid::new("25s".parse().unwrap(), chrono_tz::UTC, Anchor::Calendar);
        let cancelled = Part {
            time: 30_000_000,
            candle: None,
            changes: None,
            counts: true,
        };
        for time in [0, MINUTE - 1] {
            for (tell, told) in [
                (Tell::Changed(5), vec![(25, 5)]),
                (Tell::Changed(6), vec![]),
                (Tell::Stored, vec![(25, 5)]),
                (Tell::Traded, vec![]),
            ] {
                // WHEN the minute comes, which bears the changes, and then the tick
                let mut fold = Fold::new(&grid, tell);
                fold.push(Part {
                    time,
                    counts: false,
                    ..minute(0, 5)
                });
                fold.push(cancelled.clone());
                // THEN the others, which never had a tick, are not told, and the change counts as seen
                let (rows, newest) = fold.finish_as_of();
                let found: Vec<_> = rows
                    .iter()
                    .map(|row| (row.bucket.start / 1_000_000, row.revision))
                    .collect();
                assert_eq!((found, newest), (told, Some(5)), "{tell:?}");
            }
        }
    }

    #[test]
    fn a_minute_that_comes_again_with_the_next_piece_counts_once() {
        // GIVEN seconds, and a minute that is read up to its middle and then from there
        let grid = Grid::new("1s".parse().unwrap(), chrono_tz::UTC, Anchor::Calendar);
        let tick = |time| Part {
            time,
            candle: None,
            changes: None,
            counts: true,
        };
        let bearer = |time| Part {
            time,
            counts: false,
            ..minute(0, 3)
        };
        for (first, second) in [(0, 30_000_000), (MINUTE - 1, 29_999_999)] {
            // WHEN its changes come with both pieces
            let mut fold = Fold::new(&grid, Tell::Changed(0));
            fold.push(bearer(first));
            fold.push(tick(first));
            fold.push(bearer(second));
            fold.push(tick(second));
            // THEN each second has them once
            let revisions: Vec<_> = fold.finish().iter().map(|row| row.revision).collect();
            assert_eq!(revisions, [3, 3], "{second}");
        }
    }

    #[test]
    fn rows_that_are_not_told_are_not_held() {
        // GIVEN a fold that tells what changed at 1000 or later, and one that tells candles
        let grid = Grid::new("1m".parse().unwrap(), chrono_tz::UTC, Anchor::Calendar);
        for (tell, told) in [(Tell::Changed(1_000), 501), (Tell::Traded, 0)] {
            let mut fold = Fold::new(&grid, tell);
            // WHEN minutes without a tick come, each with a later change
            for n in 0..=1_500 {
                fold.push(minute(n * MINUTE, n));
            }
            // THEN those that are told are held
            fold.close();
            assert_eq!((fold.rows.len(), fold.told()), (told, told));
        }
    }
}
