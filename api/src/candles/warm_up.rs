//! The indicators of a page: fed with the candles before it, then with its own.
//!
//! A windowed indicator is fed its warm-up and no more, a session's from the session's start, a
//! recursive one all candles since the symbol's first. Histories pass through, a statement's rows at
//! a time, and are never held. So the values do not depend on where the page begins. A filled row has
//! no candle: it is not fed and has no values.

use chrono_tz::Tz;
use common::calendar;

use super::fold::{Fold, Row, Tell};
use super::page::Frame;
use crate::indicators::{Asked, Bar, History, Step};
use crate::problem::ApiError;
use crate::store::{Direction, Range, Snapshot};

/// Rows that are fed at a stretch, some milliseconds of the dearest indicators: then other requests have their turn.
const STRETCH: usize = 128;

/// The indicators of a query, fed as far as its pages were read.
#[derive(Default)]
pub(super) struct Feeds {
    feeds: Vec<Feed>,
    /// End of the last bucket that was fed.
    until: Option<i64>,
}

/// Indicators that are fed from one candle on.
struct Feed {
    history: History,
    /// The longest warm-up, in candles.
    warm_up: u32,
    /// Each with its place in the answer.
    steps: Vec<(usize, Step)>,
    /// End of the session that the last candle was in, microseconds since 1970-01-01T00:00:00Z.
    session_end: Option<i64>,
}

impl Feeds {
    /// Begins all anew.
    fn begin(asked: &[Asked]) -> Self {
        let feeds = [History::Window, History::Session, History::First]
            .into_iter()
            .filter_map(|history| Feed::new(asked, history))
            .collect();
        Self { feeds, until: None }
    }
}

impl Feed {
    /// Those with this history, if there are any.
    fn new(asked: &[Asked], history: History) -> Option<Self> {
        let these = || {
            let numbered = asked.iter().enumerate();
            numbered.filter(|(_, indicator)| indicator.history() == history)
        };
        Some(Self {
            history,
            warm_up: these().map(|(_, indicator)| indicator.warm_up()).max()?,
            steps: these()
                .map(|(place, indicator)| (place, indicator.build()))
                .collect(),
            session_end: None,
        })
    }

    /// Takes rows that only lead up to those that are told.
    async fn skip(&mut self, rows: &mut [Row], tz: Tz) {
        for stretch in rows.chunks_mut(STRETCH) {
            for row in stretch {
                self.next(row, tz);
            }
            tokio::task::yield_now().await;
        }
    }

    /// Takes the next row; its values go to their places in `row`.
    fn next(&mut self, row: &mut Row, tz: Tz) {
        let Some(bar) = self.bar(row, tz) else { return };
        for (place, step) in &mut self.steps {
            let values = step(&bar);
            if let Some(place) = row.indicators.get_mut(*place) {
                *place = values;
            }
        }
    }

    fn bar(&mut self, row: &Row, tz: Tz) -> Option<Bar> {
        let candle = row.traded()?;
        let start = row.bucket.start;
        let opens_session = self.session_end.is_none_or(|end| start >= end);
        if opens_session {
            self.session_end = Some(calendar::day_bounds(calendar::local_date(start, tz), tz).1);
        }
        Some(Bar {
            high: candle.high.to_f64(),
            low: candle.low.to_f64(),
            close: candle.close.price.to_f64(),
            volume: candle.volume.to_f64(),
            turnover: candle.turnover.to_f64(),
            opens_session,
        })
    }
}

impl Frame<'_> {
    /// Adds the values of the query's indicators to rows that are in the query's order. `feeds` goes
    /// from one page to the next: pages in order of time need no second warm-up.
    pub(super) async fn indicate(
        &self,
        snapshot: &mut Snapshot,
        rows: &mut [Row],
        feeds: &mut Feeds,
    ) -> Result<(), ApiError> {
        let asked = &self.query.indicators;
        let buckets = || rows.iter().map(|row| row.bucket);
        let (Some(before), Some(until)) = (
            buckets().map(|bucket| bucket.start).min(),
            buckets().map(|bucket| bucket.end).max(),
        ) else {
            return Ok(());
        };
        if feeds.until.is_none_or(|until| before < until) {
            *feeds = Feeds::begin(asked);
            for feed in &mut feeds.feeds {
                self.warm_up(snapshot, before, feed).await?;
            }
        }
        feeds.until = Some(until);
        if self.query.descending {
            rows.reverse();
        }
        for stretch in rows.chunks_mut(STRETCH) {
            for row in stretch.iter_mut().filter(|row| row.traded().is_some()) {
                row.indicators = vec![None; asked.len()];
                for feed in &mut feeds.feeds {
                    feed.next(row, self.grid.tz());
                }
            }
            tokio::task::yield_now().await;
        }
        if self.query.descending {
            rows.reverse();
        }
        Ok(())
    }

    /// Feeds what comes before an instant.
    async fn warm_up(
        &self,
        snapshot: &mut Snapshot,
        before: i64,
        feed: &mut Feed,
    ) -> Result<(), ApiError> {
        let from = match feed.history {
            History::Window => return self.feed_last(snapshot, before, feed).await,
            History::Session => {
                let tz = self.grid.tz();
                self.grid
                    .ceil(calendar::day_start(calendar::local_date(before, tz), tz))
            }
            History::First => i64::MIN,
        };
        self.feed_since(snapshot, from, before, feed).await
    }

    /// The candles that start in `from <= start < before`.
    async fn feed_since(
        &self,
        snapshot: &mut Snapshot,
        from: i64,
        before: i64,
        feed: &mut Feed,
    ) -> Result<(), ApiError> {
        let mut fold = Fold::new(&self.grid, Tell::Traded);
        let (symbol, source, forward) = (self.symbol, self.source, Direction::Forward);
        let mut rest = Some(self.known(from, before));
        while let Some(range) = rest {
            let mut each = |part| fold.push(part);
            rest = snapshot
                .parts(symbol, source, range, forward, u64::MAX, &mut each)
                .await?;
            feed.skip(&mut fold.take(), self.grid.tz()).await;
        }
        feed.skip(&mut fold.finish(), self.grid.tz()).await;
        Ok(())
    }

    /// The last candles before `before`, as many as the warm-up has.
    async fn feed_last(
        &self,
        snapshot: &mut Snapshot,
        before: i64,
        feed: &mut Feed,
    ) -> Result<(), ApiError> {
        let length = feed.warm_up as usize;
        let mut fold = Fold::new(&self.grid, Tell::Traded);
        let (symbol, source, backward) = (self.symbol, self.source, Direction::Backward);
        let mut rest = Some(self.known(i64::MIN, before));
        while let Some(range) = rest
            && fold.told() < length
        {
            let wanted =
                (length + 1 - fold.told()) as u64 * source.rows_a_candle(self.query.interval);
            let mut each = |part| {
                if fold.told() < length {
                    fold.push(part);
                }
            };
            rest = snapshot
                .parts(symbol, source, range, backward, wanted, &mut each)
                .await?;
        }
        let mut rows = fold.finish();
        rows.truncate(length);
        rows.reverse();
        feed.skip(&mut rows, self.grid.tz()).await;
        Ok(())
    }

    /// The part of a range of boundaries that may have ticks.
    fn known(&self, from: i64, before: i64) -> Range {
        let first = self.available.map_or(before, |(first, _)| first);
        Range {
            from: from.max(first),
            to: before,
        }
    }
}
