//! Daily bars from a CSV file, each as four ticks whose day's candle is the bar.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow, ensure};
use chrono::{DateTime, LocalResult, NaiveDate, NaiveTime, TimeZone as _, Utc};
use chrono_tz::{GapInfo, Tz};
use num_bigint::Sign;

use crate::decimal;
use crate::table::{Row, Table};
use crate::tick::Tick;

/// One symbol's day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bar {
    /// The symbol.
    pub symbol: String,
    /// The day in the symbol's time zone.
    pub date: NaiveDate,
    /// The first price.
    pub open: String,
    /// The highest price.
    pub high: String,
    /// The lowest price.
    pub low: String,
    /// The last price.
    pub close: String,
    /// What was traded.
    pub volume: String,
}

impl Bar {
    /// Fails when no four trades make such a bar: the candle would then be another one.
    fn check(&self) -> Result<()> {
        let [open, high, low, close, volume] =
            [&self.open, &self.high, &self.low, &self.close, &self.volume]
                .map(|text| decimal::units(text));
        let (open, high, low, close, volume) = (open?, high?, low?, close?, volume?);
        ensure!(low.sign() == Sign::Plus, "a price must be above 0");
        ensure!(volume.sign() != Sign::Minus, "the volume is below 0");
        for (name, price) in [("open", &open), ("close", &close)] {
            ensure!(*price <= high, "`{name}` is above `high`: this is no bar");
            ensure!(*price >= low, "`{name}` is below `low`: this is no bar");
        }
        Ok(())
    }

    /// Open, high, low and close, in that order, at the day's first instant, numbered 1 to 4; the close carries the volume.
    ///
    /// # Errors
    ///
    /// When the zone has no instant on or after the day.
    pub fn ticks(self, zone: Tz) -> Result<[Tick; 4]> {
        let time = day_start(self.date, zone)?.timestamp_micros();
        let tick = |sequence, price, size: &str| {
            Tick::new(self.symbol.clone(), time, sequence, price, size)
        };
        Ok([
            tick(1, self.open, "0"),
            tick(2, self.high, "0"),
            tick(3, self.low, "0"),
            tick(4, self.close, &self.volume),
        ])
    }
}

/// The first instant of a day in a zone: the first after the gap where midnight is skipped, the first of two where it
/// comes twice.
///
/// # Errors
///
/// When the zone's rules do not say.
pub fn day_start(date: NaiveDate, zone: Tz) -> Result<DateTime<Utc>> {
    let midnight = date.and_time(NaiveTime::MIN);
    match zone.from_local_datetime(&midnight) {
        LocalResult::Single(time) | LocalResult::Ambiguous(time, _) => Ok(time.to_utc()),
        LocalResult::None => GapInfo::new(&midnight, &zone)
            .and_then(|gap| gap.end)
            .map(|end| end.to_utc())
            .with_context(|| format!("{date} has no first instant in {zone}")),
    }
}

/// The bars of a file, read as they are asked for.
#[derive(Debug)]
pub struct Bars {
    table: Table,
    columns: [usize; 7],
    float32: bool,
}

const NAMES: [&str; 7] = ["symbol", "date", "open", "high", "low", "close", "volume"];

impl Bars {
    /// Opens a file with the columns `symbol,date,open,high,low,close,volume`, in any order and beside others. With
    /// `float32` prices are read as single-precision floats (see [`decimal::float32`]).
    ///
    /// # Errors
    ///
    /// When the file cannot be read or lacks a column.
    pub fn open(path: &Path, float32: bool) -> Result<Self> {
        Self::from_table(Table::open(path)?, float32)
    }

    /// As [`Bars::open`], for a file that is open already.
    ///
    /// # Errors
    ///
    /// When a column is missing.
    pub fn from_table(table: Table, float32: bool) -> Result<Self> {
        let mut columns = [0; 7];
        for (column, name) in columns.iter_mut().zip(NAMES) {
            *column = table.column(name)?;
        }
        Ok(Self {
            table,
            columns,
            float32,
        })
    }

    fn bar(&self, row: &Row) -> Result<Bar> {
        let [symbol, date, open, high, low, close, volume] = self.columns;
        let price = |column, name| {
            row.parse(
                column,
                name,
                if self.float32 {
                    decimal::float32
                } else {
                    decimal::plain
                },
            )
        };
        let bar = Bar {
            symbol: row.text(symbol, "symbol")?.to_owned(),
            date: row.parse(date, "date", |text| {
                text.parse()
                    .map_err(|_| anyhow!("`{text}` is not a date such as 2019-06-28"))
            })?,
            open: price(open, "open")?,
            high: price(high, "high")?,
            low: price(low, "low")?,
            close: price(close, "close")?,
            volume: row.parse(volume, "volume", decimal::plain)?,
        };
        bar.check().with_context(|| row.place().to_owned())?;
        Ok(bar)
    }
}

