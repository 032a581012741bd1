//! Rows as columns: the Arrow IPC stream, and Parquet.
//!
//! Times are timestamps in microseconds, UTC; decimals are `Decimal128` of 38 digits with the column's scale, or texts
//! when decimals are told as texts.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, Decimal128Builder, Float64Builder, Int64Builder, StringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use super::{Column, EncodeError, Encoder, Kind, Spelling, Value};
use crate::decimals::DIGITS;

/// Rows of a record batch.
const BATCH_ROWS: usize = 4_096;
/// Rows of a row group, which is held until it is full: some megabytes.
const GROUP_ROWS: usize = 65_536;

/// Writes the Arrow IPC stream.
pub(super) struct Arrow {
    batch: Batch,
    writer: StreamWriter<Vec<u8>>,
}

impl Arrow {
    pub(super) fn new(
        columns: &[Column],
        spelling: Spelling,
        metadata: Vec<(String, String)>,
    ) -> Result<Self, EncodeError> {
        let batch = Batch::new(columns, spelling, metadata.into_iter().collect())?;
        let writer = StreamWriter::try_new(Vec::new(), &batch.schema)?;
        Ok(Self { batch, writer })
    }
}

impl Encoder for Arrow {
    fn row(&mut self, values: &[Value<'_>]) -> Result<(), EncodeError> {
        if let Some(batch) = self.batch.push(values)? {
            self.writer.write(&batch)?;
        }
        Ok(())
    }

    fn take(&mut self) -> Result<Vec<u8>, EncodeError> {
        Ok(std::mem::take(self.writer.get_mut()))
    }

    fn finish(&mut self) -> Result<Vec<u8>, EncodeError> {
        if let Some(batch) = self.batch.rest()? {
            self.writer.write(&batch)?;
        }
        self.writer.finish()?;
        self.take()
    }
}

/// Writes a Parquet file, compressed by Zstandard within.
pub(super) struct Parquet {
    batch: Batch,
    writer: ArrowWriter<Vec<u8>>,
}

impl Parquet {
    pub(super) fn new(
        columns: &[Column],
        spelling: Spelling,
        metadata: Vec<(String, String)>,
    ) -> Result<Self, EncodeError> {
        let batch = Batch::new(columns, spelling, HashMap::new())?;
        let metadata = metadata
            .into_iter()
            .map(|(key, value)| KeyValue::new(key, value))
            .collect();
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            // Pages are indexed in the footer: that would grow with the file and serve no one who reads it whole.
            .set_offset_index_disabled(true)
            .set_statistics_enabled(parquet::file::properties::EnabledStatistics::Chunk)
            .set_key_value_metadata(Some(metadata))
            .build();
        let writer = ArrowWriter::try_new(Vec::new(), batch.schema.clone(), Some(properties))?;
        Ok(Self { batch, writer })
    }
}

impl Encoder for Parquet {
    fn row(&mut self, values: &[Value<'_>]) -> Result<(), EncodeError> {
        if let Some(batch) = self.batch.push(values)? {
            self.writer.write(&batch)?;
        }
        Ok(())
    }

    fn take(&mut self) -> Result<Vec<u8>, EncodeError> {
        // What the writer counts goes through its own layers; only what they have let go of is taken away.
        Ok(std::mem::take(self.writer.inner_mut()))
    }

    fn finish(&mut self) -> Result<Vec<u8>, EncodeError> {
        if let Some(batch) = self.batch.rest()? {
            self.writer.write(&batch)?;
        }
        self.writer.finish()?;
        self.take()
    }
}

/// Rows that wait to be a record batch.
struct Batch {
    schema: SchemaRef,
    builders: Vec<Builder>,
    spelling: Spelling,
    rows: usize,
}

impl Batch {
    fn new(
        columns: &[Column],
        spelling: Spelling,
        metadata: HashMap<String, String>,
    ) -> Result<Self, EncodeError> {
        let mut builders = Vec::with_capacity(columns.len());
        let mut fields = Vec::with_capacity(columns.len());
        for column in columns {
            let (builder, kind) = Builder::new(column.kind, spelling)?;
            builders.push(builder);
            fields.push(Field::new(&column.name, kind, true));
        }
        Ok(Self {
            schema: Arc::new(Schema::new_with_metadata(fields, metadata)),
            builders,
            spelling,
            rows: 0,
        })
    }

