//! Parts in order of time, in either direction, become rows of the grid.

use common::calendar::{Bucket, Grid};
use common::candle::Candle;

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
}

impl Row {
    /// A bucket of which nothing is known.
    pub(crate) const fn empty(bucket: Bucket) -> Self {
        Self {
            bucket,
            candle: None,
            revision: 0,
            updated_at: None,
        }
    }

    fn change(&mut self, changes: &Changes) {
        if changes.covers.from < self.bucket.end && changes.covers.to > self.bucket.start {
            self.revision += changes.revision;
            self.updated_at = self.updated_at.max(Some(changes.updated_at));
        }
    }
}

/// Merges the parts of each bucket.
pub(crate) struct Fold<'a> {
    grid: &'a Grid,
    current: Option<Row>,
    /// The last changes seen: a minute that is cut by a boundary changes two buckets.
    changes: Option<Changes>,
    rows: Vec<Row>,
    /// Rows with a candle so far.
    candles: usize,
}

impl<'a> Fold<'a> {
    pub(crate) const fn new(grid: &'a Grid) -> Self {
        Self {
            grid,
            current: None,
            changes: None,
            rows: Vec::new(),
            candles: 0,
        }
    }

    /// Adds the next parts.
    pub(crate) fn extend(&mut self, parts: Vec<Part>) {
        for part in parts {
            self.push(part);
        }
    }

    fn push(&mut self, part: Part) {
        if !self
            .current
            .as_ref()
            .is_some_and(|row| row.bucket.contains(part.time))
        {
            self.close();
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
            self.candles += usize::from(row.candle.is_some());
            self.rows.push(row);
        }
    }

    /// Buckets with a candle that are closed: no more parts of them can come.
    pub(crate) const fn candles(&self) -> usize {
        self.candles
    }

    /// All rows, those without a candle too, in the order of the parts.
    pub(crate) fn finish(mut self) -> Vec<Row> {
        self.close();
        self.rows
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
        }
    }

    #[test]
    fn a_minute_that_a_boundary_cuts_changes_both_buckets() {
        // GIVEN buckets of 90 s and two minutes, the second cut in its middle
        let grid = Grid::new("90s".parse().unwrap(), chrono_tz::UTC, Anchor::Calendar);
        let mut fold = Fold::new(&grid);
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
}
