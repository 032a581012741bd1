//! Rows as JSON objects: in an array with an envelope around it, or a line each.

use super::{Column, EncodeError, Encoder, Spelling, Value};
use crate::encode::Json;

/// Bytes of a value on average, and what stands between rows: a little more than times and decimals have.
const VALUE: usize = 16;

/// Writes a JSON object for each row.
pub(super) struct Objects {
    /// What stands before each value, from the end of the one before it.
    heads: Vec<String>,
    /// What closes a row.
    tail: String,
    /// Whether rows are lines, else elements.
    lines: bool,
    /// What comes after the rows.
    end: String,
    spelling: Spelling,
    text: String,
    /// Whether the next row follows another.
    follows: bool,
}

impl Objects {
    /// The elements of an array, between the two parts of an envelope.
    pub(super) fn array(
        columns: &[Column],
        spelling: Spelling,
        (start, end): (String, String),
    ) -> Self {
        Self {
            text: start,
            end,
            lines: false,
            ..Self::lines(columns, spelling)
        }
    }

    /// Lines.
    pub(super) fn lines(columns: &[Column], spelling: Spelling) -> Self {
        let (heads, tail) = frame(columns);
        Self {
            heads,
            tail,
            lines: true,
            end: String::new(),
            spelling,
            text: String::new(),
            follows: false,
        }
    }
}

impl Encoder for Objects {
    fn reserve(&mut self, rows: usize) {
        let names: usize = self.heads.iter().map(String::len).sum();
        self.text.reserve(rows * (names + self.heads.len() * VALUE));
    }

    fn row(&mut self, values: &[Value<'_>]) -> Result<(), EncodeError> {
        if self.follows && !self.lines {
            self.text.push(',');
        }
        self.follows = true;
        for (head, value) in self.heads.iter().zip(values) {
            self.text.push_str(head);
            self.spelling.json(&mut self.text, value);
        }
        self.text.push_str(&self.tail);
        if self.lines {
            self.text.push('\n');
        }
        Ok(())
    }

    fn take(&mut self) -> Result<Vec<u8>, EncodeError> {
        Ok(std::mem::take(&mut self.text).into_bytes())
    }

    fn finish(&mut self) -> Result<Vec<u8>, EncodeError> {
        self.text.push_str(&self.end);
        self.take()
    }
}

/// What stands before each value of a row and after the last one. Columns that share the start of their path are in one
/// object, and lie side by side.
fn frame(columns: &[Column]) -> (Vec<String>, String) {
    let mut heads = Vec::with_capacity(columns.len());
    let mut before: &[String] = &[];
    for (index, column) in columns.iter().enumerate() {
        let path = column.path.as_slice();
        let parents = before.split_last().map_or(before, |(_, parents)| parents);
        let shared = parents
            .iter()
            .zip(&path[..path.len() - 1])
            .take_while(|(a, b)| a == b)
            .count();
        let mut head = if index == 0 {
            "{".to_owned()
        } else {
            "}".repeat(parents.len() - shared) + ","
        };
        for (depth, key) in path[shared..].iter().enumerate() {
            if depth > 0 {
                head.push('{');
            }
            let mut json = Json::default();
            json.string(key);
            head += &json.into_text();
            head.push(':');
        }
        heads.push(head);
        before = path;
    }
    let tail = if columns.is_empty() {
        "{}".to_owned()
    } else {
        "}".repeat(before.len())
    };
    (heads, tail)
}
