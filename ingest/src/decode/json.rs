//! Ticks as JSON objects.
//!
//! Prices and sizes are read as the decimal they spell, in a string or as a number: no binary float
//! is between.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use common::tick::EventTime;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Decoded, Fields, RecordInfo, Rules, decimal, fault, missing, shown};
use crate::config::SequenceSource;
use crate::dead_letter::{Fault, Reason};

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    symbol: Option<&'a RawValue>,
    #[serde(borrow)]
    event_time: Option<&'a RawValue>,
    #[serde(borrow)]
    sequence: Option<&'a RawValue>,
    #[serde(borrow)]
    price: Option<&'a RawValue>,
    #[serde(borrow)]
    size: Option<&'a RawValue>,
    #[serde(borrow)]
    revision: Option<&'a RawValue>,
    #[serde(borrow)]
    cancelled: Option<&'a RawValue>,
}

/// Decodes one message.
///
/// # Errors
/// The fault that makes it a dead letter.
pub fn decode<'a>(
    payload: &'a [u8],
    record: RecordInfo,
    rules: &Rules,
) -> Result<Decoded<'a>, Fault> {
    let not_json = |error: serde_json::Error| fault(Reason::NotJson, &error);
    // serde would also read an array as the fields in order.
    if payload
        .iter()
        .find(|byte| !byte.is_ascii_whitespace())
        .is_some_and(|byte| *byte != b'{')
    {
        serde_json::from_slice::<&RawValue>(payload).map_err(not_json)?;
        return Err(fault(Reason::NotJson, &"not a JSON object"));
    }
    let message: Message<'a> = serde_json::from_slice(payload).map_err(not_json)?;

    let symbol = string("symbol", required("symbol", message.symbol)?)?;
    let event_time = event_time(required("event_time", message.event_time)?)?;
    let sequence = match rules.sequence {
        SequenceSource::Field => Some(integer(
            "sequence",
            required("sequence", message.sequence)?,
        )?),
        SequenceSource::Offset => None,
    };
    let price = decimal(
        "price",
        &number("price", required("price", message.price)?)?,
    )?;
    let size = decimal("size", &number("size", required("size", message.size)?)?)?;
    let revision = match message.revision {
        None => 0,
        Some(raw) => i32::try_from(integer("revision", raw.get())?)
            .ok()
            .filter(|revision| *revision >= 0)
            .ok_or_else(|| {
                fault(
                    Reason::WrongType,
                    &format!("revision {} is not 0 to 2147483647", raw.get()),
                )
            })?,
    };
    let cancelled = match message.cancelled.map(RawValue::get) {
        None | Some("false") => false,
        Some("true") => true,
        Some(other) => {
            return Err(fault(
                Reason::WrongType,
                &format!("cancelled {} is not true or false", shown(other)),
            ));
        }
    };
    rules.check(
        Fields {
            symbol,
            event_time,
            sequence,
            price,
            size,
            revision,
            cancelled,
        },
        record,
    )
}

fn required<'a>(field: &str, raw: Option<&'a RawValue>) -> Result<&'a str, Fault> {
    // An option is none for null, too.
    raw.map(RawValue::get).ok_or_else(|| missing(field))
}

/// The text of a JSON string; most have no escapes and are borrowed.
fn string<'a>(field: &str, raw: &'a str) -> Result<Cow<'a, str>, Fault> {
    match raw
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    {
        Some(plain) if !plain.contains('\\') => Ok(Cow::Borrowed(plain)),
        Some(_) => serde_json::from_str(raw)
            .map(Cow::Owned)
            .map_err(|error| fault(Reason::NotJson, &error)),
        None => Err(fault(
            Reason::WrongType,
            &format!("{field} {} is not a string", shown(raw)),
        )),
    }
}

/// The text of a JSON number, or of a string that spells one.
fn number<'a>(field: &str, raw: &'a str) -> Result<Cow<'a, str>, Fault> {
    if raw.starts_with('"') {
        string(field, raw)
    } else {
        Ok(Cow::Borrowed(raw))
    }
}

fn integer(field: &str, raw: &str) -> Result<i64, Fault> {
    raw.parse().map_err(|_| {
        fault(
            Reason::WrongType,
            &format!("{field} {} is not a whole number of 64 bits", shown(raw)),
        )
    })
}

fn event_time(raw: &str) -> Result<EventTime, Fault> {
    let bad = |text: &str| {
        fault(
            Reason::BadTime,
            &format!(
                "event_time {} is neither RFC 3339 nor epoch microseconds",
                shown(text)
            ),
        )
    };
    if raw.starts_with('"') {
        let text = string("event_time", raw)?;
        let time = DateTime::parse_from_rfc3339(&text).map_err(|_| bad(&text))?;
        Ok(time.with_timezone(&Utc).into())
    } else {
        raw.parse()
            .map(EventTime::from_micros)
            .map_err(|_| bad(raw))
    }
}

#[cfg(test)]
mod tests;
