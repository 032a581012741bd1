//! Rows of an answer in any form, as text.

use std::collections::BTreeMap;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array as _, RecordBatch};
use arrow_ipc::reader::StreamReader;
use arrow_schema::DataType;
use chrono::{DateTime, SecondsFormat};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use crate::fixture::{Answer, decimal};

/// Rows as text, null apart.
pub(super) type Table = Vec<BTreeMap<String, Option<String>>>;

/// With the doubles of indicators to fewer digits than a double has: the reader of JSON in these tests does not always find
/// the nearest double.
fn rounded(table: Table) -> Table {
    let cell = |(name, text): (String, Option<String>)| {
        let double = name.contains([':', '.']).then_some(text.as_ref()).flatten();
        let double = double.map(|text| format!("{:.9}", text.parse::<f64>().unwrap()));
        (name, double.or(text))
    };
    table
        .into_iter()
        .map(|row| row.into_iter().map(cell).collect())
        .collect()
}

pub(super) fn of_json(rows: &[Value]) -> Table {
    let text = |value: &Value| match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    let table = rows
        .iter()
        .map(|row| {
            let mut cells = row.as_object().unwrap().clone();
            let indicators = cells.remove("indicators").unwrap_or_else(|| json!({}));
            for (key, value) in indicators.as_object().unwrap() {
                match value {
                    Value::Object(outputs) => {
                        let named = outputs
                            .iter()
                            .map(|(name, value)| (format!("{key}.{name}"), value.clone()));
                        cells.extend(named);
                    }
                    value => {
                        let prefix = if key == "vwap" { "indicators." } else { "" };
                        cells.extend([(format!("{prefix}{key}"), value.clone())]);
                    }
                }
            }
            cells
                .iter()
                .map(|(key, value)| (key.clone(), text(value)))
                .collect()
        })
        .collect();
    rounded(table)
}

pub(super) fn of_csv(text: &str) -> Table {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let names = reader.headers().unwrap().clone();
    let table = reader
        .records()
        .map(|record| {
            let record = record.unwrap();
            let cells = names.iter().zip(record.iter());
            cells
                .map(|(name, cell)| {
                    (
                        name.to_owned(),
                        Some(cell.to_owned()).filter(|cell| !cell.is_empty()),
                    )
                })
                .collect()
        })
        .collect();
    rounded(table)
}

fn time(micros: i64) -> String {
    let time = DateTime::from_timestamp_micros(micros).unwrap();
    let text = time.to_rfc3339_opts(SecondsFormat::Micros, false);
    let text = text.trim_end_matches("+00:00").trim_end_matches('0');
    format!("{}Z", text.trim_end_matches('.'))
}

fn of_batches(batches: &[RecordBatch]) -> Table {
    let mut table = Table::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let fields = batch.schema();
            let cells = fields.fields().iter().zip(batch.columns());
            let cell = |array: &arrow_array::ArrayRef| {
                array.is_valid(row).then(|| match array.data_type() {
                    DataType::Timestamp(_, zone) => {
                        assert_eq!(zone.as_deref(), Some("UTC"));
                        time(array.as_primitive::<TimestampMicrosecondType>().value(row))
                    }
                    DataType::Decimal128(38, scale) => {
                        let units = array.as_primitive::<Decimal128Type>().value(row);
                        decimal(units, usize::try_from(*scale).unwrap())
                    }
                    DataType::Float64 => array.as_primitive::<Float64Type>().value(row).to_string(),
                    DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
                    DataType::Boolean => array.as_boolean().value(row).to_string(),
                    DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
                    other => panic!("{other}"),
                })
            };
            table.push(
                cells
                    .map(|(field, array)| (field.name().clone(), cell(array)))
                    .collect(),
            );
        }
    }
    rounded(table)
}

pub(super) fn of_arrow(answer: &Answer) -> Table {
    let reader = StreamReader::try_new(answer.bytes.as_ref(), None).unwrap();
    of_batches(&reader.map(Result::unwrap).collect::<Vec<_>>())
}

pub(super) fn of_parquet(answer: &Answer) -> Table {
    let reader = ParquetRecordBatchReaderBuilder::try_new(answer.bytes.clone()).unwrap();
    of_batches(
        &reader
            .build()
            .unwrap()
            .map(Result::unwrap)
            .collect::<Vec<_>>(),
    )
}
