//! A message that cannot become a tick, and why. It is kept whole.

use crate::batch::Source;

/// A message that cannot become a tick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where it came from.
    pub source: Source,
    /// The message's key.
    pub key: Option<Vec<u8>>,
    /// The message's value.
    pub payload: Option<Vec<u8>>,
    /// What is wrong.
    pub fault: Fault,
}

/// Why a message is a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The class of fault.
    pub reason: Reason,
    /// One sentence about this message.
    pub detail: String,
}

/// The closed set of reasons; `as_str` is what is stored and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A value of no bytes.
    Empty,
    /// Not a JSON object.
    NotJson,
    /// Not Avro in the Confluent wire format, or not a record of its schema.
    NotAvro,
    /// The registry knows no such schema id.
    UnknownSchema,
    /// A required field is absent or null.
    MissingField,
    /// A field of another type than the tick has.
    WrongType,
    /// The symbol is empty, too long, or has control characters.
    BadSymbol,
    /// The event time is no time.
    BadTime,
    /// The event time is before the accepted range, or too far after the record's timestamp.
    TimeOutOfRange,
    /// A price of zero or below.
    PriceNotPositive,
    /// A size below zero.
    SizeNegative,
    /// A price or size that is no finite number.
    NotFinite,
    /// A price or size with more than 28 digits or 18 decimals.
    TooManyDigits,
    /// The same tick and revision as one that is stored, with another price or size.
    Conflict,
    /// The tick is older than its symbol's ticks are kept.
    BelowFloor,
    /// The database refuses the values.
    Refused,
}

impl Reason {
    /// Every reason, for metrics that exist before the first fault.
    pub const ALL: [Self; 16] = [
        Self::Empty,
        Self::NotJson,
        Self::NotAvro,
        Self::UnknownSchema,
        Self::MissingField,
        Self::WrongType,
        Self::BadSymbol,
        Self::BadTime,
        Self::TimeOutOfRange,
        Self::PriceNotPositive,
        Self::SizeNegative,
        Self::NotFinite,
        Self::TooManyDigits,
        Self::Conflict,
        Self::BelowFloor,
        Self::Refused,
    ];

    /// The code.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::NotJson => "not-json",
            Self::NotAvro => "not-avro",
            Self::UnknownSchema => "unknown-schema",
            Self::MissingField => "missing-field",
            Self::WrongType => "wrong-type",
            Self::BadSymbol => "bad-symbol",
            Self::BadTime => "bad-time",
            Self::TimeOutOfRange => "time-out-of-range",
            Self::PriceNotPositive => "price-not-positive",
            Self::SizeNegative => "size-negative",
            Self::NotFinite => "not-finite",
            Self::TooManyDigits => "too-many-digits",
            Self::Conflict => "conflict",
            Self::BelowFloor => "below-floor",
            Self::Refused => "refused",
        }
    }
}
