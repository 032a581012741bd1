//! Parts in order of time, in either direction, become rows of the grid.

use common::calendar::{Bucket, Grid};
use common::candle::Candle;

use crate::indicators::Values;
use crate::store::{Changes, Direction, Part, Range};

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
    /// Those that changed, emptied ones too.
    Changed(Changed),
}

/// Which rows have changed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Changed {
    /// When, or later: microseconds since 1970-01-01T00:00:00Z.
    pub(crate) since: i64,
    /// Where the buckets may lie.
    pub(crate) range: Range,
    /// In which order the parts come.
    pub(crate) direction: Direction,
}

/// Merges the parts of each bucket. It holds the rows that are told and no others.
pub(crate) struct Fold<'a> {
    grid: &'a Grid,
    tell: Tell,
    current: Option<Row>,
    /// The last changes seen: a minute that is cut by a boundary changes two buckets.
    changes: Option<Changes>,
    rows: Vec<Row>,
    /// The bucket that was closed last.
    last: Option<Bucket>,
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
            changes: None,
            rows: Vec::new(),
            last: None,
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
            self.pass(Some(part.time));
            let mut row = Row::empty(self.grid.bucket(part.time));
            if let Some(changes) = &self.changes {
                row.change(changes);
            }
            self.current = Some(row);
        }
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
        if let Some(row) = self.current.take() {
            self.last = Some(row.bucket);
            self.add(row);
        }
    }

    fn add(&mut self, row: Row) {
        self.newest = self.newest.max(row.updated_at);
        let told = match self.tell {
            Tell::Stored => true,
            Tell::Traded => row.candle.is_some(),
            Tell::Changed(changed) => row.updated_at >= Some(changed.since),
        };
        if told {
            self.rows.push(row);
        }
    }

    /// Tells buckets without parts, up to the one of the next part, that the last change touched: the minute that bears
    /// it may be cut, and a cancel have emptied one side.
    fn pass(&mut self, next: Option<i64>) {
        let (Tell::Changed(changed), Some(changes), Some(last)) =
            (self.tell, self.changes, self.last)
        else {
            return;
        };
        let step = match changed.direction {
            Direction::Forward => Grid::after,
            Direction::Backward => Grid::before,
        };
        let mut bucket = step(self.grid, last);
        while changes.touch(bucket)
            && changed.range.from <= bucket.start
            && bucket.start < changed.range.to
            && next.is_none_or(|next| !bucket.contains(next))
        {
            let mut row = Row::empty(bucket);
            row.change(&changes);
            self.add(row);
            bucket = step(self.grid, bucket);
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
        self.pass(None);
        (self.rows, self.newest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn a_bucket_that_a_cancel_emptied_is_told_as_changed_beside_its_minute() {
        // GIVEN a minute that changed, cut into buckets of 25 s of which one has a tick left
        let grid = Grid::new("25s".parse().unwrap(), chrono_tz::UTC, Anchor::Calendar);
        for (direction, starts) in [
            (Direction::Forward, [0, 25, 50]),
            (Direction::Backward, [50, 25, 0]),
        ] {
            let changed = Changed {
                since: 5,
                range: Range {
                    from: 0,
                    to: 75_000_000,
                },
                direction,
            };
            let mut fold = Fold::new(&grid, Tell::Changed(changed));
            // WHEN its parts come, the changes first
            let time = match direction {
                Direction::Forward => 0,
                Direction::Backward => MINUTE - 1,
            };
            fold.push(Part {
                time,
                ..minute(0, 5)
            });
            // THEN all of its buckets have changed
            let rows = fold.finish();
            let found: Vec<_> = rows
                .iter()
                .map(|row| row.bucket.start / 1_000_000)
                .collect();
            assert_eq!(found, starts);
        }
    }

    #[test]
    fn rows_that_are_not_told_are_not_held() {
        // GIVEN a fold that tells what changed at 1000 or later, and one that tells candles
        let grid = Grid::new("1m".parse().unwrap(), chrono_tz::UTC, Anchor::Calendar);
        let range = Range {
            from: 0,
            to: 2_000 * MINUTE,
        };
        let changed = Changed {
            since: 1_000,
            range,
            direction: Direction::Forward,
        };
        for (tell, told) in [(Tell::Changed(changed), 501), (Tell::Traded, 0)] {
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
