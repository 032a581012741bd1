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
mod tests {
    use super::*;
    use crate::config::AcceptConfig;
    use apache_avro::writer::datum::GenericDatumWriter;

    const RECORD: RecordInfo = RecordInfo {
        offset: 77,
        timestamp: None,
    };

    fn schema(fields: &str) -> Schema {
        Schema::parse_str(&format!(
            r#"{{"type":"record","name":"Tick","fields":[{fields}]}}"#
        ))
        .unwrap()
    }

    fn read(schema: &Schema, values: Vec<(&str, Value)>) -> Result<Decoded<'static>, Fault> {
        let values = values
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        let writer = GenericDatumWriter::builder(schema).build().unwrap();
        let body = writer.write_value_to_vec(Value::Record(values)).unwrap();
        decode(
            schema,
            &body,
            RECORD,
            &Rules::new(AcceptConfig::default(), SequenceSource::Field),
        )
    }

    fn units(number: i64) -> Value {
        Value::Decimal(apache_avro::Decimal::from(number.to_be_bytes()))
    }

    #[test]
    fn fields_are_taken_by_name_whatever_their_order_and_form() {
        let decimal_type = r#"{"type":"bytes","logicalType":"decimal","precision":30,"scale":6}"#;
        let micros = r#"{"type":"long","logicalType":"timestamp-micros"}"#;
        let ours = schema(&format!(
            r#"{{"name":"symbol","type":"string"}},{{"name":"event_time","type":{micros}}},{{"name":"sequence","type":"long"}},
               {{"name":"price","type":{decimal_type}}},{{"name":"size","type":{decimal_type}}}"#
        ));
        let first = read(
            &ours,
            vec![
                ("symbol", Value::String("AMZN".into())),
                ("event_time", Value::TimestampMicros(1_561_728_600_000_000)),
                ("sequence", Value::Long(1)),
                ("price", units(95_455_002)),
                ("size", units(100_000_000)),
            ],
        )
        .unwrap();
        assert_eq!(first.tick.price.decimal().to_string(), "95.455002");
        assert_eq!(first.tick.size.decimal().to_string(), "100");

        let theirs = schema(
            r#"{"name":"venue","type":"string"},{"name":"size","type":"double"},{"name":"price","type":["null","string"]},
               {"name":"sequence","type":"int"},{"name":"event_time","type":{"type":"long","logicalType":"timestamp-millis"}},
               {"name":"symbol","type":"string"},{"name":"cancelled","type":"boolean"}"#,
        );
        let second = read(
            &theirs,
            vec![
                ("venue", Value::String("X".into())),
                ("size", Value::Double(100.0)),
                (
                    "price",
                    Value::Union(1, Box::new(Value::String("95.4550020".into()))),
                ),
                ("sequence", Value::Int(1)),
                ("event_time", Value::TimestampMillis(1_561_728_600_000)),
                ("symbol", Value::String("AMZN".into())),
                ("cancelled", Value::Boolean(false)),
            ],
        )
        .unwrap();
        assert_eq!(first, second);
    }

    #[test]
    fn faults_of_avro_have_their_reasons() {
        assert_eq!(
            split(b"\x01\0\0\0\x05").unwrap_err().reason,
            Reason::NotAvro
        );
        assert_eq!(split(b"\0\0\0").unwrap_err().reason, Reason::NotAvro);
        assert_eq!(split(b"\0\0\0\x01\x05rest"), Ok((261, b"rest".as_slice())));

        let text = schema(r#"{"name":"symbol","type":"string"}"#);
        let rules = Rules::new(AcceptConfig::default(), SequenceSource::Field);
        let reason = |body: &[u8]| decode(&text, body, RECORD, &rules).unwrap_err().reason;
        assert_eq!(reason(b"\x08AB"), Reason::NotAvro);
        assert_eq!(reason(b"\x02A trailing"), Reason::NotAvro);
        assert_eq!(reason(b"\x02A"), Reason::MissingField);
        assert_eq!(reason(b""), Reason::NotAvro);
        assert_eq!(reason(b"\xfe\xff\xff\xff\xff\xff\xff\x01"), Reason::NotAvro);
        let cancel = schema(r#"{"name":"cancelled","type":["null","boolean"]}"#);
        let early = |body: &[u8]| decode(&cancel, body, RECORD, &rules).unwrap_err().reason;
        assert_eq!([early(b""), early(b"\x02")], [Reason::NotAvro; 2]);

        let double = schema(
            r#"{"name":"symbol","type":"string"},{"name":"event_time","type":"long"},{"name":"sequence","type":"long"},
               {"name":"price","type":"double"},{"name":"size","type":"double"}"#,
        );
        for (price, expected) in [
            (f64::NAN, Reason::NotFinite),
            (f64::INFINITY, Reason::NotFinite),
            (1e-300, Reason::TooManyDigits),
            (0.0, Reason::PriceNotPositive),
        ] {
            let values = vec![
                ("symbol", Value::String("A".into())),
                ("event_time", Value::Long(1)),
                ("sequence", Value::Long(1)),
                ("price", Value::Double(price)),
                ("size", Value::Double(1.0)),
            ];
            assert_eq!(
                read(&double, values).unwrap_err().reason,
                expected,
                "{price}"
            );
        }
    }

    #[test]
    fn decimals_of_any_width_are_exact_or_refused() {
        let number = |bytes: &[u8], scale| from_units("price", bytes, scale).map(|d| d.to_string());
        assert_eq!(number(&[0xff, 0x85], 2).as_deref(), Ok("-1.23"));
        assert_eq!(number(&[0; 40], 2).as_deref(), Ok("0"));
        assert_eq!(number(&[], 2).as_deref(), Ok("0"));
        let mut wide = [0_u8; 20];
        wide[19] = 123;
        assert_eq!(number(&wide, 1).as_deref(), Ok("12.3"));
        wide[0] = 1;
        assert_eq!(number(&wide, 1).unwrap_err().reason, Reason::TooManyDigits);
        assert_eq!(
            number(&10_i128.pow(28).to_be_bytes(), 1).as_deref(),
            Ok("1000000000000000000000000000")
        );
        assert_eq!(number(&[1], 19).unwrap_err().reason, Reason::TooManyDigits);

        // 28 digits before the point, in the form that our own schema has.
        let most: BigInt = "9999999999999999999999999999000000000000000000"
            .parse()
            .unwrap();
        let bytes = most.to_signed_bytes_be();
        assert_eq!(
            number(&bytes, 18).as_deref(),
            Ok("9999999999999999999999999999")
        );
        let bytes = (-most).to_signed_bytes_be();
        assert_eq!(
            number(&bytes, 18).as_deref(),
            Ok("-9999999999999999999999999999")
        );
        let one_more: BigInt = "9999999999999999999999999999000000000000000001"
            .parse()
            .unwrap();
        let refused = number(&one_more.to_signed_bytes_be(), 18).unwrap_err();
        assert_eq!(refused.reason, Reason::TooManyDigits);
    }
}
