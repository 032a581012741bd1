//! Ticks from a CSV file: `event_time,price,size`, or with `symbol` and `sequence`.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use chrono::DateTime;

use crate::decimal;
use crate::table::{Row, Table};
use crate::tick::Tick;

/// What the column of event times may be called.
pub const TIME_COLUMNS: [&str; 2] = ["event_time", "timestamp"];

/// The ticks of a file, read as they are asked for.
#[derive(Debug)]
pub struct TicksCsv {
    table: Table,
    event_time: usize,
    price: usize,
    size: usize,
    symbol: Result<usize, String>,
    sequence: Option<usize>,
    /// How many ticks of each symbol there were, where the file does not number them.
    counts: HashMap<String, i64>,
    float32: bool,
}

impl TicksCsv {
    /// Opens a file. `symbol` is for files without such a column. Ticks without a number get their place among the
    /// symbol's ticks in the file, so that publishing it twice makes duplicates, not new ticks.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or lacks a column.
    pub fn open(path: &Path, symbol: Option<&str>, float32: bool) -> Result<Self> {
        Self::from_table(Table::open(path)?, symbol, float32)
    }

    /// As [`TicksCsv::open`], for a file that is open already.
    ///
    /// # Errors
    ///
    /// When a column is missing.
    pub fn from_table(table: Table, symbol: Option<&str>, float32: bool) -> Result<Self> {
        let symbol = match (table.find("symbol"), symbol) {
            (Some(column), _) => Ok(column),
            (None, Some(symbol)) => Err(symbol.to_owned()),
            (None, None) => Ok(table
                .column("symbol")
                .context("name the symbol with --symbol")?),
        };
        let time = TIME_COLUMNS.iter().find_map(|name| table.find(name));
        Ok(Self {
            event_time: time.map_or_else(|| table.column(TIME_COLUMNS[0]), Ok)?,
            price: table.column("price")?,
            size: table.column("size")?,
            sequence: table.find("sequence"),
            symbol,
            counts: HashMap::new(),
            float32,
            table,
        })
    }

    fn tick(&mut self, row: &Row) -> Result<Tick> {
        let symbol = match &self.symbol {
            Ok(column) => row.text(*column, "symbol")?,
            Err(given) => given,
        };
        let sequence = if let Some(column) = self.sequence {
            row.parse(column, "sequence", |text| {
                text.parse()
                    .map_err(|_| anyhow!("`{text}` is not a 64-bit whole number"))
            })?
        } else {
            let count = self.counts.entry(symbol.to_owned()).or_default();
            *count += 1;
            *count
        };
        let time = row.parse(self.event_time, "event_time", microseconds)?;
        let price = row.parse(
            self.price,
            "price",
            if self.float32 {
                decimal::float32
            } else {
                decimal::plain
            },
        )?;
        let size = row.parse(self.size, "size", decimal::plain)?;
        Ok(Tick::new(symbol, time, sequence, price, size))
    }
}

impl Iterator for TicksCsv {
    type Item = Result<Tick>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.table.next_row()?;
        Some(row.and_then(|row| self.tick(&row)))
    }
}

/// RFC 3339, or a whole number of microseconds since 1970; finer digits are dropped downward.
fn microseconds(text: &str) -> Result<i64> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    let time = DateTime::parse_from_rfc3339(text).map_err(|_| {
        anyhow!(
            "`{text}` is neither a time such as 2019-06-28T13:30:00.5Z nor microseconds since 1970"
        )
    })?;
    Ok(time.timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, content: &str, symbol: Option<&str>) -> Result<Vec<Tick>> {
        let path =
            std::env::temp_dir().join(format!("testbed-ticks-{}-{name}.csv", std::process::id()));
        std::fs::write(&path, content).unwrap();
        let ticks = TicksCsv::open(&path, symbol, false).and_then(Iterator::collect);
        std::fs::remove_file(path).unwrap();
        ticks
    }

    #[test]
    fn ticks_without_numbers_are_numbered_by_symbol() {
        let content = "timestamp,price,size,symbol\n1970-01-01T00:00:01Z,1.5,2,A\n1000000,2,3,B\n2019-06-28T13:30:00.1234567Z,1,1,A\n";
        let ticks = read("numbered", content, None).unwrap();
        let expected = [
            Tick::new("A", 1_000_000, 1, "1.5", "2"),
            Tick::new("B", 1_000_000, 1, "2", "3"),
            Tick::new("A", 1_561_728_600_123_456, 2, "1", "1"),
        ];
        assert_eq!(ticks, expected);
    }

    #[test]
    fn time_before_1970_is_floored() {
        assert_eq!(microseconds("1969-12-31T23:59:59.9999999Z").unwrap(), -1);
    }

    #[test]
    fn symbol_may_be_given_and_numbers_may_be_read() {
        let ticks = read(
            "given",
            "event_time,sequence,price,size\n7,-9,1,1\n",
            Some("X"),
        )
        .unwrap();
        assert_eq!(ticks, [Tick::new("X", 7, -9, "1", "1")]);
    }

    #[test]
    fn faults_name_the_line_and_the_way_out() {
        let error = format!(
            "{:#}",
            read("nosymbol", "timestamp,price,size\n1,1,1\n", None).unwrap_err()
        );
        assert!(error.contains("--symbol"), "{error}");
        let error = format!(
            "{:#}",
            read("time", "timestamp,price,size\nyesterday,1,1\n", Some("X")).unwrap_err()
        );
        assert!(
            error.contains("time.csv:2") && error.contains("yesterday"),
            "{error}"
        );
    }
}
