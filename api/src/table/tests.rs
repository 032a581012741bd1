//! The bytes of each form.

use super::*;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Decimal128Type, TimestampMicrosecondType};
use arrow_ipc::reader::StreamReader;
use chrono_tz::Tz;

fn amount(text: &str) -> Value<'static> {
    Value::Decimal(Cow::Owned(text.parse().unwrap()))
}

fn columns() -> Vec<Column> {
    vec![
        Column::new("time", Kind::Time),
        Column::new("price", Kind::Decimal { scale: 11 }),
        Column::new("trades", Kind::Integer),
        Column::new("complete", Kind::Flag),
    ]
}

fn rows() -> [Vec<Value<'static>>; 2] {
    [
        vec![
            Value::Time(1_710_046_800_000_001),
            amount("0.00000798374"),
            Value::Integer(3),
            Value::Flag(true),
        ],
        vec![Value::Null, Value::Null, Value::Null, Value::Null],
    ]
}

const PLAIN: Spelling = Spelling {
    quoted: false,
    times: Times::Utc,
    tz: Tz::UTC,
};

fn bytes(
    format: Format,
    spelling: Spelling,
    columns: &[Column],
    rows: &[Vec<Value<'_>>],
) -> Vec<u8> {
    let envelope = Envelope {
        json: ("{\"rows\":[".into(), "],\"end\":null}".into()),
        metadata: vec![("symbol".into(), "A".into())],
    };
    let mut encoder = encoder(format, columns, spelling, envelope).unwrap();
    let mut bytes = Vec::new();
    for row in rows {
        encoder.row(row).unwrap();
        bytes.extend(encoder.take().unwrap());
    }
    bytes.extend(encoder.finish().unwrap());
    bytes
}

fn text(format: Format, spelling: Spelling) -> String {
    String::from_utf8(bytes(format, spelling, &columns(), &rows())).unwrap()
}

#[test]
fn texts_have_the_exact_digits_and_nothing_where_there_is_none() {
    assert_eq!(
        text(Format::Json, PLAIN),
        concat!(
            r#"{"rows":[{"time":"2024-03-10T05:00:00.000001Z","price":0.00000798374,"trades":3,"complete":true},"#,
            r#"{"time":null,"price":null,"trades":null,"complete":null}],"end":null}"#
        )
    );
    let quoted = Spelling {
        quoted: true,
        ..PLAIN
    };
    assert_eq!(
        text(Format::Ndjson, quoted),
        concat!(
            r#"{"time":"2024-03-10T05:00:00.000001Z","price":"0.00000798374","trades":3,"complete":true}"#,
            "\n",
            r#"{"time":null,"price":null,"trades":null,"complete":null}"#,
            "\n"
        )
    );
    assert_eq!(
        text(Format::Csv, quoted),
        "time,price,trades,complete\r\n2024-03-10T05:00:00.000001Z,0.00000798374,3,true\r\n,,,\r\n"
    );
}

#[test]
fn without_rows_there_is_a_header_and_an_envelope() {
    let empty = |format| String::from_utf8(bytes(format, PLAIN, &columns(), &[])).unwrap();
    assert_eq!(empty(Format::Json), r#"{"rows":[],"end":null}"#);
    assert_eq!(empty(Format::Ndjson), "");
    assert_eq!(empty(Format::Csv), "time,price,trades,complete\r\n");
}

#[test]
fn times_are_told_as_asked() {
    let micros = 1_710_046_800_120_000;
    for (times, tz, text) in [
        (Times::Utc, Tz::America__New_York, "2024-03-10T05:00:00.12Z"),
        (
            Times::Local,
            Tz::America__New_York,
            "2024-03-10T00:00:00.12-05:00",
        ),
        (
            Times::Local,
            Tz::Asia__Kolkata,
            "2024-03-10T10:30:00.12+05:30",
        ),
        (Times::Local, Tz::UTC, "2024-03-10T05:00:00.12+00:00"),
        (Times::Seconds, Tz::UTC, "1710046800"),
        (Times::Milliseconds, Tz::UTC, "1710046800120"),
        (Times::Nanoseconds, Tz::UTC, "1710046800120000000"),
    ] {
        let spelling = Spelling { times, tz, ..PLAIN };
        assert_eq!(spelling.plain_time(micros), text);
        let quotes = if text.contains('T') { "\"" } else { "" };
        assert_eq!(
            spelling.json_time(Some(micros)),
            format!("{quotes}{text}{quotes}")
        );
        assert_eq!(spelling.json_time(None), "null");
    }
    // Monrovia was 44 minutes and 30 seconds behind until 1972.
    let local = Spelling {
        times: Times::Local,
        tz: Tz::Africa__Monrovia,
        ..PLAIN
    };
    assert_eq!(local.plain_time(0), "1969-12-31T23:16:00-00:44");
    let second = Spelling {
        times: Times::Seconds,
        ..PLAIN
    };
    assert_eq!(second.plain_time(-1), "-1");
}

#[test]
fn columns_nest_in_json_and_have_a_plain_name_elsewhere() {
    let path = |keys: &[&str]| Column::nested(keys, Kind::Integer);
    let columns = [
        Column::new("open", Kind::Integer),
        path(&["indicators", "sma:20"]),
        path(&["indicators", "macd:12:26:9", "macd"]),
        path(&["indicators", "macd:12:26:9", "signal"]),
        path(&["indicators", "stoch", "k"]),
        Column::new("last", Kind::Integer),
    ];
    let row: Vec<Value<'_>> = (0..6).map(Value::Integer).collect();
    let text = |format, columns: &[Column], row: &[Value<'_>]| {
        String::from_utf8(bytes(format, PLAIN, columns, &[row.to_vec()])).unwrap()
    };
    assert_eq!(
        text(Format::Ndjson, &columns, &row),
        concat!(
            r#"{"open":0,"indicators":{"sma:20":1,"macd:12:26:9":{"macd":2,"signal":3},"stoch":{"k":4}},"last":5}"#,
            "\n"
        )
    );
    assert_eq!(
        text(Format::Ndjson, &columns[..4], &row[..4]),
        "{\"open\":0,\"indicators\":{\"sma:20\":1,\"macd:12:26:9\":{\"macd\":2,\"signal\":3}}}\n"
    );
    assert_eq!(
        text(Format::Csv, &columns, &row),
        "open,sma:20,macd:12:26:9.macd,macd:12:26:9.signal,stoch.k,last\r\n0,1,2,3,4,5\r\n"
    );
}

#[test]
fn arrow_has_typed_columns_and_the_envelope_as_metadata() {
    let bytes = bytes(Format::Arrow, PLAIN, &columns(), &rows());
    let reader = StreamReader::try_new(bytes.as_slice(), None).unwrap();
    assert_eq!(
        reader.schema().metadata().get("symbol").map(String::as_str),
        Some("A")
    );
    let batches: Vec<_> = reader.map(Result::unwrap).collect();
    let [batch] = batches.as_slice() else {
        panic!("{batches:?}")
    };
    let times = batch.column(0).as_primitive::<TimestampMicrosecondType>();
    assert_eq!(times.timezone(), Some("UTC"));
    assert_eq!(
        times.iter().collect::<Vec<_>>(),
        [Some(1_710_046_800_000_001), None]
    );
    let prices = batch.column(1).as_primitive::<Decimal128Type>();
    assert_eq!((prices.precision(), prices.scale()), (38, 11));
    assert_eq!(prices.iter().collect::<Vec<_>>(), [Some(798_374), None]);
    assert!(batch.column(2).is_null(1) && batch.column(3).is_null(1));
}

#[test]
fn decimals_in_quotes_are_texts_in_arrow() {
    let quoted = Spelling {
        quoted: true,
        ..PLAIN
    };
    let bytes = bytes(Format::Arrow, quoted, &columns(), &rows());
    let batch = StreamReader::try_new(bytes.as_slice(), None)
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let prices = batch.column(1).as_string::<i32>();
    assert_eq!(
        prices.iter().collect::<Vec<_>>(),
        [Some("0.00000798374"), None]
    );
}

#[test]
fn a_value_that_does_not_fit_is_an_error_and_never_rounded() {
    let columns = [Column::new("price", Kind::Decimal { scale: 2 })];
    for format in [Format::Arrow, Format::Parquet] {
        let mut encoder = encoder(format, &columns, PLAIN, Envelope::default()).unwrap();
        encoder.row(&[amount("0.01")]).unwrap();
        for value in [
            amount("0.001"),
            amount("1000000000000000000000000000000000000"),
            Value::Flag(true),
        ] {
            let error = encoder.row(&[value]).unwrap_err();
            assert!(matches!(error, EncodeError::Misfit(name) if name == "price"));
        }
    }
}

#[test]
fn a_column_of_parquet_is_written_a_group_at_a_time() {
    // GIVEN more rows than a group has
    let columns = [Column::new("n", Kind::Integer)];
    let mut encoder = encoder(Format::Parquet, &columns, PLAIN, Envelope::default()).unwrap();
    // WHEN they come one by one
    let mut ready = Vec::new();
    for n in 0..70_000 {
        encoder.row(&[Value::Integer(n)]).unwrap();
        ready.extend(encoder.take().unwrap());
    }
    // THEN the first group is out before the end
    assert!(ready.len() > 4_096, "{}", ready.len());
    ready.extend(encoder.finish().unwrap());
    assert!(ready.starts_with(b"PAR1") && ready.ends_with(b"PAR1"));
}
