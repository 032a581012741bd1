//! Rows as CSV: RFC 4180, a header row, quotes only where they are needed, nothing where a value is null.

use ::csv::{Terminator, Writer, WriterBuilder};

use super::{Column, EncodeError, Encoder, Spelling, Value};

/// Writes a record for each row.
pub(super) struct Csv {
    writer: Writer<Vec<u8>>,
    spelling: Spelling,
    field: String,
}

impl Csv {
    pub(super) fn new(columns: &[Column], spelling: Spelling) -> Result<Self, EncodeError> {
        let mut writer = writer();
        writer
            .write_record(columns.iter().map(|column| &column.name))
            .map_err(fault)?;
        Ok(Self {
            writer,
            spelling,
            field: String::new(),
        })
    }
}

fn writer() -> Writer<Vec<u8>> {
    WriterBuilder::new()
        .terminator(Terminator::CRLF)
        .from_writer(Vec::new())
}

fn fault(error: impl std::fmt::Display) -> EncodeError {
    EncodeError::Csv(error.to_string())
}

impl Encoder for Csv {
    fn row(&mut self, values: &[Value<'_>]) -> Result<(), EncodeError> {
        for value in values {
            self.field.clear();
            self.spelling.plain(&mut self.field, value);
            self.writer.write_field(&self.field).map_err(fault)?;
        }
        self.writer.write_record(None::<&[u8]>).map_err(fault)
    }

    fn take(&mut self) -> Result<Vec<u8>, EncodeError> {
        let full = std::mem::replace(&mut self.writer, writer());
        full.into_inner().map_err(fault)
    }

    fn finish(&mut self) -> Result<Vec<u8>, EncodeError> {
        self.take()
    }
}
