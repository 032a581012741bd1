//! A tick: one trade, and which of two messages about it wins.
//!
//! (symbol, event time, sequence) is a tick's identity. Values here are checked when they are made:
//! a [`Price`] is positive, a [`Size`] is not negative, a [`Symbol`] is printable.

use std::fmt;

use chrono::{DateTime, Utc};

use crate::decimal::Decimal;

/// An instant, in whole microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventTime(i64);

impl EventTime {
    /// The instant `micros` microseconds after 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// The same instant for chrono; an instant outside its years (262 000 BC to AD) is pinned to them.
    #[must_use]
    pub fn to_utc(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0).unwrap_or(if self.0 < 0 {
            DateTime::<Utc>::MIN_UTC
        } else {
            DateTime::<Utc>::MAX_UTC
        })
    }
}

impl From<DateTime<Utc>> for EventTime {
    /// Digits finer than a microsecond are floored.
    fn from(time: DateTime<Utc>) -> Self {
        Self(time.timestamp_micros())
    }
}

impl fmt::Display for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            &self
                .to_utc()
                .to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
        )
    }
}

/// Longest symbol, in bytes.
pub const MAX_SYMBOL_BYTES: usize = 64;

/// Why a value is not part of a tick.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TickError {
    /// Empty, longer than 64 bytes, or with control characters.
    #[error("a symbol has 1 to {MAX_SYMBOL_BYTES} bytes and no control characters")]
    Symbol,
    /// Zero or below.
    #[error("price {0} is not above zero")]
    Price(Decimal),
    /// Below zero.
    #[error("size {0} is below zero")]
    Size(Decimal),
}

/// A symbol's name, checked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Symbol(Box<str>);

impl Symbol {
    /// Checks a name without keeping it.
    ///
    /// # Errors
    /// When it is empty, too long, or has control characters.
    pub fn check(name: &str) -> Result<(), TickError> {
        let length_fits = (1..=MAX_SYMBOL_BYTES).contains(&name.len());
        if length_fits && !name.chars().any(char::is_control) {
            Ok(())
        } else {
            Err(TickError::Symbol)
        }
    }

    /// The symbol of that name.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn new(name: &str) -> Result<Self, TickError> {
        Self::check(name).map(|()| Self(name.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Symbol {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A price: above zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Price(Decimal);

impl Price {
    /// Checks a price.
    ///
    /// # Errors
    /// When it is not above zero.
    pub fn new(value: Decimal) -> Result<Self, TickError> {
        if value.is_positive() {
            Ok(Self(value))
        } else {
            Err(TickError::Price(value))
        }
    }

    /// The number.
    #[must_use]
    pub const fn decimal(self) -> Decimal {
        self.0
    }
}

/// A size: zero or above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(Decimal);

impl Size {
    /// Checks a size.
    ///
    /// # Errors
    /// When it is below zero.
    pub fn new(value: Decimal) -> Result<Self, TickError> {
        if value.is_negative() {
            Err(TickError::Size(value))
        } else {
            Ok(Self(value))
        }
    }

    /// The number.
    #[must_use]
    pub const fn decimal(self) -> Decimal {
        self.0
    }
}

/// A tick's place among the ticks of its symbol: event time, then sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TickKey {
    /// When the trade happened.
    pub event_time: EventTime,
    /// The producer's trade number.
    pub sequence: i64,
}

impl From<(DateTime<Utc>, i64)> for TickKey {
    fn from((event_time, sequence): (DateTime<Utc>, i64)) -> Self {
        Self {
            event_time: event_time.into(),
            sequence,
        }
    }
}

/// One trade of a symbol that is known from the context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// Identity and order.
    pub key: TickKey,
    /// Price of one unit.
    pub price: Price,
    /// Units traded.
    pub size: Size,
    /// 0, or higher for a correction.
    pub revision: i32,
    /// A cancelled trade counts nowhere; it stays as a tombstone.
    pub cancelled: bool,
}

/// What a message about a tick is to the one that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rank {
    /// It replaces the one held.
    Newer,
    /// The one held has a higher revision.
    Stale,
    /// The same in all: nothing to do.
    Duplicate,
    /// The same revision with other content: the one held stays.
    Conflict,
}

impl Tick {
    /// Ranks `incoming` against `self`, two messages about one tick: the highest (revision,
    /// cancelled) wins, so that a plain cancel beats its tick in either order of arrival.
    #[must_use]
    pub fn rank(&self, incoming: &Self) -> Rank {
        match (incoming.revision, incoming.cancelled).cmp(&(self.revision, self.cancelled)) {
            std::cmp::Ordering::Greater => Rank::Newer,
            std::cmp::Ordering::Less => Rank::Stale,
            std::cmp::Ordering::Equal
                if (incoming.price, incoming.size) == (self.price, self.size) =>
            {
                Rank::Duplicate
            }
            std::cmp::Ordering::Equal => Rank::Conflict,
        }
    }
}
