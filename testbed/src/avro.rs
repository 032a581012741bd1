//! Ticks in Avro's binary encoding behind Confluent's five bytes, written by hand.
//!
//! `ingest` decodes with a library; what is written here shares no code with it, so that a test shows agreement with the
//! specification (Avro 1.12, "Binary Encoding"; Confluent, "Wire format").

use anyhow::Result;

use crate::decimal;
use crate::tick::Tick;

/// The schema that producers are asked to use.
pub const SCHEMA: &str = include_str!("../../common/schemas/tick.avsc");

/// Appends a long: zigzag, then seven bits a byte, the lowest first.
pub fn put_long(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.push(rest.to_le_bytes()[0]);
}

/// Appends bytes or a string: the length, then the bytes.
pub fn put_bytes(out: &mut Vec<u8>, value: &[u8]) {
    // A slice never has more than `isize::MAX` bytes.
    put_long(out, i64::try_from(value.len()).unwrap_or(i64::MAX));
    out.extend_from_slice(value);
}

/// Starts a message of Confluent's wire format: 0, then the schema's id, the highest byte first.
pub fn header(schema_id: u32) -> Vec<u8> {
    let mut out = vec![0];
    out.extend_from_slice(&schema_id.to_be_bytes());
    out
}

/// A tick as a message written with [`SCHEMA`].
///
/// # Errors
///
/// When price or size is no plain decimal number of at most 18 decimals.
pub fn message(schema_id: u32, tick: &Tick) -> Result<Vec<u8>> {
    let mut out = header(schema_id);
    put_bytes(&mut out, tick.symbol.as_bytes());
    put_long(&mut out, tick.event_time);
    put_long(&mut out, tick.sequence);
    put_bytes(&mut out, &decimal::unscaled(&tick.price)?);
    put_bytes(&mut out, &decimal::unscaled(&tick.size)?);
    put_long(&mut out, i64::from(tick.revision));
    out.push(u8::from(tick.cancelled));
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longs_are_encoded_as_the_specification_shows() {
        for (value, bytes) in [
            (0, vec![0]),
            (-1, vec![1]),
            (1, vec![2]),
            (-64, vec![0x7f]),
            (64, vec![0x80, 1]),
            (8192, vec![0x80, 0x80, 1]),
        ] {
            let mut out = Vec::new();
            put_long(&mut out, value);
            assert_eq!(out, bytes, "{value}");
        }
        let mut out = Vec::new();
        put_long(&mut out, i64::MIN);
        assert_eq!(
            out,
            [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]
        );
    }

    #[test]
    fn message_begins_with_the_schema_id() {
        let tick = Tick::new("A", 1, 2, "0.000000000000000003", "0");
        let bytes = message(258, &tick).unwrap();
        assert_eq!(bytes, [0, 0, 0, 1, 2, 2, b'A', 2, 4, 2, 3, 2, 0, 0, 0]);
    }

    #[test]
    fn schema_is_json_and_names_every_field_in_the_order_written() {
        let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
        let names: Vec<_> = schema["fields"]
            .as_array()
            .unwrap()
            .iter()
            .map(|f| f["name"].as_str().unwrap())
            .collect();
        assert_eq!(
            names,
            [
                "symbol",
                "event_time",
                "sequence",
                "price",
                "size",
                "revision",
                "cancelled"
            ]
        );
    }
}
