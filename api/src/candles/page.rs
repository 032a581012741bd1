//! One page of candles: which buckets, read from where, in which order.

use std::time::Duration;

use chrono::NaiveDate;
use chrono_tz::Tz;
use common::calendar::{self, Anchor, Bucket, Grid};
use common::candle::{Candle, Edge};

use super::fold::{Fold, Row, Tell};
use super::pieces::Pieces;
use super::query::{Alignment, Fill, Position, Query};
use super::warm_up::Feeds;
use crate::caching::{Freshness, State};
use crate::cursor;
use crate::limits::Limits;
use crate::planner::{Source, plan};
use crate::problem::ApiError;
use crate::store::{Direction, Part, Range, Snapshot, Symbol};

/// Rows read at a time when one candle is looked for.
const SINGLE: u64 = 16;

/// The rows of a page and where it ended.
pub(crate) struct Page {
    pub(crate) grid: Grid,
    /// Starts of the first and the last bucket that may have a candle.
    pub(crate) available: Option<(i64, i64)>,
    /// In the order asked for.
    pub(crate) rows: Vec<Row>,
    /// The newest change in their range, microseconds since 1970-01-01T00:00:00Z.
    pub(crate) as_of: Option<i64>,
    /// Where the next page goes on, when there is one.
    pub(crate) next: Option<Position>,
}

/// Rows in the order they are read, the newest change in their range, and where the next page goes on.
type Found = (Vec<Row>, Option<i64>, Option<Position>);

/// The page's frame: all it may hold, before any row is read.
pub(crate) struct Frame<'a> {
    pub(super) query: &'a Query,
    pub(super) symbol: &'a Symbol,
    pub(super) grid: Grid,
    pub(super) source: Source,
    /// Starts of the first and the last bucket that may have a candle.
    pub(super) available: Option<(i64, i64)>,
    /// Buckets with data that may be told, after the cursor; begins and ends on boundaries.
    range: Range,
    /// Only candles that changed then or later, microseconds since 1970-01-01T00:00:00Z.
    since: Option<i64>,
    /// The date that buckets are counted from, when it is the symbol's first.
    first: Option<NaiveDate>,
    /// End of the first page's range.
    until: i64,
    /// End of what the page may hold, also of what has no tick yet.
    end: i64,
    /// Start of the bucket that has not ended.
    open: i64,
    /// The end of the range that is told first.
    direction: Direction,
}

impl<'a> Frame<'a> {
    /// The frame of the page that `query` asks for.
    ///
    /// # Errors
    /// When the range is none, or longer than it may be, or the cursor was made in another zone.
    pub(crate) fn new(
        query: &'a Query,
        symbol: &'a Symbol,
        limits: &Limits,
    ) -> Result<Self, ApiError> {
        let tz = query.tz.unwrap_or(symbol.tz);
        cursor::check_zone(query.position.and_then(|position| position.tz), tz)?;
        let anchor = anchor(query, symbol, tz);
        let grid = Grid::new(query.interval, tz, anchor);
        let (from, to) = query.bounds(tz)?;
        // All there is begins with the first tick.
        let begin = from.or(symbol.entry.first_tick.filter(|_| query.whole));
        limits.check_span(begin, to, symbol.now)?;

        let source = source(query, symbol, &grid, anchor);
        // What is made in part of what was deleted is not told.
        let kept = symbol
            .kept_from(source)
            .map_or(i64::MIN, |from| grid.ceil(from));
        let ticks = symbol.entry.first_tick.zip(symbol.entry.last_tick);
        let available = ticks
            .map(|(first, last)| (grid.bucket(first).start.max(kept), grid.bucket(last).start))
            .filter(|(first, last)| first <= last);
        let open = grid.bucket(symbol.now);
        let until = query.position.map_or_else(
            || match (to.map(|to| grid.ceil(to)), query.partial) {
                (Some(to), true) => to,
                (to, false) => to.unwrap_or(i64::MAX).min(open.start),
                (None, true) => open.end,
            },
            |position| position.until,
        );
        // Newest first, or the newest page of a range without a beginning.
        let backward = query.descending || (from.is_none() && !query.whole);
        let direction = if backward {
            Direction::Backward
        } else {
            Direction::Forward
        };

        let since = query.updated_since.map(|when| when.micros(tz));
        // What has changed may have lost all of its ticks.
        let stored = match since {
            Some(_) => symbol.days(),
            None => ticks,
        };
        let mut range = match stored {
            Some((first, last)) => Range {
                from: grid.bucket(first).start.max(kept),
                to: grid.bucket(last).end.min(until),
            },
            None => Range { from: 0, to: 0 },
        };
        if let Some(from) = from {
            range.from = range.from.max(grid.ceil(from));
        }
        let mut end = until;
        match (query.position, direction) {
            (Some(position), Direction::Forward) => {
                range.from = range.from.max(grid.bucket(position.last).end);
            }
            (Some(position), Direction::Backward) => {
                end = end.min(grid.ceil(position.last));
                range.to = range.to.min(end);
            }
            (None, _) => (),
        }
        Ok(Self {
            query,
            symbol,
            grid,
            source,
            available,
            range,
            since,
            first: match anchor {
                Anchor::First(date) => Some(date),
                Anchor::Calendar | Anchor::Epoch => None,
            },
            until,
            end,
            open: open.start,
            direction,
        })
    }

