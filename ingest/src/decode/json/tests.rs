//! Every accepted spelling, and a reason for every fault.

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
    read(payload, SequenceSource::Field).map_or_else(|fault| fault.reason.as_str(), |_| "accepted")
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
