//! CSV files with a header: columns are found by name, and every fault names the file and the line.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use csv::StringRecord;

/// An open file, read row by row.
#[derive(Debug)]
pub struct Table {
    path: PathBuf,
    names: Vec<String>,
    reader: csv::Reader<File>,
}

/// A row, with what is needed to say where it stands.
#[derive(Debug)]
pub struct Row {
    place: String,
    record: StringRecord,
}

impl Table {
    /// Opens a file and reads its header; a byte order mark is skipped.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or is empty.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .from_reader(file);
        let header = reader
            .headers()
            .with_context(|| format!("{}:1", path.display()))?;
        let names: Vec<String> = header.iter().map(str::to_lowercase).collect();
        if names.is_empty() {
            bail!(
                "{} is empty: its first line must name the columns",
                path.display()
            );
        }
        Ok(Self {
            path: path.to_path_buf(),
            names,
            reader,
        })
    }

    /// The position of a column, when the file has it. Letter case does not count.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|n| n == name)
    }

    /// The position of a column that must be there.
    ///
    /// # Errors
    ///
    /// When it is not; the text names the columns that are.
    pub fn column(&self, name: &str) -> Result<usize> {
        self.find(name).with_context(|| {
            format!(
                "{}:1: no column `{name}`; the columns are: {}",
                self.path.display(),
                self.names.join(", ")
            )
        })
    }

    /// The next row, nothing at the end.
    pub fn next_row(&mut self) -> Option<Result<Row>> {
        let mut record = StringRecord::new();
        match self.reader.read_record(&mut record) {
            Ok(false) => None,
            Ok(true) => {
                let line = record.position().map_or(0, csv::Position::line);
                Some(Ok(Row {
                    place: format!("{}:{line}", self.path.display()),
                    record,
                }))
            }
            Err(error) => Some(Err(self.fault(&error))),
        }
    }

    fn fault(&self, error: &csv::Error) -> anyhow::Error {
        let line = error
            .position()
            .map_or_else(|| self.reader.position().line(), csv::Position::line);
        let place = format!("{}:{line}", self.path.display());
        match error.kind() {
            csv::ErrorKind::UnequalLengths {
                expected_len, len, ..
            } => {
                anyhow!("{place}: {len} columns where the header has {expected_len}")
            }
            csv::ErrorKind::Utf8 { .. } => anyhow!("{place}: not UTF-8"),
            _ => anyhow!("{place}: {error}"),
        }
    }
}

impl Row {
    /// File and line, for messages.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The text of a column, which must not be empty.
    ///
    /// # Errors
    ///
    /// When it is empty.
    pub fn text(&self, column: usize, name: &str) -> Result<&str> {
        match self.record.get(column) {
            Some(text) if !text.is_empty() => Ok(text),
            _ => bail!("{}: `{name}` is empty", self.place),
        }
    }

    /// A column's value, read by `parse`.
    ///
    /// # Errors
    ///
    /// When it is empty or `parse` fails; the text names the file, the line and the column.
    pub fn parse<T>(
        &self,
        column: usize,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T>,
    ) -> Result<T> {
        let text = self.text(column, name)?;
        parse(text).with_context(|| format!("{}: `{name}`", self.place))
    }
}
