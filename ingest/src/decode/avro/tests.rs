//! Fields by name, numbers of every form, and a reason for every fault.

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
