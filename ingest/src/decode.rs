//! A Kafka message becomes a [`Tick`], or a [`Fault`] that says why it cannot.
//!
//! Decoding is pure but for Avro schemas, which come from a registry; the same message and the same
//! record timestamp always give the same result.

pub mod avro;
pub mod json;
pub mod registry;
mod schema;

use std::borrow::Cow;

use common::decimal::{Decimal, DecimalError};
use common::tick::{EventTime, Price, Size, Symbol, Tick, TickError, TickKey};

use crate::config::{AcceptConfig, SequenceSource};
use crate::dead_letter::{Fault, Reason};

/// A decoded message.
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// The tick's symbol, checked.
    pub symbol: Cow<'a, str>,
    /// The tick.
    pub tick: Tick,
}

/// The fields of a tick as a format gives them, not yet checked.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    pub(crate) symbol: Cow<'a, str>,
    pub(crate) event_time: EventTime,
    /// `None` when the offset is the sequence.
    pub(crate) sequence: Option<i64>,
    pub(crate) price: Decimal,
    pub(crate) size: Decimal,
    pub(crate) revision: i32,
    pub(crate) cancelled: bool,
}

/// What is known of a record beside its value.
#[derive(Debug, Clone, Copy)]
pub struct RecordInfo {
    /// Offset in its partition.
    pub offset: i64,
    /// Kafka timestamp in milliseconds, when the record has one.
    pub timestamp: Option<i64>,
}

/// The checks that do not depend on the format.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    earliest: EventTime,
    ahead_micros: i64,
    /// Where the sequence comes from.
    pub sequence: SequenceSource,
}

/// 10000-01-01T00:00:00Z: RFC 3339 has four-digit years.
const END_OF_TIME: i64 = 253_402_300_800_000_000;

impl Rules {
    /// The rules of a configuration.
    #[must_use]
    pub fn new(accept: AcceptConfig, sequence: SequenceSource) -> Self {
        let ahead_micros = i64::try_from(accept.ahead.as_micros())
            .unwrap_or(END_OF_TIME)
            .min(END_OF_TIME);
        Self {
            earliest: accept.earliest.into(),
            ahead_micros,
            sequence,
        }
    }

    pub(crate) fn check<'a>(
        &self,
        fields: Fields<'a>,
        record: RecordInfo,
    ) -> Result<Decoded<'a>, Fault> {
        Symbol::check(&fields.symbol).map_err(|error| fault(Reason::BadSymbol, &error))?;
        let time = fields.event_time.micros();
        let latest = record.timestamp.map_or(END_OF_TIME - 1, |millis| {
            millis
                .saturating_mul(1000)
                .saturating_add(self.ahead_micros)
                .min(END_OF_TIME - 1)
        });
        if time < self.earliest.micros() || time > latest {
            let detail = format!(
                "event_time {} is not between {} and {}",
                fields.event_time,
                self.earliest,
                EventTime::from_micros(latest)
            );
            return Err(Fault {
                reason: Reason::TimeOutOfRange,
                detail,
            });
        }
        let refuse = |error: TickError| match error {
            TickError::Price(_) => fault(Reason::PriceNotPositive, &error),
            TickError::Size(_) => fault(Reason::SizeNegative, &error),
            _ => fault(Reason::BadSymbol, &error),
        };
        let tick = Tick {
            key: TickKey {
                event_time: fields.event_time,
                sequence: fields.sequence.unwrap_or(record.offset),
            },
            price: Price::new(fields.price).map_err(refuse)?,
            size: Size::new(fields.size).map_err(refuse)?,
            revision: fields.revision,
            cancelled: fields.cancelled,
        };
        Ok(Decoded {
            symbol: fields.symbol,
            tick,
        })
    }
}

pub(crate) fn fault(reason: Reason, detail: &impl std::fmt::Display) -> Fault {
    Fault {
        reason,
        detail: detail.to_string(),
    }
}

pub(crate) fn missing(field: &str) -> Fault {
    Fault {
        reason: Reason::MissingField,
        detail: format!("no {field}"),
    }
}

/// As much of a text as a sentence about it quotes.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

/// A price or size from its decimal text.
pub(crate) fn decimal(field: &str, text: &str) -> Result<Decimal, Fault> {
    text.parse().map_err(|error| {
        let spelled = text.trim_start_matches(['+', '-']).to_ascii_lowercase();
        let reason = match error {
            DecimalError::NotANumber if ["nan", "inf", "infinity"].contains(&spelled.as_str()) => {
                Reason::NotFinite
            }
            DecimalError::TooManyDigits => Reason::TooManyDigits,
            _ => Reason::WrongType,
        };
        let shown = shown(text);
        Fault {
            reason,
            detail: format!("{field} {shown:?}: {error}"),
        }
    })
}
