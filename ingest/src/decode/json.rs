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
mod tests {
    use super::*;
    use crate::config::AcceptConfig;

    const RECORD: RecordInfo = RecordInfo {
        offset: 77,
        timestamp: Some(1_561_728_600_000),
    };

    fn read(payload: &str, sequence: SequenceSource) -> Result<Decoded<'_>, Fault> {
        decode(
            payload.as_bytes(),
            RECORD,
            &Rules::new(AcceptConfig::default(), sequence),
        )
    }

    fn reason(payload: &str) -> &'static str {
        read(payload, SequenceSource::Field)
            .map_or_else(|fault| fault.reason.as_str(), |_| "accepted")
    }

    /// The message of the documentation with one field replaced, or removed by an empty value.
    fn with(field: &str, value: &str) -> String {
        let fields = [
            ("symbol", "\"AMZN\""),
            ("event_time", "\"2019-06-28T13:30:00Z\""),
            ("sequence", "1"),
            ("price", "\"95.455002\""),
            ("size", "\"100\""),
            ("revision", "0"),
            ("cancelled", "false"),
        ];
        let body: Vec<String> = fields
            .iter()
            .map(|(name, plain)| (name, if *name == field { value } else { plain }))
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| format!("\"{name}\":{value}"))
            .collect();
        format!("{{{}}}", body.join(","))
    }

    #[test]
    fn the_documented_message_is_a_tick() {
        let text = r#"{"symbol":"AMZN","event_time":"2019-06-28T13:30:00Z","sequence":1,"price":"95.455002","size":"100"}"#;
        let decoded = read(text, SequenceSource::Field).unwrap();
        assert_eq!(decoded.symbol, "AMZN");
        assert_eq!(decoded.tick.key.event_time.micros(), 1_561_728_600_000_000);
        assert_eq!(decoded.tick.key.sequence, 1);
        assert_eq!(decoded.tick.price.decimal().to_string(), "95.455002");
        assert_eq!(decoded.tick.size.decimal().to_string(), "100");
        assert_eq!((decoded.tick.revision, decoded.tick.cancelled), (0, false));
    }

    #[test]
    fn every_accepted_spelling_gives_the_same_tick() {
        let plain = with("", "");
        let expected = read(&plain, SequenceSource::Field).unwrap();
        for same in [
            with("price", "95.455002"),
            with("price", "\"95.45500200\""),
            with("price", "95455002e-6"),
            with("event_time", "1561728600000000"),
            with("event_time", "\"2019-06-28T15:30:00.0000009+02:00\""),
            with("revision", ""),
            with("cancelled", ""),
            with("symbol", "\"AM\\u005aN\""),
            plain.replace('{', "{ \"venue\": {\"x\": [1]}, "),
        ] {
            assert_eq!(
                read(&same, SequenceSource::Field),
                Ok(Decoded {
                    symbol: "AMZN".into(),
                    ..read(&plain, SequenceSource::Field).unwrap()
                }),
                "{same}"
            );
            assert_eq!(
                read(&same, SequenceSource::Field).unwrap().tick,
                expected.tick
            );
        }
    }

    #[test]
    fn the_offset_is_the_sequence_where_producers_have_none() {
        let text = with("sequence", "");
        assert_eq!(
            read(&text, SequenceSource::Offset)
                .unwrap()
                .tick
                .key
                .sequence,
            77
        );
        assert_eq!(reason(&text), "missing-field");
    }

    #[test]
    fn every_fault_has_its_reason() {
        for (text, expected) in [
            ("{".to_owned(), "not-json"),
            ("nonsense".to_owned(), "not-json"),
            ("[\"AMZN\",1,1,1,1]".to_owned(), "not-json"),
            ("\u{feff}{}".to_owned(), "not-json"),
            (with("price", "NaN"), "not-json"),
            (with("symbol", ""), "missing-field"),
            (with("price", "null"), "missing-field"),
            (with("symbol", "5"), "wrong-type"),
            (with("symbol", "\"\""), "bad-symbol"),
            (
                with("symbol", &format!("\"{}\"", "A".repeat(65))),
                "bad-symbol",
            ),
            (with("symbol", "\"A\\u0000B\""), "bad-symbol"),
            (with("sequence", "1.5"), "wrong-type"),
            (with("sequence", "9223372036854775808"), "wrong-type"),
            (with("revision", "-1"), "wrong-type"),
            (with("cancelled", "\"yes\""), "wrong-type"),
            (with("price", "true"), "wrong-type"),
            (with("price", "\"NaN\""), "not-finite"),
            (with("price", "\"-Infinity\""), "not-finite"),
            (with("price", "0"), "price-not-positive"),
            (with("price", "-3"), "price-not-positive"),
            (with("size", "-0.1"), "size-negative"),
            (with("price", "0.0000000000000000001"), "too-many-digits"),
            (
                with("size", "12345678901234567890123456789"),
                "too-many-digits",
            ),
            (with("event_time", "\"yesterday\""), "bad-time"),
            (with("event_time", "1.5"), "bad-time"),
            (
                with("event_time", "\"1969-12-31T23:59:59Z\""),
                "time-out-of-range",
            ),
            (
                with("event_time", "\"2019-06-29T13:30:00.000001Z\""),
                "time-out-of-range",
            ),
            (
                with("event_time", "9223372036854775807"),
                "time-out-of-range",
            ),
        ] {
            assert_eq!(reason(&text), expected, "{text}");
        }
        assert_eq!(
            reason(&with("event_time", "\"2019-06-29T13:30:00Z\"")),
            "accepted"
        );
        assert_eq!(reason(&with("size", "0")), "accepted");
    }
}