    /// What the page is made of: the query, the symbol's data, and what the clock decides.
    pub(crate) fn state(&self) -> State {
        // A candle is complete when its end has passed, and no other than these can tell.
        let complete_until = self.open.min(self.range.to);
        State::of(&format!(
            "{} {:?} {} {} {} {} {complete_until}",
            self.query.binding(),
            self.query.output.format,
            self.symbol.state(),
            self.range.from,
            self.range.to,
            self.until,
        ))
    }

    /// How long the page may be used, when no corrections are expected after `horizon`.
    pub(crate) fn freshness(&self, horizon: Duration) -> Freshness {
        let horizon = i64::try_from(horizon.as_micros()).unwrap_or(i64::MAX);
        if self.end > self.open {
            Freshness::Open
        } else if self.since.is_none() && self.end <= self.symbol.now.saturating_sub(horizon) {
            Freshness::Settled
        } else {
            Freshness::Recent
        }
    }

    /// Reads the page. `feeds` is that of the page before, or a new one.
    pub(super) async fn read(
        self,
        snapshot: &mut Snapshot,
        feeds: &mut Feeds,
    ) -> Result<Page, ApiError> {
        let (mut rows, as_of, next) = match self.query.fill {
            Fill::None => self.candles(snapshot).await?,
            fill => self.filled(snapshot, fill).await?,
        };
        if (self.direction == Direction::Backward) != self.query.descending {
            rows.reverse();
        }
        self.indicate(snapshot, &mut rows, feeds).await?;
        Ok(Page {
            grid: self.grid,
            available: self.available,
            rows,
            as_of,
            next,
        })
    }

    /// The next `limit` buckets that have a candle.
    async fn candles(&self, snapshot: &mut Snapshot) -> Result<Found, ApiError> {
        let limit = self.query.limit;
        let tell = self.since.map_or(Tell::Traded, Tell::Changed);
        let mut fold = Fold::new(&self.grid, tell);
        let mut pieces = Pieces::new(&self.grid, self.range, self.since, self.direction);
        let mut rest = pieces.next(snapshot, self.symbol, &self.grid).await?;
        while let Some(range) = rest
            && fold.told() <= limit
        {
            let wanted =
                (limit + 1 - fold.told()) as u64 * self.source.rows_a_candle(self.query.interval);
            let mut each = |part| {
                // What was read beyond the page is not held.
                if fold.told() <= limit {
                    fold.push(part);
                }
            };
            let (symbol, source) = (self.symbol, self.source);
            let more = snapshot
                .parts(symbol, source, range, self.direction, wanted + 1, &mut each)
                .await?;
            rest = match more {
                Some(more) => Some(more),
                None => pieces.next(snapshot, self.symbol, &self.grid).await?,
            };
        }
        let (mut rows, as_of) = fold.finish_as_of();
        let more = rows.len() > limit;
        rows.truncate(limit);
        let last = rows.last().filter(|_| more).map(|row| row.bucket.start);
        Ok((rows, as_of, last.map(|last| self.position(last))))
    }

