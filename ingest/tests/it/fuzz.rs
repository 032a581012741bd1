//! No message makes a decoder panic, and what a decoder accepts can be stored and read again as it is.
//!
//! `make fuzz` does this for longer. Inputs that failed once are in `tests/crashes`.

use std::path::PathBuf;

use apache_avro::Schema;
use common::interval::Interval;
use ingest::config::{AcceptConfig, SequenceSource};
use ingest::decode::{Decoded, RecordInfo, Rules, avro, json};
use testbed::fuzz::fuzz;
use testbed::{Encoding, Tick};

const RECORD: RecordInfo = RecordInfo {
    offset: 7,
    timestamp: Some(1_705_320_000_000),
};

fn rules() -> Rules {
    Rules::new(AcceptConfig::default(), SequenceSource::Field)
}

fn crashes(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/crashes")
        .join(target)
}

/// Ticks with all that a tick can have.
fn ticks() -> Vec<Tick> {
    let noon = 1_705_320_000_000_000;
    vec![
        Tick::new("AMZN", noon, 1, "95.455002", "100"),
        Tick {
            revision: 2_147_483_647,
            cancelled: true,
            ..Tick::new("penny_1", noon - 1, i64::MIN, "0.000000000000000001", "0")
        },
        Tick::new(
            "é\"𝄞",
            1,
            i64::MAX,
            "9999999999999999999999999999",
            "9999999999.999999999999999999",
        ),
    ]
}

/// What is accepted is within the bounds that storing counts on.
fn check(decoded: &Decoded<'_>) {
    assert!((1..=64).contains(&decoded.symbol.len()), "{decoded:?}");
    let tick = &decoded.tick;
    let (price, size) = (tick.price.decimal(), tick.size.decimal());
    assert!(
        price.is_positive() && !size.is_negative() && tick.revision >= 0,
        "{decoded:?}"
    );
    for number in [price, size] {
        assert_eq!(number.to_string().parse(), Ok(number), "{decoded:?}");
        assert!(
            number
                .to_string()
                .bytes()
                .filter(u8::is_ascii_digit)
                .count()
                <= 29,
            "{decoded:?}"
        );
    }
    let time = tick.key.event_time.micros();
    assert!((0..=1_705_406_400_000_000).contains(&time), "{decoded:?}");
}

#[test]
fn no_json_message_panics() {
    let mut corpus: Vec<Vec<u8>> = ticks()
        .iter()
        .map(|tick| Encoding::Json.encode(tick).unwrap())
        .collect();
    for text in [
        r#"{"symbol":"A","event_time":1705320000000000,"sequence":0,"price":1.5e2,"size":1E-3,"revision":0,"cancelled":false}"#,
        r#"{"venue":{"lots":[1,2,{"x":[]}]},"symbol":"\u0041","event_time":"2024-01-15T17:30:00.123456789+05:30","sequence":-1,"price":"00.10","size":"1e3"}"#,
    ] {
        corpus.push(text.into());
    }
    let rules = rules();
    for input in &corpus {
        check(&json::decode(input, RECORD, &rules).unwrap());
    }
    fuzz("json", &crashes("json"), &corpus, |input| {
        if let Ok(decoded) = json::decode(input, RECORD, &rules) {
            check(&decoded);
        }
    });
}

/// Writers' schemas, ours first.
const SCHEMAS: [&str; 3] = [
    testbed::avro::SCHEMA,
    r#"{"type":"record","name":"T","fields":[{"name":"symbol","type":["null","string"]},{"name":"event_time","type":{"type":"long","logicalType":"timestamp-nanos"}},
        {"name":"sequence","type":"int"},{"name":"price","type":"double"},{"name":"size","type":"string"},{"name":"more","type":{"type":"map","values":{"type":"array","items":"long"}}}]}"#,
    r#"{"type":"record","name":"T","fields":[{"name":"symbol","type":"string"},{"name":"event_time","type":{"type":"long","logicalType":"timestamp-millis"}},
        {"name":"sequence","type":"long"},{"name":"price","type":{"type":"fixed","name":"F","size":16,"logicalType":"decimal","precision":38,"scale":38}},{"name":"size","type":"float"}]}"#,
];

#[test]
fn no_avro_message_panics() {
    let mut corpus: Vec<Vec<u8>> = ticks()
        .iter()
        .map(|tick| Encoding::Avro { schema_id: 1 }.encode(tick).unwrap())
        .collect();
    let rules = rules();
    let schemas: Vec<Schema> = SCHEMAS
        .iter()
        .map(|text| Schema::parse_str(text).unwrap())
        .collect();
    for input in &corpus {
        let body = avro::split(input).unwrap().1;
        check(&avro::decode(&schemas[0], body, RECORD, &rules).unwrap());
    }
    // Bodies of the other schemas are found by chance: a union's branch, longs, eight or sixteen bytes, lengths.
    corpus.push(
        [
            [0, 0, 0, 0, 1, 2, 2, 65].as_slice(),
            &[0x80, 0x80, 0xa0, 0xd4, 0x9c, 0xb7, 0x95, 0xaa, 0x2f],
            &[2],
            &1.5_f64.to_le_bytes(),
            &[2, 49, 0],
        ]
        .concat(),
    );
    corpus.push(
        [
            [0, 0, 0, 0, 1, 2, 65].as_slice(),
            &[0x80, 0x90, 0xc0, 0xd2, 0xa1, 0x63],
            &[2],
            &[0; 15],
            &[9],
            &1.5_f32.to_le_bytes(),
        ]
        .concat(),
    );
    fuzz("avro", &crashes("avro"), &corpus, |input| {
        if let Ok((_, body)) = avro::split(input) {
            for schema in &schemas {
                if let Ok(decoded) = avro::decode(schema, body, RECORD, &rules) {
                    check(&decoded);
                }
            }
        }
    });
}

#[test]
fn no_interval_panics_and_what_is_one_prints_as_it_was() {
    let corpus: Vec<Vec<u8>> = [
        "1s", "5m", "60m", "4h", "1d", "2w", "3M", "1q", "10y", "24h",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    fuzz("interval", &crashes("interval"), &corpus, |input| {
        let Ok(text) = std::str::from_utf8(input) else {
            return;
        };
        match text.parse::<Interval>() {
            Ok(interval) => assert_eq!(interval.to_string(), text),
            Err(error) => {
                let hint = error.hint();
                assert!(
                    hint.is_none_or(|hint| hint.to_string().parse() == Ok(hint)),
                    "{text:?}: {hint:?}"
                );
            }
        }
    });
}
