//! Ticks as Avro in the Confluent wire format: a zero byte, a schema id of four bytes, the body.
//!
//! A body is read by its writer's schema and its fields are taken by name, so that producers may add
//! and reorder fields. Logical types decide what a number means.

use std::borrow::Cow;
use std::io::Read;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use chrono::DateTime;
use common::decimal::Decimal;
use common::tick::EventTime;
use num_bigint::BigInt;

use super::schema::definition;
use super::{Decoded, Fields, RecordInfo, Rules, decimal, fault, missing};
use crate::config::SequenceSource;
use crate::dead_letter::{Fault, Reason};

/// Splits a message into its schema id and its body.
///
/// # Errors
/// When it is not in the Confluent wire format.
pub fn split(payload: &[u8]) -> Result<(u32, &[u8]), Fault> {
    match payload {
        [0, a, b, c, d, body @ ..] => Ok((u32::from_be_bytes([*a, *b, *c, *d]), body)),
        _ => Err(fault(
            Reason::NotAvro,
            &"not a zero byte and a schema id of four bytes",
        )),
    }
}

/// Most bytes that one length in a message may ask for: garbage can spell any length.
const MAX_ALLOCATION: usize = 16 * 1024 * 1024;

/// A body that must not end early: apache-avro takes an early end for null.
struct Body<'a>(&'a [u8]);

impl Read for Body<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.0.is_empty() && !buffer.is_empty() {
            return Err(std::io::Error::new(
                std::io::ErrorKind::InvalidData,
                "the message ends early",
            ));
        }
        self.0.read(buffer)
    }
}

/// Decodes the body of one message by its writer's schema.
///
/// # Errors
/// The fault that makes it a dead letter.
pub fn decode(
    schema: &Schema,
    body: &[u8],
    record: RecordInfo,
    rules: &Rules,
) -> Result<Decoded<'static>, Fault> {
    apache_avro::util::max_allocation_bytes(MAX_ALLOCATION);
    let not_avro = |error: apache_avro::Error| fault(Reason::NotAvro, &error);
    let reader = GenericDatumReader::builder(schema)
        .build()
        .map_err(not_avro)?;
    let mut body = Body(body);
    let value = reader.read_value(&mut body).map_err(not_avro)?;
    if !body.0.is_empty() {
        return Err(fault(
            Reason::NotAvro,
            &format!("{} bytes after the record", body.0.len()),
        ));
    }
    let (Value::Record(values), Schema::Record(record_schema)) = (value, schema) else {
        return Err(fault(Reason::NotAvro, &"not a record"));
    };
    let field = |name: &str| {
        let position = record_schema
            .fields
            .iter()
            .position(|field| field.name == name)?;
        let of_field = &record_schema.fields[position].schema;
        let (value, of_field) = plain(&values.get(position)?.1, of_field);
        let schema = match of_field {
            Schema::Ref { name } => definition(schema, name).unwrap_or(of_field),
            _ => of_field,
        };
        (*value != Value::Null).then_some((value, schema))
    };
    let required = |name: &str| field(name).ok_or_else(|| missing(name));

    let symbol = match required("symbol")?.0 {
        Value::String(text) | Value::Enum(_, text) => Cow::Owned(text.clone()),
        _ => return Err(wrong("symbol", "a string")),
    };
    let sequence = match rules.sequence {
        SequenceSource::Field => Some(integer("sequence", required("sequence")?.0)?),
        SequenceSource::Offset => None,
    };
    let revision = match field("revision") {
        None => 0,
        Some((value, _)) => i32::try_from(integer("revision", value)?)
            .ok()
            .filter(|revision| *revision >= 0)
            .ok_or_else(|| wrong("revision", "0 to 2147483647"))?,
    };
    let cancelled = match field("cancelled").map(|(value, _)| value) {
        None => false,
        Some(Value::Boolean(cancelled)) => *cancelled,
        Some(_) => return Err(wrong("cancelled", "a boolean")),
    };
    let fields = Fields {
        symbol,
        event_time: event_time(required("event_time")?.0)?,
        sequence,
        price: exact("price", required("price")?)?,
        size: exact("size", required("size")?)?,
        revision,
        cancelled,
    };
    rules.check(fields, record)
}