    /// The next `limit` buckets, with or without a candle, between the first candle and the last.
    async fn filled(&self, snapshot: &mut Snapshot, fill: Fill) -> Result<Found, ApiError> {
        let buckets = self.buckets();
        let (Some(first), Some(last)) = (buckets.first(), buckets.last()) else {
            return Ok((Vec::new(), None, None));
        };
        let (low, high) = if first.start <= last.start {
            (first, last)
        } else {
            (last, first)
        };
        let span = Range {
            from: low.start,
            to: high.end,
        };
        let more = match self.direction {
            Direction::Forward => span.to < self.range.to,
            Direction::Backward => span.from > self.range.from,
        };
        let next = more.then(|| self.position(last.start));

        let (known, as_of) = self.rows(snapshot, span).await?;
        let mut known = known.into_iter().peekable();
        let mut close = None;
        if fill == Fill::Previous
            && known
                .peek()
                .is_none_or(|row| row.bucket.start > span.from || row.candle.is_none())
        {
            close = self.close_before(snapshot, span.from).await?;
        }
        let mut rows = Vec::with_capacity(buckets.len());
        for bucket in self.grid.buckets(span.from, span.to) {
            let row = known
                .next_if(|row| row.bucket == bucket)
                .unwrap_or(Row::empty(bucket));
            match &row.candle {
                Some(candle) => close = Some(candle.close),
                // A bucket that has not ended may still get its first tick, and what came before may be deleted.
                None if bucket.end > self.symbol.now => continue,
                None if fill == Fill::Previous && close.is_none() => continue,
                None => (),
            }
            let candle = row
                .candle
                .or_else(|| close.filter(|_| fill == Fill::Previous).map(flat));
            rows.push(Row { candle, ..row });
        }
        if self.direction == Direction::Backward {
            rows.reverse();
        }
        Ok((rows, as_of, next))
    }

    /// Where a page goes on whose last bucket starts at `last`.
    const fn position(&self, last: i64) -> Position {
        Position {
            last,
            until: self.until,
            first: self.first,
            tz: Some(self.grid.tz()),
        }
    }

    /// The next `limit` buckets of the range, in the order they are told.
    fn buckets(&self) -> Vec<Bucket> {
        if self.range.is_empty() {
            return Vec::new();
        }
        let (first, step): (Bucket, fn(&Grid, Bucket) -> Bucket) = match self.direction {
            Direction::Forward => (self.grid.bucket(self.range.from), Grid::after),
            Direction::Backward => (self.grid.bucket(self.range.to - 1), Grid::before),
        };
        std::iter::successors(Some(first), |bucket| Some(step(&self.grid, *bucket)))
            .take_while(|bucket| bucket.start >= self.range.from && bucket.start < self.range.to)
            .take(self.query.limit)
            .collect()
    }

    /// All rows that are stored in a range of few buckets, oldest first, and the newest change in it.
    async fn rows(
        &self,
        snapshot: &mut Snapshot,
        span: Range,
    ) -> Result<(Vec<Row>, Option<i64>), ApiError> {
        let mut fold = Fold::new(&self.grid, Tell::Stored);
        let (symbol, source, forward) = (self.symbol, self.source, Direction::Forward);
        let mut rest = Some(span);
        while let Some(range) = rest {
            let mut each = |part| fold.push(part);
            rest = snapshot
                .parts(symbol, source, range, forward, u64::MAX, &mut each)
                .await?;
        }
        Ok(fold.finish_as_of())
    }

    /// The last price before a boundary.
    async fn close_before(
        &self,
        snapshot: &mut Snapshot,
        before: i64,
    ) -> Result<Option<Edge>, ApiError> {
        let mut rest = self.available.map(|(from, _)| Range { from, to: before });
        let (symbol, source, backward) = (self.symbol, self.source, Direction::Backward);
        // The newest comes first.
        let mut close = None;
        while let Some(range) = rest
            && close.is_none()
        {
            let mut each = |part: Part| close = close.or(part.candle.map(|candle| candle.close));
            rest = snapshot
                .parts(symbol, source, range, backward, SINGLE, &mut each)
                .await?;
        }
        Ok(close)
    }
}

/// Where buckets are read. It depends on all that is stored and not on the range: a candle has one revision, whatever
/// else is asked for.
fn source(query: &Query, symbol: &Symbol, grid: &Grid, anchor: Anchor) -> Source {
    let days_of = match anchor {
        Anchor::Epoch => Tz::UTC,
        Anchor::Calendar | Anchor::First(_) => grid.tz(),
    };
    let stored = symbol.days().unwrap_or_default();
    plan(query.interval, anchor, grid, days_of == symbol.tz, stored)
}

/// What the buckets are counted from.
fn anchor(query: &Query, symbol: &Symbol, tz: Tz) -> Anchor {
    let first = || {
        let pinned = query.position.and_then(|position| position.first);
        let date = |tick| calendar::local_date(tick, tz);
        pinned.or_else(|| symbol.entry.first_tick.map(date))
    };
    match query.alignment {
        Alignment::Calendar => Anchor::Calendar,
        Alignment::Epoch => Anchor::Epoch,
        // Without a tick there is nothing to count.
        Alignment::First => first().map_or(Anchor::Calendar, Anchor::First),
    }
}

/// A candle of no trades at the close before.
fn flat(close: Edge) -> Candle {
    Candle {
        open: close,
        close,
        high: close.price,
        low: close.price,
        volume: common::amount::Amount::ZERO,
        turnover: common::amount::Amount::ZERO,
        trades: 0,
    }
}