    /// Adds a row; a batch, when it is full.
    fn push(&mut self, values: &[Value<'_>]) -> Result<Option<RecordBatch>, EncodeError> {
        for (index, (builder, value)) in self.builders.iter_mut().zip(values).enumerate() {
            if !builder.push(value, self.spelling) {
                let name = self.schema.field(index).name();
                return Err(EncodeError::Misfit(name.clone()));
            }
        }
        self.rows += 1;
        if self.rows < BATCH_ROWS {
            return Ok(None);
        }
        self.rest()
    }

    /// The rows that wait, if any.
    fn rest(&mut self) -> Result<Option<RecordBatch>, EncodeError> {
        if std::mem::take(&mut self.rows) == 0 {
            return Ok(None);
        }
        let arrays = self.builders.iter_mut().map(Builder::finish).collect();
        Ok(Some(RecordBatch::try_new(self.schema.clone(), arrays)?))
    }
}

/// A growing column.
enum Builder {
    Time(TimestampMicrosecondBuilder),
    Integer(Int64Builder),
    Flag(BooleanBuilder),
    Double(Float64Builder),
    Decimal(Decimal128Builder, u8),
    Text(StringBuilder),
}

impl Builder {
    fn new(kind: Kind, spelling: Spelling) -> Result<(Self, DataType), EncodeError> {
        Ok(match kind {
            Kind::Time => {
                let kind = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
                let builder = TimestampMicrosecondBuilder::new().with_timezone("UTC");
                (Self::Time(builder), kind)
            }
            Kind::Integer | Kind::Sequence => (Self::Integer(Int64Builder::new()), DataType::Int64),
            Kind::Flag => (Self::Flag(BooleanBuilder::new()), DataType::Boolean),
            Kind::Double => (Self::Double(Float64Builder::new()), DataType::Float64),
            Kind::Decimal { .. } if spelling.quoted => {
                (Self::Text(StringBuilder::new()), DataType::Utf8)
            }
            Kind::Decimal { scale } => {
                let signed = i8::try_from(scale).unwrap_or(i8::MAX);
                let builder = Decimal128Builder::new().with_precision_and_scale(DIGITS, signed)?;
                let kind = DataType::Decimal128(DIGITS, signed);
                (Self::Decimal(builder, scale), kind)
            }
        })
    }

    /// Adds a value; `false` when it is none of this column.
    fn push(&mut self, value: &Value<'_>, spelling: Spelling) -> bool {
        match (self, value) {
            (Self::Time(builder), Value::Time(micros)) => builder.append_value(*micros),
            (Self::Integer(builder), Value::Integer(number) | Value::Sequence(number)) => {
                builder.append_value(*number);
            }
            (Self::Flag(builder), Value::Flag(flag)) => builder.append_value(*flag),
            (Self::Double(builder), Value::Double(number)) => builder.append_value(*number),
            (Self::Decimal(builder, scale), Value::Decimal(amount)) => {
                let Some(units) = amount.units_at(u32::from(*scale)) else {
                    return false;
                };
                builder.append_value(units);
            }
            (Self::Text(builder), Value::Decimal(_)) => {
                let mut text = String::new();
                spelling.plain(&mut text, value);
                builder.append_value(text);
            }
            (Self::Time(builder), Value::Null) => builder.append_null(),
            (Self::Integer(builder), Value::Null) => builder.append_null(),
            (Self::Flag(builder), Value::Null) => builder.append_null(),
            (Self::Double(builder), Value::Null) => builder.append_null(),
            (Self::Decimal(builder, _), Value::Null) => builder.append_null(),
            (Self::Text(builder), Value::Null) => builder.append_null(),
            _ => return false,
        }
        true
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Time(builder) => Arc::new(builder.finish()),
            Self::Integer(builder) => Arc::new(builder.finish()),
            Self::Flag(builder) => Arc::new(builder.finish()),
            Self::Double(builder) => Arc::new(builder.finish()),
            Self::Decimal(builder, _) => Arc::new(builder.finish()),
            Self::Text(builder) => Arc::new(builder.finish()),
        }
    }
}
