//! The parts of a range that a page is made of: all of it, or those in which something changed since a time.

use std::collections::VecDeque;

use common::calendar::Grid;

use crate::problem::ApiError;
use crate::store::{Direction, Range, Snapshot, Symbol};

const HOUR: i64 = 3_600_000_000;
/// Hours read at a time.
const HOURS: usize = 1_000;
/// A change is stamped before its commit: what was open at the stamp may have ended since, by as much as a transaction
/// lasts.
const LONGEST_TRANSACTION: i64 = 120_000_000;
/// A note may be older by this than the change that it speaks of: an hour is noted once in ten seconds.
const NOTE: i64 = 10_000_000;

/// Ranges that begin and end on boundaries of a grid, in the order in which they are told.
pub(super) struct Pieces {
    direction: Direction,
    /// Notes from this time on count.
    noted: i64,
    /// What had ended before `since`: of it only hours that are noted as changed.
    ended: Range,
    /// What was open then or came later: it may have changed without a note.
    open: Option<Range>,
    ready: VecDeque<Range>,
}

impl Pieces {
    /// Those of `range`, which begins and ends on boundaries.
    pub(super) fn new(grid: &Grid, range: Range, since: Option<i64>, direction: Direction) -> Self {
        let nothing = Range { from: 0, to: 0 };
        let (Some(since), false) = (since, range.is_empty()) else {
            return Self {
                direction,
                noted: 0,
                ended: nothing,
                open: None,
                ready: VecDeque::from([range]),
            };
        };
        let since = since.saturating_sub(LONGEST_TRANSACTION);
        let border = grid.bucket(since).start;
        let border = border.clamp(range.from, range.to);
        let open = Range {
            from: border,
            ..range
        };
        let (open, ready) = match direction {
            Direction::Forward => (Some(open), VecDeque::new()),
            Direction::Backward => (None, VecDeque::from([open])),
        };
        Self {
            direction,
            noted: since.saturating_sub(NOTE),
            ended: Range {
                to: border,
                ..range
            },
            open,
            ready,
        }
    }

    /// The next one.
    pub(super) async fn next(
        &mut self,
        snapshot: &mut Snapshot,
        symbol: &Symbol,
        grid: &Grid,
    ) -> Result<Option<Range>, ApiError> {
        while self.ready.is_empty() && !self.ended.is_empty() {
            let hours = snapshot
                .changed_hours(symbol, self.ended, self.noted, self.direction, HOURS)
                .await?;
            self.take(&hours, grid);
        }
        Ok(self.ready.pop_front().or_else(|| self.open.take()))
    }

    /// Makes the buckets of hours ready, each once, and goes on behind them.
    fn take(&mut self, hours: &[i64], grid: &Grid) {
        let within = self.ended;
        for hour in hours {
            let (from, to) = ((*hour).max(within.from), (*hour + HOUR).min(within.to));
            let piece = Range {
                from: grid.bucket(from).start,
                to: grid.bucket(to - 1).end,
            };
            match self.ready.back_mut() {
                Some(last) if last.from <= piece.to && piece.from <= last.to => {
                    last.from = last.from.min(piece.from);
                    last.to = last.to.max(piece.to);
                }
                _ => self.ready.push_back(piece),
            }
        }
        self.ended = match self.ready.back().filter(|_| hours.len() == HOURS) {
            None => Range { from: 0, to: 0 },
            Some(last) => match self.direction {
                Direction::Forward => Range {
                    from: last.to,
                    ..within
                },
                Direction::Backward => Range {
                    to: last.from,
                    ..within
                },
            },
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::calendar::Anchor;

    fn pieces(interval: &str, direction: Direction, hours: &[i64]) -> (Vec<(i64, i64)>, Range) {
        let grid = Grid::new(interval.parse().unwrap(), chrono_tz::UTC, Anchor::Calendar);
        let range = Range {
            from: 0,
            to: 240 * HOUR,
        };
        let mut pieces = Pieces::new(&grid, range, Some(200 * HOUR), direction);
        pieces.ready.clear();
        let hours: Vec<i64> = hours.iter().map(|hour| hour * HOUR).collect();
        pieces.take(&hours, &grid);
        let made = pieces.ready.iter();
        (
            made.map(|piece| (piece.from / HOUR, piece.to / HOUR))
                .collect(),
            pieces.ended,
        )
    }

    #[test]
    fn hours_of_one_bucket_and_of_neighbours_are_one_piece() {
        for (interval, direction, hours, made) in [
            (
                "1h",
                Direction::Forward,
                vec![1, 2, 5],
                vec![(1, 3), (5, 6)],
            ),
            (
                "1h",
                Direction::Backward,
                vec![5, 2, 1],
                vec![(5, 6), (1, 3)],
            ),
            (
                "1d",
                Direction::Forward,
                vec![1, 23, 49],
                vec![(0, 24), (48, 72)],
            ),
            // An hour may lie in two buckets.
            ("90m", Direction::Forward, vec![1], vec![(0, 3)]),
            ("1d", Direction::Forward, vec![], vec![]),
        ] {
            let (found, rest) = pieces(interval, direction, &hours);
            assert_eq!(found, made, "{interval} {hours:?}");
            assert!(rest.is_empty());
        }
    }

    #[test]
    fn where_hours_may_follow_they_are_looked_for_behind_the_last_piece() {
        let every: Vec<i64> = (0..i64::try_from(HOURS).unwrap())
            .map(|n| n % 190)
            .collect();
        let (_, rest) = pieces("1d", Direction::Forward, &every);
        assert_eq!(
            rest,
            Range {
                from: 192 * HOUR,
                to: 192 * HOUR
            }
        );
        let late: Vec<i64> = (0..i64::try_from(HOURS).unwrap())
            .map(|n| 150 - n % 50)
            .collect();
        let (_, rest) = pieces("1d", Direction::Backward, &late);
        assert_eq!(
            rest,
            Range {
                from: 0,
                to: 96 * HOUR
            }
        );
    }
}
