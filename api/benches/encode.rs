//! What rows cost in each form: 10 000 candles of all sixteen columns, from values to bytes.

use std::borrow::Cow;
use std::hint::black_box;

use api::format::Format;
use api::table::{Column, Envelope, Kind, Spelling, Times, Value, encoder};
use chrono_tz::Tz;
use common::amount::Amount;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const ROWS: i64 = 10_000;
const MINUTE: i64 = 60_000_000;
/// 2024-01-01T00:00:00Z.
const START: i64 = 1_704_067_200_000_000;

fn columns() -> Vec<Column> {
    let decimal = |scale| Kind::Decimal { scale };
    [
        ("open_time", Kind::Time),
        ("close_time", Kind::Time),
        ("open", decimal(2)),
        ("high", decimal(2)),
        ("low", decimal(2)),
        ("close", decimal(2)),
        ("volume", decimal(3)),
        ("turnover", decimal(5)),
        ("vwap", decimal(10)),
        ("trades", Kind::Integer),
        ("first_time", Kind::Time),
        ("last_time", Kind::Time),
        ("complete", Kind::Flag),
        ("revision", Kind::Integer),
        ("updated_at", Kind::Time),
        ("filled", Kind::Flag),
    ]
    .map(|(name, kind)| Column::new(name, kind))
    .into()
}

/// A row with numbers as a liquid share has them.
fn row(n: i64) -> Vec<Value<'static>> {
    let decimal = |text: String| {
        let amount: Amount = text.parse().expect("a decimal");
        Value::Decimal(Cow::Owned(amount))
    };
    let open_time = START + n * MINUTE;
    vec![
        Value::Time(open_time),
        Value::Time(open_time + MINUTE),
        decimal(format!("{}.{:02}", 180 + n % 7, n % 100)),
        decimal(format!("{}.{:02}", 181 + n % 7, n % 100)),
        decimal(format!("{}.{:02}", 179 + n % 7, n % 100)),
        decimal(format!("{}.{:02}", 180 + n % 5, n % 100)),
        decimal(format!("{}.{:03}", 10_000 + n, n % 1_000)),
        decimal(format!("{}.{:05}", 1_800_000 + n * 180, n)),
        decimal(format!("180.{:010}", n * 7_919)),
        Value::Integer(40 + n % 90),
        Value::Time(open_time + 123_456),
        Value::Time(open_time + MINUTE - 654_321),
        Value::Flag(true),
        Value::Integer(1 + n % 3),
        Value::Time(open_time + MINUTE + 1_234),
        Value::Flag(false),
    ]
}

fn encode(criterion: &mut Criterion) {
    let columns = columns();
    let rows: Vec<_> = (0..ROWS).map(row).collect();
    let spelling = Spelling {
        quoted: false,
        times: Times::Utc,
        tz: Tz::UTC,
    };
    let mut group = criterion.benchmark_group("encode");
    group.throughput(Throughput::Elements(ROWS.unsigned_abs()));
    for (name, format) in [
        ("json", Format::Json),
        ("ndjson", Format::Ndjson),
        ("csv", Format::Csv),
        ("arrow", Format::Arrow),
        ("parquet", Format::Parquet),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut encoder = encoder(format, &columns, spelling, Envelope::default())
                    .expect("columns of every form");
                for row in &rows {
                    encoder.row(row).expect("values of the columns");
                }
                black_box(encoder.finish().expect("bytes"))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, encode);
criterion_main!(benches);