impl Iterator for Bars {
    type Item = Result<Bar>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.table.next_row()?;
        Some(row.and_then(|row| self.bar(&row)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, content: &str) -> std::path::PathBuf {
        let path =
            std::env::temp_dir().join(format!("testbed-bars-{}-{name}.csv", std::process::id()));
        std::fs::write(&path, content).unwrap();
        path
    }

    fn read(name: &str, content: &str, float32: bool) -> Result<Vec<Bar>> {
        let path = file(name, content);
        let bars = Bars::open(&path, float32).and_then(Iterator::collect);
        std::fs::remove_file(path).unwrap();
        bars
    }

    #[test]
    fn bar_becomes_four_ticks_whose_candle_is_the_bar() {
        // GIVEN a file with a byte order mark, other letter case, another order and a further column
        let content = "\u{feff}Date,Symbol,OPEN,high,low,close,volume,adjusted\n2019-06-28,AMZN,95.455002,95.647003,94.199997,94.681503,60748000,1\n";
        // WHEN it is read as single precision
        let bars = read("four", content, true).unwrap();
        let ticks = bars[0].clone().ticks(Tz::UTC).unwrap();
        // THEN the ticks carry the shortest prices, in order, and the close the volume
        let told: Vec<_> = ticks
            .iter()
            .map(|t| (t.sequence, t.price.as_str(), t.size.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                (1, "95.455", "0"),
                (2, "95.647", "0"),
                (3, "94.2", "0"),
                (4, "94.6815", "60748000")
            ]
        );
        assert!(
            ticks
                .iter()
                .all(|t| t.symbol == "AMZN" && t.event_time == 1_561_680_000_000_000)
        );
    }

    #[test]
    fn digits_are_kept_as_printed_without_float32() {
        let content = "symbol,date,open,high,low,close,volume\nA,2020-01-01,1.10,2.000,0.5,1,3\n";
        let bars = read("digits", content, false).unwrap();
        assert_eq!(
            (bars[0].open.as_str(), bars[0].high.as_str()),
            ("1.10", "2.000")
        );
    }

    #[test]
    fn faults_name_file_line_and_column() {
        let header = "symbol,date,open,high,low,close,volume\nA,2020-01-01,1,1,1,1,1\n";
        for (name, rest, expected) in [
            (
                "date",
                "A,01/02/2020,1,1,1,1,1\n",
                ["date.csv:3", "`date`", "01/02/2020"],
            ),
            (
                "price",
                "A,2020-01-02,1,x,1,1,1\n",
                ["price.csv:3", "`high`", "`x`"],
            ),
            (
                "empty",
                ",2020-01-02,1,1,1,1,1\n",
                ["empty.csv:3", "`symbol`", "empty"],
            ),
            (
                "short",
                "A,2020-01-02,1,1,1\n",
                ["short.csv:3", "5 columns", "7"],
            ),
            (
                "above",
                "A,2020-01-02,2,1,1,1,1\n",
                ["above.csv:3", "`open`", "above `high`"],
            ),
            (
                "below",
                "A,2020-01-02,2,3,1.5,1.25,1\n",
                ["below.csv:3", "`close`", "below `low`"],
            ),
            (
                "free",
                "A,2020-01-02,1,1,0,1,1\n",
                ["free.csv:3", "price", "above 0"],
            ),
            (
                "sold",
                "A,2020-01-02,1,1,1,1,-1\n",
                ["sold.csv:3", "volume", "below 0"],
            ),
        ] {
            let error = format!(
                "{:#}",
                read(name, &format!("{header}{rest}"), false).unwrap_err()
            );
            assert!(expected.iter().all(|part| error.contains(part)), "{error}");
        }
        let error = format!(
            "{:#}",
            read("missing", "symbol,date,open\n", false).unwrap_err()
        );
        assert!(
            error.contains("`high`") && error.contains("symbol, date, open"),
            "{error}"
        );
    }

    #[test]
    fn day_begins_after_a_gap_and_at_the_first_of_two_midnights() {
        let start =
            |date: &str, zone: Tz| day_start(date.parse().unwrap(), zone).unwrap().to_rfc3339();
        // Midnight was skipped: the day began at 01:00 -02.
        assert_eq!(
            start("2018-11-04", Tz::America__Sao_Paulo),
            "2018-11-04T03:00:00+00:00"
        );
        // Midnight came twice: 00:00 -04, then again at -05.
        assert_eq!(
            start("2023-11-05", Tz::America__Havana),
            "2023-11-05T04:00:00+00:00"
        );
        // The whole day was skipped.
        assert_eq!(
            start("2011-12-30", Tz::Pacific__Apia),
            "2011-12-30T10:00:00+00:00"
        );
        assert_eq!(
            start("2024-03-10", Tz::Asia__Kolkata),
            "2024-03-09T18:30:00+00:00"
        );
    }
}