/// The value inside a union, with the schema of its branch.
fn plain<'v>(value: &'v Value, schema: &'v Schema) -> (&'v Value, &'v Schema) {
    match (value, schema) {
        (Value::Union(branch, inner), Schema::Union(union)) => (
            inner,
            union.variants().get(*branch as usize).unwrap_or(schema),
        ),
        _ => (value, schema),
    }
}

fn wrong(field: &str, expected: &str) -> Fault {
    fault(Reason::WrongType, &format!("{field} is not {expected}"))
}

fn integer(field: &str, value: &Value) -> Result<i64, Fault> {
    match value {
        Value::Int(number) => Ok(i64::from(*number)),
        Value::Long(number) => Ok(*number),
        _ => Err(wrong(field, "a whole number")),
    }
}

fn event_time(value: &Value) -> Result<EventTime, Fault> {
    let micros = match value {
        Value::TimestampMicros(micros) | Value::Long(micros) => Some(*micros),
        Value::TimestampMillis(millis) => millis.checked_mul(1000),
        Value::TimestampNanos(nanos) => Some(nanos.div_euclid(1000)),
        Value::String(text) => DateTime::parse_from_rfc3339(text)
            .ok()
            .map(|time| time.timestamp_micros()),
        _ => return Err(wrong("event_time", "a timestamp")),
    };
    micros
        .map(EventTime::from_micros)
        .ok_or_else(|| fault(Reason::BadTime, &"event_time is no time"))
}

/// A price or size: a decimal by its scale, a string by its spelling, a float by its shortest decimal.
fn exact(field: &str, (value, schema): (&Value, &Schema)) -> Result<Decimal, Fault> {
    match (value, schema) {
        (Value::Decimal(number), Schema::Decimal(decimal_schema)) => {
            let bytes: Vec<u8> = number
                .try_into()
                .map_err(|error: apache_avro::Error| fault(Reason::NotAvro, &error))?;
            from_units(field, &bytes, decimal_schema.scale)
        }
        // The message says where the point is: written out, it could fill any memory.
        (Value::BigDecimal(number), _) if number.fractional_digit_count().abs() > 100 => {
            Err(fault(
                Reason::TooManyDigits,
                &format!("{field} has its point out of reach"),
            ))
        }
        (Value::BigDecimal(number), _) => decimal(field, &number.to_plain_string()),
        (Value::String(text), _) => decimal(field, text),
        (Value::Int(number), _) => decimal(field, &number.to_string()),
        (Value::Long(number), _) => decimal(field, &number.to_string()),
        (Value::Float(number), _) => decimal(field, &number.to_string()),
        (Value::Double(number), _) => decimal(field, &number.to_string()),
        _ => Err(wrong(field, "a decimal, a string or a number")),
    }
}

/// Most bytes of an unscaled number, sign bytes in front aside: more than 140 digits, of which most are zeros.
const WIDEST: usize = 60;

/// A big-endian two's complement number of 10^-scale.
fn from_units(field: &str, bytes: &[u8], scale: usize) -> Result<Decimal, Fault> {
    let too_many = || {
        fault(
            Reason::TooManyDigits,
            &format!("{field} has more than 28 digits or 18 decimals"),
        )
    };
    let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
    let fill = if negative { 0xff } else { 0 };
    // A writer may pad with sign bytes.
    let excess = bytes.len().saturating_sub(WIDEST);
    if bytes[..excess].iter().any(|byte| *byte != fill) {
        return Err(too_many());
    }
    let mut units = BigInt::from_signed_bytes_be(&bytes[excess..]);
    // What was left off was more than sign bytes.
    if excess > 0 && (units < BigInt::ZERO) != negative {
        return Err(too_many());
    }
    // Of the 46 digits that our own schema has, 28 count: the others are zeros at the end.
    let mut scale = u32::try_from(scale).map_err(|_| too_many())?;
    while scale > 0 && i128::try_from(&units).is_err() {
        if &units % 10 != BigInt::ZERO {
            return Err(too_many());
        }
        units /= 10;
        scale -= 1;
    }
    let units = i128::try_from(units).map_err(|_| too_many())?;
    Decimal::new(units, scale).map_err(|_| too_many())
}

#[cfg(test)]
mod tests;
