//! Rows of named columns, and the forms in which they leave the process.
//!
//! A row is one [`Value`] for each [`Column`]; an [`Encoder`] makes bytes of rows as they come and keeps a batch of them
//! at most. Decimals are exact in every form. A column that is added to a list is in every form at once: JSON nests it
//! by its path, the other forms call it by its name. Another kind of value is a [`Kind`], a [`Value`], its text in
//! `text` and its array in `columnar`.

mod columnar;
mod csv;
mod objects;
mod text;

use std::borrow::Cow;

use arrow_schema::ArrowError;
use common::amount::Amount;
use parquet::errors::ParquetError;

pub use self::text::{Spelling, Times};

use self::columnar::{Arrow, Parquet};
use self::csv::Csv;
use self::objects::Objects;
use crate::format::Format;

/// What the values of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Instants.
    Time,
    /// Whole numbers.
    Integer,
    /// Whole numbers that a double may not hold, told as decimals are.
    Sequence,
    /// True or false.
    Flag,
    /// IEEE 754 doubles.
    Double,
    /// Exact decimals, none with more than `scale` places.
    Decimal {
        /// Most decimals of any value.
        scale: u8,
    },
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// The keys that lead to the value in a JSON row: one, or more where objects are nested.
    pub path: Vec<String>,
    /// What it is called where nothing nests.
    pub name: String,
    /// What its values are.
    pub kind: Kind,
}

impl Column {
    /// A column that is not nested.
    #[must_use]
    pub fn new(name: &str, kind: Kind) -> Self {
        Self {
            path: vec![name.to_owned()],
            name: name.to_owned(),
            kind,
        }
    }

    /// A column that is nested in an object of such columns, which its name leaves out.
    #[must_use]
    pub fn nested(path: &[&str], kind: Kind) -> Self {
        Self {
            path: path.iter().map(|key| (*key).to_owned()).collect(),
            name: path[1..].join("."),
            kind,
        }
    }
}

/// One value of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// None.
    Null,
    /// Microseconds since 1970-01-01T00:00:00Z.
    Time(i64),
    /// A whole number.
    Integer(i64),
    /// A whole number that a double may not hold.
    Sequence(i64),
    /// True or false.
    Flag(bool),
    /// Finite.
    Double(f64),
    /// An exact decimal.
    Decimal(Cow<'a, Amount>),
}

/// Why rows could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A value is not of its column's type.
    #[error("a value does not fit column {0}")]
    Misfit(String),
    /// The writer of CSV refused.
    #[error("csv: {0}")]
    Csv(String),
    /// The writer of record batches refused.
    #[error("arrow: {0}")]
    Arrow(#[from] ArrowError),
    /// The writer of Parquet refused.
    #[error("parquet: {0}")]
    Parquet(#[from] ParquetError),
}

/// Makes bytes of rows.
pub trait Encoder: Send {
    /// Makes room for about so many rows.
    fn reserve(&mut self, _rows: usize) {}

    /// Adds a row: a value for each column.
    ///
    /// # Errors
    /// When a value does not fit its column.
    fn row(&mut self, values: &[Value<'_>]) -> Result<(), EncodeError>;

    /// The bytes that are ready to go.
    ///
    /// # Errors
    /// When they cannot be made.
    fn take(&mut self) -> Result<Vec<u8>, EncodeError>;

    /// The last bytes; no row comes after them.
    ///
    /// # Errors
    /// When they cannot be made.
    fn finish(&mut self) -> Result<Vec<u8>, EncodeError>;
}

/// What goes around the rows.
#[derive(Debug, Default)]
pub struct Envelope {
    /// JSON before and after the rows of a page.
    pub json: (String, String),
    /// Names and values for the metadata of a schema.
    pub metadata: Vec<(String, String)>,
}

/// The encoder of a form.
///
/// # Errors
/// When the columns cannot be written in it.
pub fn encoder(
    format: Format,
    columns: &[Column],
    spelling: Spelling,
    envelope: Envelope,
) -> Result<Box<dyn Encoder>, EncodeError> {
    Ok(match format {
        Format::Json => Box::new(Objects::array(columns, spelling, envelope.json)),
        Format::Ndjson => Box::new(Objects::lines(columns, spelling)),
        Format::Csv => Box::new(Csv::new(columns, spelling)?),
        Format::Arrow => Box::new(Arrow::new(columns, spelling, envelope.metadata)?),
        Format::Parquet => Box::new(Parquet::new(columns, spelling, envelope.metadata)?),
    })
}

#[cfg(test)]
mod tests;
