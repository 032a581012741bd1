//! Rows in PostgreSQL's binary COPY format.
//!
//! Source: PostgreSQL documentation, COPY, "Binary Format"; numeric's wire form as `numeric_send`
//! writes it: groups of four decimal digits.

use common::decimal::Decimal;

/// Microseconds from 1970-01-01 to 2000-01-01, PostgreSQL's epoch.
const POSTGRES_EPOCH: i64 = 946_684_800_000_000;

const INT4: u32 = 23;
const INT8: u32 = 20;
const BOOL: u32 = 16;
const NUMERIC: u32 = 1700;

/// A buffer of rows.
#[derive(Debug)]
pub struct Rows(Vec<u8>);

impl Default for Rows {
    fn default() -> Self {
        let mut bytes = b"PGCOPY\n\xff\r\n\0".to_vec();
        // No flags, no header extension.
        bytes.extend_from_slice(&[0; 8]);
        Self(bytes)
    }
}

impl Rows {
    /// Begins a row of `columns` values.
    pub fn row(&mut self, columns: i16) -> &mut Self {
        self.0.extend_from_slice(&columns.to_be_bytes());
        self
    }

    /// A `smallint`.
    pub fn int2(&mut self, value: i16) -> &mut Self {
        self.value(&value.to_be_bytes())
    }

    /// An `integer`.
    pub fn int4(&mut self, value: i32) -> &mut Self {
        self.value(&value.to_be_bytes())
    }

    /// A `bigint`.
    pub fn int8(&mut self, value: i64) -> &mut Self {
        self.value(&value.to_be_bytes())
    }

    /// A `timestamptz` from microseconds since 1970.
    pub fn time(&mut self, micros: i64) -> &mut Self {
        self.int8(micros.saturating_sub(POSTGRES_EPOCH))
    }

    /// An `integer[]` or null.
    pub fn int4_array(&mut self, values: Option<impl ExactSizeIterator<Item = i32>>) -> &mut Self {
        self.array(INT4, values, |rows, value| rows.value(&value.to_be_bytes()))
    }

    /// A `bigint[]` or null.
    pub fn int8_array(&mut self, values: Option<impl ExactSizeIterator<Item = i64>>) -> &mut Self {
        self.array(INT8, values, |rows, value| rows.value(&value.to_be_bytes()))
    }

    /// A `boolean[]` or null.
    pub fn bool_array(&mut self, values: Option<impl ExactSizeIterator<Item = bool>>) -> &mut Self {
        self.array(BOOL, values, |rows, value| rows.value(&[u8::from(value)]))
    }

    /// A `numeric[]` or null.
    pub fn numeric_array(
        &mut self,
        values: Option<impl ExactSizeIterator<Item = Decimal>>,
    ) -> &mut Self {
        self.array(NUMERIC, values, |rows, value| {
            let numeric = numeric(value);
            rows.value(&numeric)
        })
    }

    /// The rows, complete.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&(-1_i16).to_be_bytes());
        self.0
    }

    fn value(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(&length(bytes.len()).to_be_bytes());
        self.0.extend_from_slice(bytes);
        self
    }

    fn array<T>(
        &mut self,
        element: u32,
        values: Option<impl ExactSizeIterator<Item = T>>,
        mut write: impl FnMut(&mut Self, T) -> &mut Self,
    ) -> &mut Self {
        let Some(values) = values else {
            self.0.extend_from_slice(&(-1_i32).to_be_bytes());
            return self;
        };
        let start = self.0.len();
        self.0.extend_from_slice(&[0; 4]);
        // One dimension, no nulls.
        for word in [1, 0, element, length(values.len()).cast_unsigned(), 1] {
            self.0.extend_from_slice(&word.to_be_bytes());
        }
        for value in values {
            write(self, value);
        }
        let bytes = length(self.0.len() - start - 4);
        self.0[start..start + 4].copy_from_slice(&bytes.to_be_bytes());
        self
    }
}

/// Blocks are bounded, so a length always fits.
fn length(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

fn numeric(value: Decimal) -> Vec<u8> {
    // Pad the decimals to whole groups of four digits.
    let scale = usize::from(value.scale());
    let decimal_groups = scale.div_ceil(4);
    let digits = format!(
        "{}{}",
        value.units().unsigned_abs(),
        "0".repeat(decimal_groups * 4 - scale)
    );
    let padded = format!(
        "{}{digits}",
        "0".repeat(digits.len().next_multiple_of(4) - digits.len())
    );
    let groups: Vec<i16> = padded
        .as_bytes()
        .chunks(4)
        .map(|group| {
            group
                .iter()
                .fold(0, |sum, digit| sum * 10 + i16::from(digit - b'0'))
        })
        .collect();
    let weight = groups.len().cast_signed() - decimal_groups.cast_signed() - 1;
    let small = |number: isize| i16::try_from(number).unwrap_or(i16::MAX);
    let sign = if value.is_negative() { 0x4000_i16 } else { 0 };
    let header = [
        small(groups.len().cast_signed()),
        small(weight),
        sign,
        i16::from(value.scale()),
    ];
    header
        .into_iter()
        .chain(groups)
        .flat_map(i16::to_be_bytes)
        .collect()
}
