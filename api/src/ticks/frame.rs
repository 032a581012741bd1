//! One page of ticks: which keys, read from which end.

use std::time::Duration;

use chrono_tz::Tz;
use common::tick::{EventTime, TickKey};

use super::query::{Position, Query};
use crate::caching::{Freshness, State};
use crate::cursor;
use crate::limits::Limits;
use crate::problem::ApiError;
use crate::store::{Direction, Keys, Snapshot, Symbol, ToldTick};

/// The ticks of a page and where it ended.
pub(super) struct Page {
    /// In the order asked for.
    pub(super) ticks: Vec<ToldTick>,
    /// Where the next page goes on, when there is one.
    pub(super) next: Option<Position>,
}

/// All that a page may hold, before any tick is read.
pub(super) struct Frame<'a> {
    query: &'a Query,
    symbol: &'a Symbol,
    /// The zone of `from` and `to`.
    tz: Tz,
    keys: Keys,
    /// End of the first page's range, microseconds since 1970-01-01T00:00:00Z.
    until: i64,
    /// End of what the page may hold, also of what has not come yet.
    end: i64,
    /// The end of the range that is told first.
    direction: Direction,
}

impl<'a> Frame<'a> {
    /// The frame of the page that `query` asks for.
    ///
    /// # Errors
    /// When the range is none, or longer than it may be, or the cursor was made in another zone.
    pub(super) fn new(
        query: &'a Query,
        symbol: &'a Symbol,
        limits: &Limits,
    ) -> Result<Self, ApiError> {
        let tz = query.tz.unwrap_or(symbol.tz);
        cursor::check_zone(query.position.and_then(|position| position.tz), tz)?;
        let (from, to) = query.bounds(tz)?;
        // All there is begins with the first tick.
        let stored = symbol.kept_ticks();
        let begin = from.or(stored.map(|(first, _)| first).filter(|_| query.whole));
        limits.check_span(begin, to, symbol.now)?;
        // Newest first, or the newest page of a range without a beginning.
        let backward = query.descending || (from.is_none() && !query.whole);
        let (first, last) = stored.map_or((0, 0), |(first, last)| (first, last + 1));
        let until = query
            .position
            .map_or_else(|| to.unwrap_or(last), |position| position.until);
        let mut end = if query.position.is_none() {
            to.unwrap_or(i64::MAX)
        } else {
            until
        };
        let mut keys = Keys {
            from: Keys::at(from.unwrap_or(first).max(first)),
            to: Keys::at(until.min(last)),
        };
        if let Some(position) = query.position {
            let last = TickKey {
                event_time: EventTime::from_micros(position.time),
                sequence: position.sequence,
            };
            if backward {
                keys.to = last;
                end = end.min(position.time.saturating_add(1));
            } else {
                keys.from = Keys::after(last);
            }
        }
        Ok(Self {
            query,
            symbol,
            tz,
            keys,
            until,
            end,
            direction: if backward {
                Direction::Backward
            } else {
                Direction::Forward
            },
        })
    }

    /// What the page is made of: the query and the symbol's data.
    pub(super) fn state(&self) -> State {
        State::of(&format!(
            "{} {:?} {} {:?} {}",
            self.query.binding(),
            self.query.output.format,
            self.symbol.state(),
            self.query.position,
            self.until,
        ))
    }

    /// How long the page may be used, when no corrections are expected after `horizon`.
    pub(super) fn freshness(&self, horizon: Duration) -> Freshness {
        let horizon = i64::try_from(horizon.as_micros()).unwrap_or(i64::MAX);
        if self.end <= self.symbol.now.saturating_sub(horizon) {
            Freshness::Settled
        } else {
            Freshness::Recent
        }
    }

    /// Reads the page.
    pub(super) async fn read(self, snapshot: &mut Snapshot) -> Result<Page, ApiError> {
        let limit = self.query.limit;
        let mut ticks = snapshot
            .ticks(self.symbol, self.keys, self.direction, limit + 1)
            .await?;
        let more = ticks.len() > limit;
        ticks.truncate(limit);
        let next = ticks.last().filter(|_| more).map(|last| Position {
            time: last.key.event_time.micros(),
            sequence: last.key.sequence,
            until: self.until,
            tz: Some(self.tz),
        });
        if (self.direction == Direction::Backward) != self.query.descending {
            ticks.reverse();
        }
        Ok(Page { ticks, next })
    }
}
